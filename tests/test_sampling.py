"""Drawing a probe: balanced, the same for the same seed, and without a trace in the random streams."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe
from lightning_explain.sampling import PATIENCE, Buckets, Drawing
from tests.models import Mapped


def labelled(labels: list[int] | Tensor) -> TensorDataset:
    """Items whose input is their own index."""
    labels = torch.as_tensor(labels)
    return TensorDataset(torch.arange(len(labels)).float()[:, None], labels)


def classes(probe: Probe) -> Counter[int]:
    assert probe.labels is not None
    return Counter(probe.labels.tolist())


def streams() -> tuple[Any, ...]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


class Noisy(Dataset[Any]):
    """Every item draws from all three global streams."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.rand(2) + random.random() + float(np.random.rand()), index % 3


class Stream(IterableDataset[Any]):
    """Items in their own order, counting how many were read."""

    def __init__(self, labels: list[int]) -> None:
        self.labels, self.n_read = labels, 0

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for index, label in enumerate(self.labels):
            self.n_read += 1
            yield torch.tensor([float(index)]), label


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    per_class=st.integers(1, 5),
    seed=st.integers(0, 50),
)
@settings(max_examples=30)
def test_every_class_has_its_share_or_all_it_has(counts: list[int], per_class: int, seed: int) -> None:
    labels = [c for c, n in enumerate(counts) for _ in range(n)]
    probe = Probe.from_dataset(labelled(labels), per_class=per_class, seed=seed)
    assert classes(probe) == {c: min(n, per_class) for c, n in enumerate(counts)}


def test_samples_come_class_by_class_and_know_where_they_stand() -> None:
    labels = torch.arange(60) % 4
    probe = Probe.from_dataset(labelled(labels), per_class=3)
    assert probe.labels is not None and probe.labels.tolist() == sorted(probe.labels.tolist())
    assert probe.parts[0].flatten().tolist() == list(probe.indices)
    assert labels[list(probe.indices)].tolist() == probe.labels.tolist()
    assert len(set(probe.indices)) == len(probe)


def test_the_same_seed_draws_the_same_samples_and_another_seed_others() -> None:
    dataset = labelled(torch.arange(200) % 5)
    torch.manual_seed(1)
    one = Probe.from_dataset(dataset, seed=7)
    torch.manual_seed(2)
    assert Probe.from_dataset(dataset, seed=7).fingerprint == one.fingerprint
    assert Probe.from_dataset(dataset, seed=8).fingerprint != one.fingerprint


def test_the_order_is_random_and_not_that_of_the_data() -> None:
    assert list(Probe.from_dataset(labelled([0] * 100), per_class=4).indices) != [0, 1, 2, 3]


def test_random_transforms_are_the_same_for_the_same_seed_and_leave_no_trace() -> None:
    before = streams()
    one = Probe.from_dataset(Noisy())
    assert streams() == before
    random.random(), np.random.rand(), torch.rand(1)
    assert Probe.from_dataset(Noisy()).fingerprint == one.fingerprint


def test_a_collate_function_that_draws_leaves_no_trace_either() -> None:
    def mixing(items: list[Any]) -> Any:
        x, y = default_collate(items)
        return x + torch.rand(1) + random.random() + float(np.random.rand()), y

    dataset = labelled(torch.arange(30) % 3)
    before = streams()
    one = Probe.from_dataset(dataset, collate_fn=mixing)
    assert streams() == before
    torch.rand(1)
    assert Probe.from_dataset(dataset, collate_fn=mixing).fingerprint == one.fingerprint


def test_the_streams_are_put_back_also_when_reading_fails() -> None:
    def fail(item: Any) -> Any:
        torch.rand(1)
        raise OSError("unreadable")

    before = streams()
    with pytest.raises(OSError, match="unreadable"):
        Probe.from_dataset(Mapped(labelled([0, 1]), fail))
    assert streams() == before


def test_changing_the_data_set_later_changes_nothing() -> None:
    dataset = labelled(torch.arange(30) % 3)
    probe = Probe.from_dataset(dataset)
    before = probe.fingerprint
    for tensor in dataset.tensors:
        tensor.zero_()
    assert probe.fingerprint == before


