"""Feature maps in outputs of any order of dimensions, and among tokens."""

import pytest
import torch

from lightning_explain.attribution.grad_cam.dimensions import Part
from lightning_explain.attribution.grad_cam.feature_map import FeatureMap, channels_at, find_feature_map

C, R, W = ((Part("channels", 7),), (Part("rows", 2),), (Part("columns", 3),))
SAMPLES, OTHER = (Part("", 5),), (Part("", 7),)


@pytest.mark.parametrize(
    ("axes", "order"),
    [
        ((SAMPLES, C, R, W), (0, 1, 2, 3)),
        ((SAMPLES, R, W, C), (0, 3, 1, 2)),
        ((SAMPLES, W, C, R), (0, 2, 3, 1)),
        # where the places are known, what is left are the channels
        ((SAMPLES, R, OTHER, W), (0, 2, 1, 3)),
    ],
)
def test_maps_are_brought_into_the_order_channels_rows_columns(axes, order) -> None:
    found = find_feature_map(axes)
    assert found == FeatureMap(order, 6)
    sizes = [1 if axis is SAMPLES else axis[0].size for axis in axes]
    assert found.of(torch.rand(*sizes)).shape == (1, 7, 2, 3)


def test_tokens_are_unfolded_from_the_first_patch_on() -> None:
    grid = (Part("rows", 2), Part("columns", 3))
    tokens = (Part("tokens", 8, 1, grid),)
    found = find_feature_map((SAMPLES, tokens, C))
    assert found == FeatureMap((0, 2, 1), 6, (2, 3), 1)
    values = torch.arange(8.0)[None, :, None].expand(1, 8, 7)
    assert found.of(values)[0, 0].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    only_class = torch.zeros(1, 8, 7)
    assert not found.is_bypassed(only_class)
    only_class[:, 0] = 1.0
    assert found.is_bypassed(only_class) and not found.is_bypassed(torch.ones(1, 8, 7))


@pytest.mark.parametrize("axes", [None, (SAMPLES, OTHER, OTHER, OTHER), (SAMPLES, OTHER, C), (SAMPLES, C, C, R)])
def test_dimensions_that_do_not_tell_give_no_map(axes) -> None:
    assert find_feature_map(axes) is None


@pytest.mark.parametrize("dim", [1, 2, 3, -1])
def test_channels_are_where_they_are_said_to_be(dim: int) -> None:
    values = torch.rand(2, 3, 4, 5)
    assert torch.equal(channels_at(dim, values.shape).of(values), values.movedim(dim, 1))
