"""The samples of a batch that count, and how many batches wait."""

import torch

from lightning_explain.exemplars.batch_samples import MOST_ROWS, MOST_VALUES, BatchSamples, WaitingBatches


def test_samples_without_number_or_class_are_left_out() -> None:
    numbers, labels = torch.tensor([4, -1, 6, 5]), torch.tensor([0, 1, 2, 3])
    found = BatchSamples.of(numbers, labels, torch.tensor([True, True, True, False]), after=4)
    assert found.numbers.tolist() == [4, 6] and found.labels.tolist() == [0, 2] and found.last == 6
    assert found.rows is not None and found.rows.tolist() == [0, 2] and not found.are_later
    none = BatchSamples.of(torch.tensor([-1]), torch.tensor([0]), None, after=4)
    assert not len(none.numbers) and none.last == -1 and none.are_later


def test_so_many_batches_wait() -> None:
    for n_units, n_samples in ((600, 100), (600, 900), (3, 500), (3, 5000)):
        waiting, numbers = WaitingBatches(n_units), torch.arange(n_samples)
        samples = BatchSamples.of(numbers, numbers, None, after=-1)
        n_batches = 0
        while waiting.add(torch.full((n_samples, n_units), float(n_batches)), samples):
            n_batches += 1
        assert n_batches == min(MOST_ROWS, MOST_VALUES // n_units) // n_samples
        if n_batches:
            taken, joint = waiting.taken()
            assert taken.shape == (n_batches * n_samples, n_units) and float(taken[-1, 0]) == n_batches - 1
            assert len(joint.numbers) == len(joint.labels) == len(taken) and not waiting.samples


def test_batches_that_wait_are_in_order_if_each_is_later_than_those_before() -> None:
    for second, after, in_order in (([7, 9], 5, True), ([9, 7], 5, False), ([3, 9], 5, False)):
        waiting = WaitingBatches(1)
        for numbers, last in (([4, 5], 3), (second, after)):
            samples = BatchSamples.of(torch.tensor(numbers), torch.zeros(2).long(), None, after=last)
            assert waiting.add(torch.zeros(2, 1), samples)
        joint = waiting.taken()[1]
        assert joint.are_in_order == in_order and joint.last == 9
        assert joint.are_later == (min(second) > after)
