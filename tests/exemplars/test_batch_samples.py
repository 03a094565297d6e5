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
    for n_units, n_samples in ((600, 1000), (3, 500), (3, 5000)):
        waiting, numbers = WaitingBatches(n_units), torch.arange(n_samples)
        samples = BatchSamples.of(numbers, numbers, None, after=-1)
        n_batches = 0
        while waiting.add(torch.full((n_samples, n_units), float(n_batches)), samples):
            n_batches += 1
        assert n_batches == max(1, min(MOST_ROWS, MOST_VALUES // n_units) // n_samples)
        taken = waiting.taken()
        assert taken.shape == (n_batches * n_samples, n_units) and float(taken[-1, 0]) == n_batches - 1
        assert not waiting.samples and not len(waiting.taken())
