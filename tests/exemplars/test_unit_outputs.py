"""Units of a layer as scores of the input: unit by unit, positions within."""

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.errors import ExplanationError
from lightning_explain.exemplars.unit_outputs import UnitOutputs, layer_outputs
from tests.exemplars.followed_layers import followed_layers


def test_outputs_are_by_unit_and_position() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2), nn.Tanh())
    x = torch.randn(2, 1, 4, 5)
    found = layer_outputs(net, [x], followed_layers(net, x))
    assert {key: each.shape for key, each in found.items()} == {"1": (3, 4), "4": ()}
    assert torch.equal(found["1"].values, net[:2](x).flatten(2))
    assert torch.equal(found["4"].values, net(x)[:, :, None])
    assert not found["1"].values.requires_grad
    assert layer_outputs(net, [x], followed_layers(net, x), differentiable=True)["1"].values.requires_grad


class Overwriting(nn.Module):
    """A layer that is called twice, and whose output is written over."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.linear(x)).mul_(0)


def test_each_call_has_outputs_and_what_follows_does_not_change_them() -> None:
    net, x = Overwriting(), torch.randn(4, 3)
    with torch.no_grad():
        found = layer_outputs(net, [x], followed_layers(net, x, names=["linear"]))
        first = net.linear(x)
        assert list(found) == ["linear", "linear#1"]
        assert torch.equal(found["linear"].values[:, :, 0], first)
        assert torch.equal(found["linear#1"].values[:, :, 0], net.linear(first))


def test_scores_are_flat_and_filled_with_zeros_behind_the_last_position() -> None:
    net, x = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Tanh()), torch.randn(3, 1, 6)
    (layer,) = followed_layers(net, x)
    values = net(x)
    assert torch.equal(UnitOutputs(net, net, layer, "1", 4)(x), values.flatten(1))
    wider = UnitOutputs(net, net, layer, "1", 6)(x).unflatten(1, (2, 6))
    assert torch.equal(wider[:, :, :4], values) and not wider[:, :, 4:].any()


def test_a_layer_that_does_not_run_is_reported() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    (layer,) = followed_layers(net, torch.zeros(1, 2))
    with pytest.raises(ExplanationError, match="'1' does not run"):
        UnitOutputs(net, net[0], layer, "1", 1)(torch.randn(2, 2))
