"""Functional activations: which layers feed them, which cannot be counted, and what is said of that."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.neurons.counting.functional_layers import (
    mentioned_functions,
    refined,
    tell_not_followed,
    tell_unseen,
)
from lightning_explain.capture import select_layers
from lightning_explain.neurons.functional import FUNCTIONS, FunctionalUse
from lightning_explain.neurons.tracing import AxisTracer
from tests.training import explanation_warnings


class Fed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.first(x)))


class Summed(Fed):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.first(x) + self.second(x)))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def followed(net: nn.Module, chosen: str | None = None) -> tuple[dict[str, Any], FunctionalUse]:
    tracer, x = AxisTracer(net, FUNCTIONS), torch.rand(3, 4)
    with tracer.following(((x,), {})):
        net(x)
    layers, use = refined(net, select_layers(net, chosen), tracer.trace, default=chosen is None, unit_dims={})
    return {layer.name: layer for layer in layers}, use


def test_a_class_mentions_a_function_whatever_its_form() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu_()

    net = nn.ModuleDict({"b": Summed(), "a": Fed(), "c": InPlace(), "d": Plain()})
    assert mentioned_functions(net) == ["Fed", "InPlace", "Summed"]
    assert mentioned_functions(Plain()) == []


def test_the_layer_before_a_function_is_counted_after_it() -> None:
    layers, use = followed(Fed())
    assert list(use.fed) == ["first"] and not use.unseen
    then = layers["first"].use("first").then
    assert then is not None
    assert then(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_a_choice_of_the_user_gets_no_more_layers() -> None:
    class Activated(Fed):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.act(x))

    assert set(followed(Activated())[0]) == {"act", "first"}
    assert set(followed(Activated(), "act")[0]) == {"act"}


@pytest.mark.parametrize(
    ("net", "named"), [(Summed, ["tanh"]), (Fed, []), (Plain, [])], ids=["of a sum", "of a layer", "none"]
)
def test_functions_of_a_sum_are_named_once_with_the_cure(net: Callable[[], nn.Module], named: list[str]) -> None:
    _, use = followed(net())
    guard = Guard("Monitor", "raise")
    with explanation_warnings() as told:
        tell_unseen(use, guard)
        tell_unseen(use, guard)
    assert len(told) == len(named)
    assert all(name in message and "nn.ReLU()" in message for name, message in zip(named, told, strict=True))


def test_where_nothing_can_be_followed_only_who_mentions_functions_is_warned_of() -> None:
    guard, error = Guard("Monitor", "raise"), ValueError("of a kind")
    with explanation_warnings() as told:
        tell_not_followed(Fed(), select_layers(Fed(), ["head"]), error, guard)
    (message,) = told
    assert "Fed may apply functional activations" in message and "ValueError: of a kind" in message
    assert "Watched are: head." in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_not_followed(Plain(), select_layers(Plain(), None), error, guard)
