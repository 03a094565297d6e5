"""What a layer read, taken apart by where it came from."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.paths.feeds import FeedSource, feeds_of


def source(*shape: int, labels: Tensor | None = None) -> FeedSource:
    """A leaf [batch, ...] of signed values, each channel (or feature) a unit unless told."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).double().requires_grad_()
    if labels is None:
        view = torch.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2))
        labels = view.expand(shape[1:]).contiguous()
    return FeedSource("fc", values, labels, int(labels.max()) + 1)


def test_a_layer_that_reads_a_leaf_has_that_alone() -> None:
    one, two = source(2, 3), source(2, 4)
    (feed,) = feeds_of(two.values, [one, two])
    assert feed.source == 1 and feed.n_units == 4
    assert torch.equal(feed.part, two.values) and feed.labels is two.labels and not feed.part.requires_grad


def test_the_parts_of_a_residual_sum_add_up_to_what_was_read() -> None:
    one, two = source(4, 3), source(4, 3)
    read = one.values.relu() + 2 * two.values
    parts = {feed.source: feed.part for feed in feeds_of(read, [one, two])}
    torch.testing.assert_close(parts[0], one.values.detach().clamp_min(0))
    torch.testing.assert_close(parts[1], 2 * two.values.detach())


def test_constants_belong_to_no_source() -> None:
    one = source(2, 3)
    (feed,) = feeds_of(one.values * 3 + 5, [one])
    torch.testing.assert_close(feed.part, 3 * one.values.detach())


def test_concatenated_elements_keep_the_units_they_come_from() -> None:
    one, two = source(2, 2), source(2, 3)
    first, second = feeds_of(torch.cat([two.values.flip(1), one.values], 1), [one, two])
    assert first.part[:, :3].abs().sum() == 0 and first.labels[3:].tolist() == [0, 1]
    assert second.part[:, 3:].abs().sum() == 0 and second.labels[:3].tolist() == [2, 1, 0]


@pytest.mark.parametrize("pool", [functional.max_pool2d, functional.avg_pool2d])
def test_pooled_channels_stay_units(pool: object) -> None:
    maps = source(2, 3, 4, 4)
    (feed,) = feeds_of(pool(maps.values, 2).flatten(1), [maps])
    assert feed.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    torch.testing.assert_close(feed.part, pool(maps.values.detach(), 2).flatten(1))


@pytest.mark.parametrize("mix", [lambda h: h.mean(1), lambda h: h[:, :2] + h[:, 2:], lambda h: (h[:, 0] + h[:, 2]) / 2])
def test_units_that_were_mixed_have_no_labels(mix: object) -> None:
    # the mean of units 0 and 2 has a whole number too, that of unit 1
    maps = source(2, 4, 3)
    (feed,) = feeds_of(mix(maps.values), [maps])
    assert feed.labels is None
    torch.testing.assert_close(feed.part, mix(maps.values.detach()))


def test_a_choice_that_differs_from_sample_to_sample_mixes() -> None:
    units = source(2, 2)
    with torch.no_grad():
        units.values.copy_(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    (feed,) = feeds_of(units.values.amax(1, keepdim=True), [units])
    assert feed.labels is None and feed.part.tolist() == [[2.0], [2.0]]


def test_what_nothing_came_through_counts_for_any_unit() -> None:
    units = source(1, 3)
    with torch.no_grad():
        units.values.copy_(torch.tensor([[1.0, -1.0, 2.0]]))
    (feed,) = feeds_of(units.values.relu(), [units])
    assert feed.labels[[0, 2]].tolist() == [0, 2] and feed.part.tolist() == [[1.0, 0.0, 2.0]]
