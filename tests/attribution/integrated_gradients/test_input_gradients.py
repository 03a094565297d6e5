"""The gradient at the input of a convolution, by whatever way back, against torch's own."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.input_gradients import conv2d
from lightning_explain.attribution.integrated_gradients.passes import counting_kept_bytes

# channels, outputs, kernel, options
KINDS: dict[str, tuple[int, int, tuple[int, int], dict[str, Any]]] = {
    "plain": (3, 4, (3, 3), {}),
    "pixels": (3, 5, (1, 1), {}),
    "pixels, strided": (3, 5, (1, 1), {"stride": 2}),
    "pixels, padded": (3, 5, (1, 1), {"padding": 1}),
    "pixels, grouped": (4, 6, (1, 1), {"groups": 2}),
    "depthwise": (4, 4, (3, 3), {"groups": 4, "padding": 1}),
    "depthwise, no padding": (4, 4, (3, 2), {"groups": 4}),
    "depthwise, wide padding": (4, 4, (2, 3), {"groups": 4, "padding": (3, 1)}),
    "depthwise, dilated": (4, 4, (3, 3), {"groups": 4, "padding": (2, 0), "dilation": (2, 1)}),
    "depthwise, strided": (4, 4, (5, 3), {"groups": 4, "padding": 2, "stride": (2, 1)}),
    "depthwise, two outputs": (4, 8, (3, 3), {"groups": 4, "padding": 1}),
    "grouped": (4, 6, (3, 3), {"groups": 2, "padding": (1,)}),
    "one channel": (1, 1, (3, 3), {"padding": [1, 0]}),
    "same": (3, 4, (3, 3), {"padding": "same"}),
}


def given(kind: str) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
    n_channels, n_outputs, kernel, options = KINDS[kind]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n_channels, 7, 8, generator=generator, dtype=torch.float64)
    shape = (n_outputs, n_channels // options.get("groups", 1), *kernel)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x, weight, torch.randn(n_outputs, generator=generator, dtype=torch.float64), options


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("kind", KINDS)
def test_output_and_gradient_are_those_of_torch(kind: str, last: bool) -> None:
    x, weight, bias, options = given(kind)
    if last:
        x, weight = (part.to(memory_format=torch.channels_last) for part in (x, weight))
    x = x.requires_grad_()
    expected, found = torch.conv2d(x, weight, bias, **options), conv2d(x, weight, bias, **options)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    for gradients in (torch.randn_like(expected), torch.ones(1, dtype=x.dtype).expand_as(expected)):
        one, other = (torch.autograd.grad(y, x, gradients, retain_graph=True)[0] for y in (found, expected))
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_options_by_position() -> None:
    x, weight, bias, _ = given("depthwise")
    x = x.requires_grad_()
    found, expected = conv2d(x, weight, bias, 1, (2, 1), 1, 4), torch.conv2d(x, weight, bias, 1, (2, 1), 1, 4)
    (one,), (other,) = (torch.autograd.grad(y.square().sum(), x) for y in (found, expected))
    torch.testing.assert_close(one, other)


def test_nothing_is_kept() -> None:
    x, weight, _, options = given("depthwise")
    y = x.requires_grad_() * 1
    with counting_kept_bytes() as kept:
        conv2d(y, weight, None, **options)
        assert kept() == 0
        torch.conv2d(y, weight, None, **options)
        assert kept() == x.nbytes


def test_the_gradient_has_a_gradient() -> None:
    """Some networks differentiate inside their own forward."""
    x, weight, _, options = given("depthwise")

    def twice(function: Any) -> Tensor:
        point = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(function(point, weight, None, **options).pow(3).sum(), point, create_graph=True)
        return torch.autograd.grad(first.square().sum(), point)[0]

    torch.testing.assert_close(twice(conv2d), twice(torch.conv2d))


def test_without_a_gradient_it_is_torchs_own() -> None:
    x, weight, bias, _ = given("plain")
    assert conv2d(x, weight, bias).grad_fn is None
    with torch.no_grad():
        assert torch.equal(conv2d(x.requires_grad_(), weight, bias), torch.conv2d(x, weight, bias))
    torch.testing.assert_close(conv2d(x[0], weight, bias), torch.conv2d(x[0], weight, bias))
