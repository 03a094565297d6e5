"""Neurons that share their passes are attributed as each is alone, by captum."""

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.quadrature import gauss_legendre
from lightning_explain.errors import ExplanationError
from lightning_explain.feeding import shared_passes
from lightning_explain.feeding.shared_passes import shared_attributions
from lightning_explain.neurons.units import unit_layers
from tests.feeding.nets import mlp

PAIRS = {"1": [(0, 3), (0, 5), (0, 1), (2, 3), (1, 0)], "3": [(1, 6), (2, 2), (2, 6)]}
"""Classes have different numbers of neurons, some the same, some none."""


def wanted(net: nn.Module, pairs: dict[str, list[tuple[int, int]]]) -> dict[str, tuple[object, list[tuple[int, int]]]]:
    layers = {layer.name: layer for layer in unit_layers(net)}
    return {name: (layers[name.split("#")[0]], listed) for name, listed in pairs.items()}


@pytest.mark.parametrize("rows", [256, 5])
def test_each_neuron_is_attributed_to_the_samples_of_its_class(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_passes, "ROWS", rows)
    net, x, y = mlp()
    found = shared_attributions(net, net, (x,), y, wanted(net, PAIRS), n_points=3)
    assert found.keys() == PAIRS.keys()
    for name, pairs in PAIRS.items():
        reference = captum.attr.NeuronIntegratedGradients(net, net.get_submodule(name))
        for values, (c, neuron) in zip(found[name].values, pairs, strict=True):
            each = reference.attribute(x[y == c], neuron, n_steps=3, method="gausslegendre")
            torch.testing.assert_close(values, each.mean(0).float(), rtol=1e-4, atol=1e-6)
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_error_is_that_of_the_distance_between_even_and_odd_points() -> None:
    net, x, y = mlp()
    rule = gauss_legendre(2)
    found = shared_attributions(net, net, (x,), y, wanted(net, {"1": [(2, 3)]}), n_points=2)["1"]
    own = x[y == 2]
    single: list[Tensor] = []
    for node in rule.nodes.tolist():
        at = (node * own).requires_grad_()
        (gradient,) = torch.autograd.grad(net[:2](at)[:, 3].sum(), at)
        single.append((own * gradient).mean(0))
    torch.testing.assert_close(found.values[0], (single[0] + single[1]) / 2)
    expected = 0.45 * (single[0] - single[1]).abs().sum() / ((single[0] + single[1]) / 2).abs().sum()
    torch.testing.assert_close(found.errors[0], expected)
    alone = shared_attributions(net, net, (x,), y, wanted(net, {"1": [(2, 3)]}), n_points=1)["1"]
    assert bool(alone.errors.isnan().all())


@pytest.mark.parametrize("seed", range(3))
def test_the_stated_error_holds_against_many_points(seed: int) -> None:
    torch.manual_seed(seed)
    layers = [nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU()]
    net, x, y = nn.Sequential(*layers).eval(), torch.randn(24, 20), torch.arange(24) % 6
    pairs = {name: [(c, unit) for c in range(6) for unit in range(0, 30, 3)] for name in ("3", "5")}
    few, many = (shared_attributions(net, net, (x,), y, wanted(net, pairs), n_points=n) for n in (4, 64))
    size = torch.cat([many[name].values.abs().sum(1) for name in pairs])
    off = torch.cat([(few[name].values - many[name].values).abs().sum(1) for name in pairs])
    stated = torch.cat([few[name].errors * few[name].values.abs().sum(1) for name in pairs])
    fires = size > 0.02 * size.median()
    assert float((off <= stated)[fires].float().mean()) > 0.85
    assert float((stated / off)[fires].median()) < 4


class Two(nn.Module):
    """Takes two inputs, calls a layer twice, and has one that depends on neither."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.bias, self.never = nn.Linear(3, 4), nn.Tanh(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        self.bias(torch.ones(len(x), 4))
        return self.act(self.a(self.act(self.a(x))[:, :3] * z.flatten(1)))


def two() -> tuple[Two, tuple[Tensor, Tensor], Tensor]:
    torch.manual_seed(1)
    return Two(), (torch.randn(6, 3), torch.randn(6, 3, 1)), torch.tensor([0, 1, 0, 1, 0, 1])


def test_calls_are_told_apart_and_inputs_that_play_no_part_get_nothing() -> None:
    net, parts, y = two()
    found = shared_attributions(net, net, parts, y, wanted(net, {"act": [(0, 1)], "act#1": [(1, 2)]}), n_points=40)
    assert found["act"].values.shape == (1, 6) and torch.equal(found["act"].values[0, 3:], torch.zeros(3))
    first = torch.tanh(net.a(parts[0][y == 0]))[:, 1] - torch.tanh(net.a.bias[1])
    assert float(found["act"].values.sum()) == pytest.approx(float(first.mean().detach()), abs=1e-4)
    second = net(parts[0][y == 1], parts[1][y == 1])[:, 2] - torch.tanh(net.a.bias[2])
    assert float(found["act#1"].values.sum()) == pytest.approx(float(second.mean().detach()), abs=1e-4)


def test_what_never_runs_is_left_out_and_what_does_not_depend_on_the_input_is_named() -> None:
    net, parts, y = two()
    assert list(
        shared_attributions(net, net, parts, y, wanted(net, {"never": [(0, 1)], "act": [(0, 1)]}), n_points=1)
    ) == ["act"]
    with pytest.raises(ExplanationError, match="'bias' do not depend on the input"):
        shared_attributions(net, net, parts, y, wanted(net, {"bias": [(0, 1)]}), n_points=1)


def test_a_layer_beside_the_way_from_the_input_costs_the_others_nothing() -> None:
    net, parts, y = two()
    pairs = {"bias": [(0, 1)], "act": [(0, 1)]}
    found = shared_attributions(net, net, parts, y, wanted(net, pairs), n_points=2)
    alone = shared_attributions(net, net, parts, y, wanted(net, {"act": [(0, 1)]}), n_points=2)
    assert list(found) == ["act"] and torch.equal(found["act"].values, alone["act"].values)


class Pooled(nn.Module):
    """Averages the steps that a mask keeps, whose lengths must not be 0."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 4)

    def forward(self, x: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
        assert not mask.is_floating_point() and int(lengths.min()) > 0
        h = self.a(x).masked_fill(~mask[..., None], 0.0)
        return h.sum(1) / lengths[:, None]


def test_masks_and_lengths_go_in_as_they_are_and_get_nothing() -> None:
    torch.manual_seed(2)
    net, lengths, y = Pooled(), torch.tensor([2, 5, 3, 1, 4, 5]), torch.tensor([0, 1, 0, 1, 0, 1])
    mask = torch.arange(5) < lengths[:, None]
    x = torch.randn(6, 5, 3)
    (layer,) = unit_layers(net, "a")
    (found,) = shared_attributions(net, net, (x, mask, lengths), y, {"a": (layer, [(1, 2)])}, n_points=2).values()
    values = found.values[0]
    assert values.shape == (15 + 5 + 1,) and not values[15:].any()
    # a neuron's activation is its mean over all positions
    expected = (x[y == 1] * net.a.weight[2]).mean(0) / 5
    torch.testing.assert_close(values[:15], expected.detach().flatten())
