"""Weights of layers that read the input: as they are, however they are computed."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from lightning_explain import InputXGradient
from lightning_explain.feeding import feeding_features, input_weights
from lightning_explain.neurons import unit_layers
from tests.feeding.nets import counted


def test_flattening_is_reading_and_normalising_is_not() -> None:
    x = torch.rand(1, 2, 2)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    assert list(input_weights(flat, lambda: flat(x), x, unit_layers(flat))) == ["2"]
    normed = nn.Sequential(nn.LayerNorm(2), nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
    assert input_weights(normed, lambda: normed(x), x, unit_layers(normed)) == {}
    between = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()).eval()
    row = torch.rand(1, 4)
    assert input_weights(between, lambda: between(row), row, unit_layers(between)) == {}


class _Adapted(nn.Linear):
    """A linear layer with a low-rank adapter, as fine-tuning libraries write it: a subclass with its own forward."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch names it
        return super().forward(input) + self.up(self.down(input))


class _AdaptedInPlace(nn.Module):
    """The same around a layer, added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(4, 4)
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.base(x)
        out += self.up(self.down(x))
        return out


class _Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2.0)


def _read(net: nn.Module, x: Tensor, layers: Any = None) -> dict[str, Tensor]:
    net.eval()
    return input_weights(net, lambda: net(x), x, unit_layers(net, layers))


@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "orthogonal", "pruned", "old weight_norm"])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_weight_that_is_computed_is_taken_as_it_is(how: str, kind: str) -> None:
    torch.manual_seed(0)
    first: nn.Module = nn.Linear(6, 5) if kind == "linear" else nn.Conv1d(2, 5, 3)
    if how == "pruned":
        prune.l1_unstructured(first, "weight", amount=0.3)
    elif how == "old weight_norm":
        with pytest.warns(FutureWarning):
            torch.nn.utils.weight_norm(first)
    else:
        getattr(torch.nn.utils.parametrizations, how)(first)
    net, x = nn.Sequential(first, nn.ReLU()), torch.rand(1, 6) if kind == "linear" else torch.rand(1, 2, 6)
    found = _read(net, x)["1"]
    # the columns of the weight are what the layer gives for unit inputs, its bias taken away
    unit = torch.eye(6) if kind == "linear" else torch.eye(6).reshape(6, 2, 3)
    columns = (first(unit) - first(torch.zeros_like(unit))).reshape(6, 5)
    torch.testing.assert_close(found.flatten(1), columns.T.detach())


@pytest.mark.parametrize("inplace", [False, True])
def test_an_activation_that_overwrites_what_it_reads_does_not_feed_the_layer_after_it(inplace: bool) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=inplace), nn.Linear(6, 6), nn.ReLU(inplace=inplace))
    assert list(_read(net, torch.rand(1, 4), ["0", "1", "2", "3"])) == ["0", "1"]
    with_dropout = nn.Sequential(nn.Linear(4, 6), nn.Dropout(inplace=inplace), nn.ReLU(inplace=inplace))
    assert torch.equal(_read(with_dropout, torch.rand(1, 4))["2"], with_dropout[0].weight.detach())


def test_an_input_that_is_overwritten_before_a_layer_reads_it_is_not_read() -> None:
    net = nn.Sequential(_Scaled(), nn.Linear(4, 3), nn.ReLU())
    assert _read(net, torch.rand(1, 4)) == {}


def test_linear_layers_in_a_row_have_the_product_of_their_weights() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 4), nn.Linear(4, 3), nn.ReLU())
    found = _read(net, torch.rand(1, 5), ["1", "3"])
    columns = net[2](net[1](net[0](torch.eye(5)))) - net[2](net[1](net[0](torch.zeros(1, 5))))
    torch.testing.assert_close(found["3"], columns.T.detach())
    torch.testing.assert_close(found["1"], (net[1].weight @ net[0].weight).detach())
    # a kernel of a kernel is no weight of the input
    convs = nn.Sequential(nn.Conv1d(1, 2, 2), nn.Conv1d(2, 2, 2), nn.ReLU())
    assert _read(convs, torch.rand(1, 1, 6)) == {}


@pytest.mark.parametrize("adapted", [_Adapted, _AdaptedInPlace])
def test_an_adapter_beside_a_layer_is_part_of_what_feeds_its_neurons(adapted: Any) -> None:
    torch.manual_seed(0)
    net, x, y = nn.Sequential(adapted(), nn.ReLU()).eval(), torch.rand(12, 4), torch.arange(12) % 2
    profile = counted(net, "1", x, y, 0.1)
    found = feeding_features(net, x, y, {"1": profile}, unit_layers(net), method=InputXGradient(), n_top=4)["1"]
    base = net[0] if adapted is _Adapted else net[0].base
    whole = (base.weight + net[0].up.weight @ net[0].down.weight).detach()
    assert len(found.neurons) > 0
    for place, (c, neuron) in enumerate(zip(found.classes.tolist(), found.neurons.tolist(), strict=True)):
        on = (net(x)[:, neuron] > 0).float()[:, None].detach()
        expected = (x * whole[neuron] * on)[y == c].mean(0)
        torch.testing.assert_close(found.values[place], expected[found.features[place]])


def test_calls_of_a_shared_activation_are_told_apart() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.late, self.relu = nn.Linear(4, 4), nn.Linear(4, 3), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.hidden(self.relu(torch.tanh(x)))) + self.relu(self.late(x)).sum()

    net = Shared()
    found = _read(net, torch.rand(1, 4))
    assert list(found) == ["relu#2"] and torch.equal(found["relu#2"], net.late.weight.detach())
