"""What hooks collect equals a sort of everything, by activation and by something else."""

from typing import Any

import torch
from torch import Tensor

from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.neurons.exemplars.exemplar_collector import ExemplarCollector
from lightning_explain.exemplars.peaks import Peaks, peaks_of, positions_at
from lightning_explain.exemplars.top_samples import TopSamples
from lightning_explain.neurons import Activity
from lightning_explain.neurons.views import Units

K = 3


def activity(values: Tensor, *, has_peak: bool = True) -> Activity:
    mean = values.flatten(2).mean(2) if values.ndim > 2 else values
    peak = values.flatten(2).amax(2) if values.ndim > 2 else values
    return Activity(mean, mean, None, None, peak if has_peak else None)


def collect(batches: Any, *, way: str = "hook", of_class: Any = None) -> ExemplarCollector:
    """Collect from (values [batch, units, positions...], numbers, labels)."""
    collector = ExemplarCollector(K, by_activation=way != "peaks")
    for values, numbers, labels in batches:
        collector.begin_batch(numbers, labels, None if of_class is None else of_class(labels))
        units = Units(values, unit_dim=1)
        collector.add("conv", units, activity(values, has_peak=way == "hook"))
        if way == "peaks":
            collector.add_peaks("conv", peaks_of(units), tuple(values.shape[2:]))
        collector.end_batch()
    return collector


def batches_of(values: Tensor, labels: Tensor, size: int) -> list[tuple[Tensor, ...]]:
    numbers = torch.arange(len(values))
    return [tuple(part[i : i + size] for part in (values, numbers, labels)) for i in range(0, len(values), size)]


def check(top: TopSamples, values: Tensor, labels: Tensor, counted: list[int]) -> None:
    for unit in range(values.shape[1]):
        of_unit = values[:, unit].flatten(1)
        best = sorted(counted, key=lambda row: (-float(of_unit[row].max()), row))[:K]
        assert top.numbers[unit].tolist() == best
        assert top.labels[unit].tolist() == labels[best].tolist()
        for rank, row in enumerate(best):
            position = positions_at(top.places[unit, rank], 2).tolist()
            assert (
                float(values[row, unit][tuple(position)]) == float(top.values[unit, rank]) == float(of_unit[row].max())
            )


def test_every_way_equals_a_sort() -> None:
    torch.manual_seed(0)
    values, labels = (2 * torch.randn(20, 4, 3, 5)).round(), torch.arange(20) % 3
    for way in ("hook", "no peak", "peaks"):
        collector = collect(batches_of(values, labels, 6), way=way)
        tops, shapes = collector.tops(Ranks())
        assert shapes == {"conv": (3, 5)}
        check(tops["conv"], values, labels, list(range(20)))
        assert torch.equal(collector.current()["conv"].keys, tops["conv"].keys)


def has_class(labels: Tensor) -> Tensor:
    return labels >= 0


def test_samples_without_a_class_are_left_out() -> None:
    torch.manual_seed(1)
    values, labels = torch.randn(20, 4, 3, 5), torch.arange(20) % 4 - 1
    counted = [row for row in range(20) if labels[row] >= 0]
    for way in ("hook", "no peak", "peaks"):
        tops, _ = collect(batches_of(values, labels, 7), way=way, of_class=has_class).tops(Ranks())
        check(tops["conv"], values, labels, counted)


def test_without_labels_none_are_kept() -> None:
    values = torch.randn(8, 2, 1, 1)
    tops, _ = collect([(values, torch.arange(8), None)]).tops(Ranks())
    check(tops["conv"], values, torch.full((8,), -1), list(range(8)))


def test_patches_folded_into_the_batch_are_no_samples() -> None:
    collector = ExemplarCollector(K)
    collector.begin_batch(torch.arange(4), None, None)
    collector.add("conv", Units(torch.randn(8, 2)), activity(torch.randn(8, 2)))
    collector.add_peaks("conv", Peaks(torch.randn(8, 2), torch.zeros(8, 2, dtype=torch.long)), ())
    collector.end_batch()
    assert collector.tops(Ranks()) == ({}, {})


class Others(Ranks):
    """Two processes, of which the other has what is given."""

    def __init__(self, other: Any) -> None:
        super().__init__(0, 2)
        object.__setattr__(self, "other", other)

    def exchanged(self, own: Any) -> Any:
        return [own, (self.other.current(), self.other.shapes)]  # type: ignore[attr-defined]


def test_processes_merge_to_a_sort_of_all_samples_and_the_largest_shape() -> None:
    torch.manual_seed(2)
    values, labels = torch.randn(20, 4, 3, 5).round(), torch.arange(20) % 3
    values[10:, :, 2] = -9.0  # of the other process rows are fewer
    batches = batches_of(values, labels, 5)
    there = collect([(part[:, :, :2], numbers, of) for part, numbers, of in batches[2:]])
    tops, shapes = collect(batches[:2]).tops(Others(there))
    assert shapes == {"conv": (3, 5)}
    check(tops["conv"], values, labels, list(range(20)))


def test_samples_that_several_processes_have_count_once() -> None:
    torch.manual_seed(3)
    values, labels = torch.randn(20, 4, 3, 5), torch.arange(20) % 3
    batches = batches_of(values, labels, 5)
    tops, _ = collect(batches).tops(Others(collect(batches[1:])))
    check(tops["conv"], values, labels, list(range(20)))