def test_with_many_classes_each_gets_fewer_and_none_is_left_out_while_there_is_room() -> None:
    probe = Probe.from_dataset(labelled(torch.arange(600) % 30), per_class=4, max_samples=64)
    assert sorted(classes(probe).values()) == [2] * 26 + [3] * 4


def test_with_more_classes_than_room_as_many_classes_as_fit_get_one_sample() -> None:
    found = classes(Probe.from_dataset(labelled(torch.arange(600) % 100), per_class=4, max_samples=16))
    assert len(found) == 16 and set(found.values()) == {1}


def test_a_rare_class_is_found_before_patience_ends() -> None:
    labels = torch.zeros(PATIENCE, dtype=torch.long)
    labels[100] = 1
    assert classes(Probe.from_dataset(labelled(labels), per_class=2)) == {0: 2, 1: 1}


def test_no_more_is_read_than_max_scan() -> None:
    stream = Stream([0] * 10 + [1] * 10)
    assert classes(Probe.from_dataset(stream, per_class=2, max_scan=10)) == {0: 2}
    assert stream.n_read <= 11


def test_reading_ends_when_all_classes_are_full_and_no_new_one_turns_up() -> None:
    stream = Stream([0, 1] * 5000)
    assert classes(Probe.from_dataset(stream, per_class=2, max_scan=10_000)) == {0: 2, 1: 2}
    assert stream.n_read == PATIENCE + 2


def test_an_iterable_data_set_is_read_in_its_own_order() -> None:
    probe = Probe.from_dataset(Stream([1, 0, 1, 0, 1, 0]), per_class=2)
    assert probe.indices == (1, 3, 0, 2)


def test_without_targets_the_first_of_the_order_are_taken() -> None:
    probe = Probe.from_dataset(TensorDataset(torch.arange(100).float()[:, None]), max_samples=7)
    assert len(probe) == 7 and probe.targets is None
    assert probe.parts[0].flatten().tolist() == list(probe.indices)


def test_regression_keeps_its_values() -> None:
    values = torch.rand(50) + 2
    probe = Probe.from_dataset(TensorDataset(torch.rand(50, 3), values), max_samples=8)
    assert probe.labels is None and probe.targets is not None
    torch.testing.assert_close(probe.targets, values[list(probe.indices)])


