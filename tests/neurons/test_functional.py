"""Functional activations: found with what feeds them, or named."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.isolation import isolated
from lightning_explain.neurons.functional import FunctionalUse, followed, functional_use
from lightning_explain.neurons.units import unit_layers, with_functional


class Mixed(nn.Module):
    """Functions and modules, a sum before a function, and a layer that nothing follows."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.c = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu_(self.norm(self.a(x)))
        h = self.tanh(self.b(h)) + h
        return self.c(functional.leaky_relu(h, 0.2))


def used(net: nn.Module, *inputs: Tensor) -> FunctionalUse:
    with isolated(net):
        return functional_use(net, followed(net, net, inputs))


def test_functions_are_found_with_what_feeds_them_or_named() -> None:
    net = Mixed()
    use = used(net, torch.randn(5, 4))
    assert list(use.fed) == ["norm"] and use.unseen == ["leaky_relu in the model's own forward"]
    given = torch.randn(3, 6)
    before = given.clone()
    assert torch.equal(use.fed["norm"][0](given), given.clamp_min(0)) and torch.equal(given, before)
    chosen = with_functional(net, unit_layers(net), use)
    assert [layer.name for layer in chosen] == ["norm", "tanh"]


def test_without_any_activation_module_what_feeds_functions_takes_the_place_of_the_guess() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.out = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(functional.gelu(self.norm(self.conv(x)), approximate="tanh").flatten(1))

    net = Plain()
    assert [layer.name for layer in unit_layers(net)] == ["conv", "norm"]
    use, x = used(net, torch.randn(2, 1, 4, 4)), torch.randn(4)
    (layer,) = with_functional(net, unit_layers(net), use)
    assert layer.name == "norm" and layer.fed
    assert torch.equal(use.fed["norm"][0](x), functional.gelu(x, approximate="tanh"))


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Gelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3)))


def test_a_home_made_activation_is_watched_and_a_function_inside_one_that_mixes_units_is_named() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x @ self.weight) @ self.weight

    net = nn.Sequential(nn.Linear(3, 4), Swish(), nn.Linear(4, 4), Gelu(), Mixing())
    with isolated(net):
        use = functional_use(net, followed(net, net, (torch.rand(2, 3),)))
    assert use.wrapped == ["1", "3"] and not use.fed and use.unseen == ["relu in '4'"]


def test_a_call_that_feeds_two_functions_is_counted_after_the_first_and_the_second_is_named() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            return self.b(torch.relu(h)) + torch.tanh(self.b(torch.sigmoid(h)))

    net = Both()
    with isolated(net):
        use = functional_use(net, followed(net, net, (torch.rand(2, 3),)))
    assert {name: {n: f.function.__name__ for n, f in calls.items()} for name, calls in use.fed.items()} == {
        "a": {0: "relu"}, "b": {1: "tanh"}
    }  # fmt: skip
    assert use.unseen == ["sigmoid in the model's own forward"]
