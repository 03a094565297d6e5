"""Affine maps: what they apply, their transposes and merged scalings, against torch's own layers and gradients."""

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.attribution.lrp.calls import layer_of
from lightning_explain.attribution.lrp.maps import AffineMap, ChannelScaling, Contraction, Dense, transpose_each
from tests.attribution.nets import drawn, seeded

LAYERS = {
    "dense": (nn.Linear(5, 4), (5,)),
    "strided": (nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2), groups=2), (4, 7, 6)),
    "as large as the image": (nn.Conv2d(3, 4, (3, 5), stride=2), (3, 3, 5)),
    "one dimension": (nn.Conv1d(2, 3, 3), (2, 8)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2), (4, 3, 3)),
}


def mapped(name: str) -> tuple[nn.Module, AffineMap, Tensor]:
    module, shape = LAYERS[name]
    layer, x = seeded(module), drawn(3, *shape)
    kind = type(layer)
    options = () if kind is nn.Linear else (layer.stride, layer.padding)
    more = {} if kind is nn.Linear else {"groups": layer.groups, "dilation": layer.dilation}
    if kind is nn.ConvTranspose2d:
        more["output_padding"] = layer.output_padding
    _, found = layer_of(kind, (x, layer.weight, layer.bias, *options), more)
    return layer, found, x


@pytest.mark.parametrize("name", LAYERS)
def test_maps_apply_what_the_layer_does(name: str) -> None:
    layer, found, x = mapped(name)
    torch.testing.assert_close(found.apply(x, found.weight, found.bias), layer(x).detach())


@pytest.mark.parametrize("name", LAYERS)
def test_transposes_are_the_gradient_of_the_map(name: str) -> None:
    _, found, x = mapped(name)
    leaf, weight = x.clone().requires_grad_(), found.weight.square()
    z = found.apply(leaf, weight)
    s = drawn(*z.shape, seed=4)
    (wanted,) = torch.autograd.grad(z, leaf, s)
    torch.testing.assert_close(found.transpose(s, weight, x), wanted)
    for back, by in zip(transpose_each(found, s, (weight, -2 * weight), x), (1, -2), strict=True):
        torch.testing.assert_close(back, by * wanted)


@pytest.mark.parametrize("name", LAYERS)
def test_spread_is_the_transpose_with_weights_of_one(name: str) -> None:
    _, found, x = mapped(name)
    s = drawn(*found.apply(x, found.weight).shape, seed=4)
    torch.testing.assert_close(found.spread(s, x), found.transpose(s, torch.ones_like(found.weight), x))


@pytest.mark.parametrize("name", LAYERS)
def test_a_merged_scaling_acts_on_the_output_channels(name: str) -> None:
    _, found, x = mapped(name)
    z = found.apply(x, found.weight, found.bias)
    scale, shift = drawn(z.shape[1], seed=5), drawn(z.shape[1], seed=6)
    merged = found.rescaled(scale, shift)
    shape = (-1, *[1] * (z.ndim - 2))
    wanted = z * scale.reshape(shape) + shift.reshape(shape)
    torch.testing.assert_close(merged.apply(x, merged.weight, merged.bias), wanted)


def test_channel_scaling_is_its_own_transpose() -> None:
    scaling, x = ChannelScaling(torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0])), torch.ones(1, 2, 2)
    assert scaling.apply(x, scaling.weight, scaling.bias).tolist() == [[[3.0, 3.0], [2.0, 2.0]]]
    assert scaling.transpose(x, scaling.weight, x).tolist() == [[[2.0, 2.0], [-1.0, -1.0]]]
    assert scaling.spread(x, x) is x
    twice = scaling.rescaled(torch.tensor([10.0, 1.0]), torch.tensor([0.0, 5.0]))
    assert twice.weight.tolist() == [20.0, -1.0] and twice.bias is not None and twice.bias.tolist() == [10.0, 8.0]


def test_a_contraction_equals_the_dense_map_of_its_constants() -> None:
    constant, x, s = drawn(4, 3), drawn(2, 4), drawn(2, 3, seed=3)
    found, dense = Contraction(constant, lambda a, w: a @ w), Dense(constant.T, None)
    torch.testing.assert_close(found.apply(x, constant), dense.apply(x, dense.weight))
    torch.testing.assert_close(found.transpose(s, constant, x), dense.transpose(s, dense.weight, x))
    torch.testing.assert_close(found.spread(s, x), dense.spread(s, x))
