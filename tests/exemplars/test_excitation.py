"""What excites a unit at a position is what autograd says of that unit and position, sample by sample."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.attribution import Attribution, IntegratedGradients
from lightning_explain.attribution.embedding import AtEmbedding
from lightning_explain.attribution.gradients import InputXGradient
from lightning_explain.attribution.traits import as_method
from lightning_explain.exemplars.excitation import heat_method, heatmaps, values_at
from lightning_explain.exemplars.unit_outputs import UnitOutputs
from tests.exemplars.followed_layers import followed_layers


def scores_of(net: nn.Module, name: str, n_positions: int, *inputs: Tensor) -> UnitOutputs:
    (layer,) = followed_layers(net, *inputs, names=[name])
    return UnitOutputs(net, net, layer, name, n_positions)


def test_each_sample_has_a_unit_and_a_position_of_its_own() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh()).eval(), torch.randn(4, 2, 5, 6)
    units, places = torch.tensor([2, 0, 1, 2]), torch.tensor([0, 11, 7, 4])
    (found,) = heatmaps(scores_of(net, "1", 12, x), [x], units, places, method=heat_method(None, [x]))
    given = x.clone().requires_grad_()
    values = net(given).flatten(2)
    (gradient,) = torch.autograd.grad(values[range(4), units, places].sum(), given)
    torch.testing.assert_close(found, (x * gradient).detach())
    assert not found.requires_grad and x.grad is None
    assert torch.equal(values_at(values, units, places), values[range(4), units, places])


def test_a_complete_method_adds_up_to_the_value_with_its_sign() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh()).eval(), torch.randn(5, 3)
    units, places = torch.tensor([0, 1, 2, 3, 0]), torch.zeros(5, dtype=torch.long)
    (found,) = heatmaps(scores_of(net, "1", 1, x), [x], units, places, method=IntegratedGradients(n_steps=64))
    value = net(x)[range(5), units].detach()
    assert float(value.min()) < 0 < float(value.max())
    torch.testing.assert_close(found.sum(1), value, rtol=1e-3, atol=1e-4)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Bilinear(3, 2, 4), nn.ReLU()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out(self.mix(a, b))


def test_every_input_of_several_gets_a_heatmap() -> None:
    torch.manual_seed(0)
    net, a, b = Two().eval(), torch.randn(6, 3), torch.randn(6, 2)
    outputs = scores_of(net, "out", 1, a, b)
    units = torch.arange(6) % 4
    found = heatmaps(outputs, [a, b], units, torch.zeros(6, dtype=torch.long), method=InputXGradient())
    assert [part.shape for part in found] == [a.shape, b.shape]
    # without its bias a bilinear form is linear in each input
    value = (net(a, b)[range(6), units] - net.mix.bias[units] * (net(a, b)[range(6), units] > 0)).detach()
    torch.testing.assert_close(found[0].sum(1), value)
    torch.testing.assert_close(found[1].sum(1), value)


def occlusion(model: nn.Module, inputs: Any, target: Tensor | None = None) -> Attribution:
    raise NotImplementedError


@pytest.mark.parametrize("method", [None, IntegratedGradients()])
def test_token_ids_are_attributed_at_their_embedding(method: Any) -> None:
    ids = torch.randint(0, 9, (2, 4))
    assert isinstance(heat_method(method, [ids]), AtEmbedding)
    assert not isinstance(heat_method(method, [ids, torch.randn(2, 4)]), AtEmbedding)
    takes_ids = as_method(occlusion, accepts_integers=True)
    assert heat_method(takes_ids, [ids]) is takes_ids
