"""Layers that are called with other weights: by whoever calls them, and only for as long."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lightning_explain.attribution.integrated_gradients.fast_layers import FastForward, FastLayers, layer_arguments

X = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def doubled(conv: nn.Module, *callers: nn.Module) -> FastLayers:
    """Run a convolution with twice its weights."""
    weight = conv.weight
    assert isinstance(weight, Tensor)
    return FastLayers({id(weight): (weight, 2 * weight.detach(), None)}, callers={conv, *callers})


def test_the_other_weights_are_used_only_meanwhile() -> None:
    conv = nn.Conv2d(3, 2, 3, bias=False)
    expected = conv(X)
    with doubled(conv).running():
        assert isinstance(vars(conv)["forward"], FastForward)
        torch.testing.assert_close(conv(X), 2 * expected)
        torch.testing.assert_close(functional.conv2d(X, conv.weight), expected)  # by nobody who was named
    assert "forward" not in vars(conv)
    assert torch.equal(conv(X), expected)


def test_a_module_that_calls_a_layer_of_another() -> None:
    class Borrowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return functional.conv2d(weight=self.conv.weight, input=x, padding=1)

    net = Borrowing()
    expected = net(X)
    with doubled(net.conv, net).running():
        torch.testing.assert_close(net(X), 2 * expected)


def test_in_the_backward_pass_too() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Sigmoid())
    x = X.clone().requires_grad_()
    with doubled(net[0]).running():
        (expected,) = torch.autograd.grad(net(x).sum(), x)
        (found,) = torch.autograd.grad(checkpoint(net, x, use_reentrant=False).sum(), x)
    torch.testing.assert_close(found, expected)


def test_a_forward_that_was_patched_comes_back() -> None:
    conv = nn.Conv2d(3, 2, 3, bias=False)
    own, expected = conv.forward, conv(X)

    def patched(x: Tensor) -> Tensor:
        return own(x) + 1

    vars(conv)["forward"] = patched

    def fail() -> None:
        with doubled(conv).running():
            torch.testing.assert_close(conv(X), 2 * expected + 1)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert vars(conv)["forward"] is patched


@pytest.mark.parametrize("named", [0, 1, 2, 3])
def test_arguments_of_a_layer(named: int) -> None:
    """However they are given."""
    values: dict[str, Any] = {"input": X, "weight": X + 1, "bias": None}
    positional = tuple(values.values())[: 3 - named]
    keywords = dict(list(values.items())[3 - named :])
    x, weight, bias, others, rest = layer_arguments((*positional, *((2,) if named == 0 else ())), keywords)
    assert x is X
    assert weight is values["weight"]
    assert bias is None
    assert others == ((2,) if named == 0 else ())
    assert rest == {}
