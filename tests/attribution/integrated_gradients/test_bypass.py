"""Whether everything flows through a layer: networks where it plainly does, and where it plainly does not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.bypass import carries_everything
from lightning_explain.attribution.integrated_gradients.path import StraightPath

Flow = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Two layers, put together by a function."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.second, self.pair = nn.Linear(3, 3), nn.Linear(3, 3), Pair()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        return self.flow(self, x)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def found(flow: Flow, name: str, n_samples: int = 4) -> bool:
    net = Net(flow)
    inputs = torch.randn(n_samples, 3, generator=torch.Generator().manual_seed(1))
    path = StraightPath(net, (inputs,), (torch.zeros(1, 3),), torch.zeros(n_samples, dtype=torch.int64))
    answer = carries_everything(path, net, name)
    assert not any(module._forward_hooks for module in net.modules())
    return answer


@pytest.mark.parametrize(
    ("flow", "name", "expected"),
    [
        (lambda net, x: net.second(net.first(x).relu()), "first", True),
        (lambda net, x: net.second(net.first(x).relu()), "second", True),
        (lambda net, x: net.second(net.first(x) + x), "first", False),
        (lambda net, x: net.second(net.first(x) + x), "second", True),
        (lambda net, x: net.first(x) + net.second(x), "first", False),
        # a small part that goes past it is a part
        (lambda net, x: net.first(x) + 0.01 * x, "first", False),
        # what goes past as a constant moves nothing
        (lambda net, x: net.first(x) + x.detach() * 0 + 3.0, "first", True),
    ],
)
def test_a_layer_carries_everything_unless_something_goes_past_it(flow: Flow, name: str, expected: bool) -> None:
    assert found(flow, name) is expected


def test_calls_of_one_layer_are_told_apart() -> None:
    def twice(net: Net, x: Tensor) -> Tensor:
        return net.first(net.first(x).relu()) + x[:, :1] * 0

    def past_the_second(net: Net, x: Tensor) -> Tensor:
        middle = net.first(x)
        return middle + net.first(middle)

    assert found(twice, "first") and found(twice, "first#1")
    assert found(past_the_second, "first") and not found(past_the_second, "first#1")


@pytest.mark.parametrize("name", ["first#2", "pair", "second"])
def test_what_cannot_be_tried_is_not_taken_for_granted(name: str) -> None:
    def through_a_pair(net: Net, x: Tensor) -> Tensor:
        return net.first(net.pair(x)[0])  # no third call, a pair of outputs, a layer that is not called

    assert found(through_a_pair, "first") and not found(through_a_pair, name)


def test_a_model_that_fails_is_no_error_and_leaves_no_hook() -> None:
    def failing(net: Net, x: Tensor) -> Any:
        raise RuntimeError(f"no {len(net.first(x))} samples")

    assert not found(failing, "first")


def test_only_two_samples_are_tried() -> None:
    sizes: list[int] = []

    def counted(net: Net, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return net.first(x)

    assert found(counted, "first", n_samples=50) and sizes == [2, 2]
