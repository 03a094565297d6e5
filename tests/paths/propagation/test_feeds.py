"""What a layer read, taken apart by where it came from."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.paths.propagation.feeds import Feed, Forward, feed_of
from lightning_explain.paths.propagation.unit_places import LayerUnits


def source(*shape: int) -> tuple[Tensor, LayerUnits]:
    """A leaf [batch, ...] of signed values, and each channel (or feature) as a unit."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).double().requires_grad_()
    n, units = shape[:2]
    key = torch.arange(n * units).reshape(n, units, *[1] * (len(shape) - 2))
    return values, LayerUnits("fc", "neurons", (0,), (key,), (0,), units, n, torch.zeros((), dtype=torch.double))


def feeds(read: Tensor, sources: Sequence[tuple[Tensor, LayerUnits]]) -> list[Feed | None]:
    forward = Forward(read, [values for values, _ in sources])
    return [feed_of(forward, which, values.detach(), units, 0, 1) for which, (values, units) in enumerate(sources)]


def test_the_parts_of_a_residual_sum_add_up_to_what_was_read() -> None:
    one, two = source(4, 3), source(4, 3)
    first, second = feeds(one[0].relu() + 2 * two[0], [one, two])
    torch.testing.assert_close(first.part, one[0].detach().clamp_min(0))
    torch.testing.assert_close(second.part, 2 * two[0].detach())
    assert first.by == "feature" and first.labels.tolist() == [0, 1, 2] and first.members is None


def test_constants_belong_to_no_source() -> None:
    one = source(2, 3)
    (feed,) = feeds(one[0] * 3 + 5, [one])
    torch.testing.assert_close(feed.part, 3 * one[0].detach())


def test_concatenated_elements_keep_the_units_they_come_from() -> None:
    one, two = source(2, 2), source(2, 3)
    first, second = feeds(torch.cat([two[0].flip(1), one[0]], 1), [one, two])
    assert first.part[:, :3].abs().sum() == 0 and first.labels[3:].tolist() == [0, 1]
    assert second.part[:, 3:].abs().sum() == 0 and second.labels[:3].tolist() == [2, 1, 0]
    assert second.members[:3].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("pool", [functional.max_pool2d, functional.avg_pool2d])
def test_pooled_channels_stay_units(pool: Callable[..., Tensor]) -> None:
    maps = source(2, 3, 4, 4)
    (feed,) = feeds(pool(maps[0], 2).flatten(1), [maps])
    assert feed.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    torch.testing.assert_close(feed.part, pool(maps[0].detach(), 2).flatten(1))


@pytest.mark.parametrize("mix", [lambda h: h.mean(1), lambda h: h[:, :2] + h[:, 2:], lambda h: (h[:, 0] + h[:, 2]) / 2])
def test_units_that_were_mixed_have_no_labels(mix: Callable[[Tensor], Tensor]) -> None:
    # the mean of units 0 and 2 has a whole number too, that of unit 1
    maps = source(2, 4, 3)
    assert feeds(mix(maps[0]), [maps]) == [None]


def test_units_of_very_different_size_that_were_mixed_have_no_labels() -> None:
    values, units = source(2, 2, 3)
    with torch.no_grad():
        values[:, 1] *= 0.5
    assert feeds(values.sum(1, keepdim=True), [(values, units)]) == [None]


def test_a_choice_that_differs_from_sample_to_sample_mixes() -> None:
    values, units = source(2, 2)
    with torch.no_grad():
        values.copy_(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    assert feeds(values.amax(1, keepdim=True), [(values, units)]) == [None]


def test_what_nothing_came_through_counts_for_its_own_unit() -> None:
    values, units = source(1, 3)
    with torch.no_grad():
        values.copy_(torch.tensor([[1.0, -1.0, 2.0]]))
    (feed,) = feeds(values.relu(), [(values, units)])
    assert feed.labels.tolist() == [0, 1, 2] and feed.part.tolist() == [[1.0, 0.0, 2.0]]


def test_units_may_be_positions_instead_of_channels() -> None:
    values = torch.rand(2, 3, 4).double().requires_grad_()
    key = torch.arange(8).reshape(2, 1, 4)
    units = LayerUnits("input", "input", (0,), (key,), (0,), 4, 2, torch.zeros((), dtype=torch.double))
    (feed,) = feeds(values * 2, [(values, units)])
    assert feed.by == "position" and feed.labels.tolist() == [0, 1, 2, 3]
