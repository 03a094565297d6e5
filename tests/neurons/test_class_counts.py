"""Sums of activity by class, against loops over classes and against layers counted each for itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.neurons import class_counts as module
from lightning_explain.neurons.activity import Activity, unit_activity
from lightning_explain.neurons.class_counts import ClassCounts, JointCounts, SummedLayer, class_rows

CPU = torch.device("cpu")


def counts_of(activity: Activity, labels: Tensor, n_classes: int, counted: Tensor | None = None) -> ClassCounts:
    sums = JointCounts(n_classes, [SummedLayer.of(activity)], CPU)
    sums.add([activity], class_rows(labels, n_classes, counted))
    return sums.drain()[0]


def test_each_sample_is_counted_for_its_class_and_ignored_ones_for_none() -> None:
    labels, counted = torch.tensor([2, 0, -100, 2, 3, 0]), torch.tensor([1, 1, 1, 1, 1, 0]).bool()
    assert class_rows(labels, 3).tolist() == [2, 0, 3, 2, 3, 0]
    assert class_rows(labels, 3, counted).tolist() == [2, 0, 3, 2, 3, 3]
    found = counts_of(unit_activity(torch.ones(6, 2), unit_dim=1), labels, 3, counted)
    assert found.samples.tolist() == [1, 0, 2]
    assert found.active.tolist() == [[1, 1], [0, 0], [2, 2]]


@settings(max_examples=30)
@given(seed=st.integers(0, 999), n_classes=st.integers(1, 5))
def test_class_counts_are_sums_over_the_samples_of_the_class(seed: int, n_classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, n_classes, (9,), generator=generator)
    output = torch.randn(9, 4, generator=generator)
    found = counts_of(unit_activity(output, unit_dim=1), labels, n_classes)
    for c in range(n_classes):
        mine = output[labels == c]
        torch.testing.assert_close(found.active[c], (mine > 0).sum(0).float())
        torch.testing.assert_close(found.activation[c], mine.sum(0))
        assert int(found.samples[c]) == len(mine)
    assert torch.equal(found.alive > 0, (output > 0).any(0))


def test_a_drained_buffer_begins_anew() -> None:
    maps = unit_activity(torch.ones(2, 3, 4), unit_dim=1)
    buffer = JointCounts(2, [SummedLayer.of(maps)], CPU)
    assert buffer.is_empty
    buffer.add([maps], torch.tensor([0, 1]))
    assert not buffer.is_empty
    (first,) = buffer.drain()
    assert first.samples.tolist() == [1, 1] and first.alive.tolist() == [1, 1, 1]
    assert all(bool((part == 0).all()) for part in buffer.drain()[0])
    assert first.samples.tolist() == [1, 1]  # what was handed over stays


def layers(seed: int) -> list[Activity]:
    """Return flat and spatial layers, some of which are never negative, one of them in 16 bits."""
    torch.manual_seed(seed)
    flat, maps, tokens = torch.randn(9, 4), torch.randn(9, 3, 5, 5), torch.randn(9, 6, 2).half()
    return [
        unit_activity(flat, unit_dim=1),
        unit_activity(maps.relu(), unit_dim=1, signed=False),
        unit_activity(tokens, unit_dim=-1),
        unit_activity(flat.relu(), unit_dim=1, signed=False),
    ]


@pytest.mark.parametrize("joined", [0, 1 << 20])
def test_layers_side_by_side_are_those_counted_alone(joined: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOINED", joined)
    sums = JointCounts(3, [SummedLayer.of(each) for each in layers(0)], CPU)
    alone = [JointCounts(3, [SummedLayer.of(each)], CPU) for each in layers(0)]
    for seed, n_samples in ((1, 9), (2, 9), (3, 4)):
        rows = class_rows(torch.randint(-1, 5, (n_samples,)), 3)
        batch = [
            Activity(*(None if part is None else part[:n_samples] if part.ndim > 1 else part for part in each))
            for each in layers(seed)
        ]
        sums.add(batch, rows)
        for mine, activity in zip(alone, batch, strict=True):
            mine.add([activity], rows)
    for mine, expected in zip(sums.drain(), alone, strict=True):
        for part, other in zip(mine, expected.drain()[0], strict=True):
            torch.testing.assert_close(part, other)


def test_a_nan_stays_with_its_class_and_neuron() -> None:
    values = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
    found = counts_of(unit_activity(values, unit_dim=1), torch.tensor([0, 1]), 2)
    assert found.activation.isnan().tolist() == [[False, True], [False, False]]