@pytest.mark.parametrize("seed", range(4))
def test_regression_whose_values_are_often_zero_or_one_is_no_classification(seed: int) -> None:
    values = torch.tensor([0.0, 1.0] * 19 + [0.5, 0.25])
    probe = Probe.from_dataset(TensorDataset(torch.rand(40, 3), values), max_samples=64, seed=seed)
    assert len(probe) == 40
    assert probe.targets is not None and sorted(probe.targets.tolist()) == sorted(values.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_a_few_samples_of_several_labels_show_that_all_labels_are_of_that_kind(seed: int) -> None:
    targets = torch.nn.functional.one_hot(torch.arange(600) % 3, 3).float()
    targets[::75] = 1
    probe = Probe.from_dataset(TensorDataset(torch.rand(600, 2), targets), seed=seed)
    assert (len(probe), probe.labels) == (64, None)


def test_a_late_sample_without_a_label_is_kept_as_evidence() -> None:
    drawing = Drawing(per_class=4, max_samples=8)
    for index in range(100):
        drawing.offer(None if index == 90 else index % 3, index, lambda index=index: index)
    assert not drawing.has_classes and drawing.complete
    assert [item for _, item in drawing.picked()] == [*range(7), 90]


def test_samples_with_an_ignored_label_are_passed_over() -> None:
    probe = Probe.from_dataset(labelled([-100, 0, -1, 1, 0, 1, -100]), per_class=4)
    assert classes(probe) == {0: 2, 1: 2}


def test_samples_with_maps_of_labels_are_drawn_as_unlabelled() -> None:
    dataset = TensorDataset(torch.rand(9, 1, 4, 4), torch.randint(0, 3, (9, 4, 4)))
    probe = Probe.from_dataset(dataset, max_samples=5)
    assert len(probe) == 5 and probe.labels is None


def test_items_of_every_form_and_selectors() -> None:
    base = labelled(torch.arange(12) % 3)
    named = Probe.from_dataset(Mapped(base, lambda item: {"image": item[0], "label": item[1]}), per_class=2)
    chosen = Probe.from_dataset(
        Mapped(base, lambda item: ("id", item[1], item[0])), per_class=2, input=2, target=lambda batch: batch[1]
    )
    plain = Probe.from_dataset(base, per_class=2)
    assert named.fingerprint == chosen.fingerprint == plain.fingerprint


@pytest.mark.parametrize("one_hot", [False, True])
def test_labels_in_columns_or_one_hot_are_balanced_too(one_hot: bool) -> None:
    labels = torch.arange(20) % 2
    target = torch.nn.functional.one_hot(labels) if one_hot else labels[:, None].float()
    assert classes(Probe.from_dataset(TensorDataset(torch.rand(20, 2), target), per_class=3)) == {0: 3, 1: 3}


@pytest.mark.parametrize("dataset", [labelled([]), Stream([])])
def test_an_empty_data_set_is_refused_by_name(dataset: Dataset[Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{type(dataset).__name__} gave no samples"):
        Probe.from_dataset(dataset)


@pytest.mark.parametrize("options", [{"per_class": 0}, {"max_samples": 0}, {"per_class": -1}])
def test_counts_below_one_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="expected at least 1 of each"):
        Probe.from_dataset(labelled([0]), **options)


def test_a_sample_that_is_not_wanted_is_not_fetched() -> None:
    buckets = Buckets(per_class=1, max_samples=2)
    fetched: list[int] = []
    for index, label in enumerate([5, 5, 3, 3, 7]):
        buckets.add(label, index, lambda index=index: fetched.append(index) or index)
    assert fetched == [0, 2]
    assert buckets.picked() == [(2, 2), (0, 0)]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([900, 900], [20, 20]),
        ([900, 900, 900], [14, 13, 13]),
        ([90] * 10, [4] * 10),
        ([1900, 12], [28, 12]),  # what a class is short of goes to the other
        ([300, 300, 2], [19, 19, 2]),
        ([3, 5], [3, 5]),
        ([90] * 12, [4] * 12),
        ([90] * 20, [4] * 4 + [3] * 16),
        ([20] * 90, [1] * 64),
        ([700], [40]),
    ],
)
def test_by_default_the_classes_share_the_samples_evenly(counts: list[int], expected: list[int]) -> None:
    labels = torch.tensor([c for c, n in enumerate(counts) for _ in range(n)])
    probe = Probe.from_dataset(labelled(labels))
    assert sorted(classes(probe).values(), reverse=True) == sorted(expected, reverse=True)
    assert len(set(probe.indices)) == len(probe)


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=9),
    max_samples=st.integers(1, 50),
    seed=st.integers(0, 50),
)
@settings(max_examples=30)
def test_no_class_could_have_more_without_another_having_less(counts: list[int], max_samples: int, seed: int) -> None:
    labels = [c for c, n in enumerate(counts) for _ in range(n)]
    found = classes(Probe.from_dataset(labelled(labels), max_samples=max_samples, seed=seed))
    assert sum(found.values()) == min(max_samples, len(labels))
    # as water finds its level: whoever has less than another by more than one has nothing left to give
    highest = max(found.values())
    assert all(n >= highest - 1 or n == counts[c] for c, n in found.items())
    assert len(found) == min(len(counts), max_samples)


def test_without_classes_the_first_samples_are_taken() -> None:
    several = (torch.rand(200, 3) > 0.5).float()
    assert len(Probe.from_dataset(TensorDataset(torch.rand(200, 2), several))) == 64
    assert len(Probe.from_dataset(TensorDataset(torch.rand(200, 2)))) == 64
    assert len(Probe.from_dataset(TensorDataset(torch.rand(9, 2)))) == 9


def test_even_classes_need_no_more_items_than_show_that_there_are_no_others() -> None:
    stream = Stream([0, 1] * 2000)
    assert classes(Probe.from_dataset(stream)) == {0: 20, 1: 20}
    assert stream.n_read == PATIENCE + 2
