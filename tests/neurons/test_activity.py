"""Which neurons are active, against loops over samples, neurons and positions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.neurons import activity as activity_module
from lightning_explain.neurons.activity import (
    HEAD_SHARE,
    Activity,
    Scratch,
    fewest_active,
    head_activity,
    unit_activity,
)

LAYOUTS = {
    "flat": ((4, 5), 1),
    "flat, features last": ((4, 5), -1),
    "series": ((4, 3, 6), 1),
    "images": ((4, 3, 5, 2), 1),
    "volumes": ((2, 3, 2, 3, 2), 1),
    "sequence": ((4, 6, 3), -1),
    "grid, features last": ((4, 2, 5, 3), -1),
}


def brute_force(output: Tensor, unit_dim: int, threshold: float, min_fraction: float) -> tuple[Tensor, Tensor, Tensor]:
    by_unit = output.movedim(unit_dim, 1).flatten(2) if output.ndim > 2 else output[:, :, None]
    n_samples, n_units, n_positions = by_unit.shape
    active, mean, alive = torch.zeros(n_samples, n_units), torch.zeros(n_samples, n_units), torch.zeros(n_units)
    for sample in range(n_samples):
        for unit in range(n_units):
            values = [float(value) for value in by_unit[sample, unit]]
            n_above = sum(value > threshold for value in values)
            active[sample, unit] = n_above >= max(1, min_fraction * n_positions - 1e-9)
            mean[sample, unit] = sum(values) / n_positions
            alive[unit] = max(float(alive[unit]), float(n_above > 0))
    return active, mean, alive


@pytest.mark.parametrize(("shape", "unit_dim"), LAYOUTS.values(), ids=LAYOUTS.keys())
@given(seed=st.integers(0, 999), threshold=st.sampled_from([0.0, -0.5, 0.7]), min_fraction=st.floats(0, 1))
@settings(max_examples=25)
def test_activity_is_that_of_loops(
    shape: tuple[int, ...], unit_dim: int, seed: int, threshold: float, min_fraction: float
) -> None:
    output = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    found = unit_activity(output, unit_dim=unit_dim, threshold=threshold, min_fraction=min_fraction)
    for tensor, expected in zip(whole(found), brute_force(output, unit_dim, threshold, min_fraction), strict=True):
        torch.testing.assert_close(tensor, expected)


def whole(activity: Activity) -> tuple[Tensor, Tensor, Tensor]:
    """For a flat output `active` says which neurons are alive."""
    return activity.active, activity.activation, activity.active.amax(0) if activity.alive is None else activity.alive


def channel(n_active: int, n_positions: int) -> Tensor:
    return torch.cat([torch.ones(n_active), -torch.ones(n_positions - n_active)])[None, None]


@pytest.mark.parametrize("n_positions", [3, 7, 10, 30, 49, 100])
def test_a_share_of_positions_that_equals_min_fraction_is_enough(n_positions: int) -> None:
    for n_active in range(1, n_positions + 1):
        output = channel(n_active, n_positions)
        assert unit_activity(output, unit_dim=1, min_fraction=n_active / n_positions).active.item() == 1
        above = min(1.0, (n_active + 0.01) / n_positions)
        assert unit_activity(output, unit_dim=1, min_fraction=above).active.item() == (n_active == n_positions)


def test_with_min_fraction_zero_one_active_position_is_needed_and_enough() -> None:
    output = torch.cat([channel(0, 9), channel(1, 9)], dim=1)
    assert unit_activity(output, unit_dim=1, min_fraction=0).active.tolist() == [[0, 1]]


def test_with_min_fraction_one_all_positions_are_needed() -> None:
    output = torch.cat([channel(8, 9), channel(9, 9)], dim=1)
    assert unit_activity(output, unit_dim=1, min_fraction=1).active.tolist() == [[0, 1]]


def test_a_value_at_the_threshold_is_not_active() -> None:
    found = unit_activity(torch.tensor([[0.5, 0.50001, -1.0]]), unit_dim=1, threshold=0.5)
    assert found.active.tolist() == [[0, 1, 0]]


def test_a_channel_that_is_seldom_active_is_alive_all_the_same() -> None:
    found = unit_activity(channel(1, 100), unit_dim=1)
    assert found.active.item() == 0 and found.alive.item() == 1


def test_negative_activations_count_in_the_mean() -> None:
    assert unit_activity(torch.tensor([[[1.0, -3.0]]]), unit_dim=1).activation.item() == -1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 6)])
def test_half_precision_is_counted_as_float(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    output = torch.randn(shape).to(dtype)
    found, expected = (unit_activity(each, unit_dim=1) for each in (output, output.float()))
    for mine, theirs in zip(whole(found), whole(expected), strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, theirs)


def test_a_mean_over_many_half_precision_positions_does_not_overflow_or_round() -> None:
    found = unit_activity(torch.full((1, 1, 70_000), 60.0, dtype=torch.float16), unit_dim=1)
    torch.testing.assert_close(found.activation, torch.tensor([[60.0]]))


def test_double_precision_is_counted_as_float_too() -> None:
    output = torch.rand(2, 3) - 0.5
    for part, expected in zip(
        whole(unit_activity(output.double(), unit_dim=1)), whole(unit_activity(output, unit_dim=1)), strict=True
    ):
        assert part.dtype == torch.float32 and torch.equal(part, expected)


@pytest.mark.parametrize("n_elements", [1, 20, 61, 130, 1000])
def test_counting_in_pieces_gives_the_same(n_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    output = torch.randn(7, 3, 4, 5)
    whole = unit_activity(output, unit_dim=1)
    monkeypatch.setattr(activity_module, "CHUNK_ELEMENTS", n_elements)
    for mine, theirs in zip(unit_activity(output, unit_dim=1), whole, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_memory_layout_does_not_matter() -> None:
    output = torch.randn(4, 3, 5, 5)
    plain = unit_activity(output, unit_dim=1)
    for other in (output.to(memory_format=torch.channels_last), output.transpose(2, 3).contiguous().transpose(2, 3)):
        for mine, theirs in zip(unit_activity(other, unit_dim=1), plain, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_maps_are_neither_changed_nor_kept() -> None:
    output = torch.randn(4, 3, 5, 5)
    before = output.clone()
    found = unit_activity(output, unit_dim=1)
    torch.testing.assert_close(output, before, rtol=0, atol=0)
    kept = found.activation.clone()
    output.zero_()
    torch.testing.assert_close(found.activation, kept)


@settings(max_examples=30)
@given(order=st.permutations(range(6)))
def test_neurons_are_counted_each_for_itself(order: list[int]) -> None:
    output = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    plain, permuted = unit_activity(output, unit_dim=1), unit_activity(output[:, order], unit_dim=1)
    torch.testing.assert_close(permuted.active, plain.active[:, order])
    torch.testing.assert_close(permuted.activation, plain.activation[:, order])
    assert permuted.alive is not None and plain.alive is not None
    torch.testing.assert_close(permuted.alive, plain.alive[order])


@given(n_positions=st.integers(1, 3000), min_fraction=st.floats(0, 1))
def test_the_fewest_active_positions_are_those_whose_share_is_enough(n_positions: int, min_fraction: float) -> None:
    share = torch.arange(1, n_positions + 1) / n_positions
    enough = (share >= min_fraction).nonzero()
    assert fewest_active(n_positions, min_fraction) == int(enough[0]) + 1


@pytest.mark.parametrize("layout", ["plain", "channels last", "transposed", "expanded"])
def test_scratch_has_the_shape_and_where_it_can_the_order_of_memory(layout: str) -> None:
    plain = torch.randn(3, 4, 5, 6)
    chunk = {
        "plain": plain,
        "channels last": plain.to(memory_format=torch.channels_last),
        "transposed": plain.transpose(1, 3),
        "expanded": plain[:, :1].expand(3, 4, 5, 6),
    }[layout]
    scratch = Scratch()
    found = scratch.like(chunk)
    assert found.shape == chunk.shape and (layout == "expanded" or found.stride() == chunk.stride())
    assert torch.equal(torch.gt(chunk, 0, out=found), (chunk > 0).float())
    assert scratch.like(chunk) is found and scratch.like(plain[:1]).data_ptr() == found.data_ptr()


def padded_by_loops(values: Tensor, valid: Tensor, threshold: float, min_fraction: float) -> tuple[Any, ...]:
    n, _, units = values.shape
    active, mean, size, alive = np.zeros((n, units)), np.zeros((n, units)), np.zeros((n, units)), np.zeros(units)
    peak = np.zeros((n, units))
    for b in range(n):
        for j in range(units):
            kept = [float(v) for v, ok in zip(values[b, :, j], valid[b], strict=True) if ok]
            above = sum(v > threshold for v in kept)
            active[b, j] = len(kept) > 0 and above > 0 and above >= min_fraction * len(kept) - 1e-9
            mean[b, j] = sum(kept) / max(1, len(kept))
            size[b, j] = sum(abs(v) for v in kept) / max(1, len(kept))
            alive[j] = max(alive[j], above > 0)
            peak[b, j] = max(kept, default=-np.inf)
    return active, mean, alive, size, peak


@pytest.mark.parametrize("min_fraction", [0.0, 0.25, 0.5, 1.0])
def test_padding_neither_counts_nor_is_counted(min_fraction: float) -> None:
    torch.manual_seed(2)
    values, valid = torch.randn(6, 5, 4), torch.arange(5)[None] < torch.tensor([5, 4, 3, 2, 1, 0])[:, None]
    spoiled = values.masked_fill(~valid[..., None], torch.nan)
    found = unit_activity(spoiled, unit_dim=-1, threshold=0.1, min_fraction=min_fraction, valid=valid, peaks=True)
    for tensor, expected in zip(found, padded_by_loops(values, valid, 0.1, min_fraction), strict=True):
        np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-6)


def test_a_head_is_active_when_it_is_not_small_beside_the_others() -> None:
    norms = torch.tensor([[[1.0, 4.0, 0.0], [2.0, 4.0, 0.0]], [[0.0, 9.0, 0.0], [5.0, 5.0, 5.0]]])
    valid = torch.tensor([[True, True], [True, False]])
    found = head_activity(norms, valid)
    assert found.activation.tolist() == [[1.5, 4, 0], [0, 9, 0]]
    # the means over heads are 11/6 and 3
    assert found.active.tolist() == [[1, 1, 0], [0, 1, 0]] and HEAD_SHARE == 0.5
    assert found.alive.tolist() == [1, 1, 0] and found.magnitude is None
    assert head_activity(norms).alive.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(9, 5), (9, 5, 4), (9, 5, 4, 6)])
@pytest.mark.parametrize("unit_dim", [1, -1])
def test_the_largest_value_over_positions_is_found_on_the_way(shape: tuple[int, ...], unit_dim: int) -> None:
    values = torch.randn(shape).movedim(1, unit_dim)
    found = unit_activity(values, unit_dim=unit_dim, peaks=True, scratch=Scratch())
    assert found.peak is not None
    torch.testing.assert_close(found.peak, values.movedim(unit_dim, 1).reshape(9, 5, -1).amax(2))
    assert unit_activity(values, unit_dim=unit_dim).peak is None
