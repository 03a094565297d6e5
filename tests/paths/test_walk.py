"""Walking a pass back: relevance of every layer, and the layer that gives the score."""

import pytest
import torch
from torch import nn

from lightning_explain.attribution import Epsilon
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.isolation import explaining
from lightning_explain.paths import contributions
from lightning_explain.paths.model_pieces import run_in_pieces
from lightning_explain.paths.path_units import input_units
from lightning_explain.paths.walk import all_sources, walk_back
from tests.paths.nets import lenet, mlp, seeded


def test_a_score_made_of_several_units_is_a_unit_of_its_own():
    class Margin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            scores = self.out(self.fc(x).relu())
            return scores[:, 0] - scores[:, 1]

    seeded()
    graph = contributions(Margin().double(), torch.rand(1, 3).double())[0]
    assert [layer.name for layer in graph.layers] == ["input", "fc", "out", "output"]
    assert graph.layers[2].contribution.sum() == pytest.approx(graph.output)


def test_nan_is_an_error():
    net, x, target = lenet()
    net.fc1.weight.data[0, 0] = torch.nan
    with pytest.raises(ExplanationError, match="NaN"):
        contributions(net, x, target)


def test_too_many_positions_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.Flatten(), nn.Linear(16 * 28 * 28, 2))
    with pytest.raises(ConfigurationError, match=r"'0' has 12,544 units with positions kept"):
        contributions(net, torch.rand(1, 1, 28, 28), 0, keep_positions=True)


def walked(net, x, target, keep_positions=False):
    with explaining(net):
        trace = run_in_pieces(net, (x,), target, Epsilon(0.0), names_from=net)
        sources = all_sources(trace, input_units((x,)), keep_positions)
        return walk_back(trace, sources, keep_positions)


def test_without_epsilon_relevance_is_activation_times_gradient():
    seeded()
    net, x = mlp(3, 5, 4, 2), torch.randn(6, 3, dtype=torch.double)
    target = torch.arange(6) % 2
    found = walked(net, x, target)
    assert [source.name for source in found.sources] == ["input", "0", "2", "4"]
    kept = [x.clone().requires_grad_()]
    for layer in net:
        kept.append(layer(kept[-1]))
    score = kept[-1].gather(1, target[:, None]).sum()
    leaves = [kept[0], kept[1], kept[3], kept[5]]
    for leaf, gradient, relevance in zip(leaves, torch.autograd.grad(score, leaves), found.relevance, strict=True):
        torch.testing.assert_close(relevance, (leaf * gradient).detach())
    assert found.score_layer == 3 and found.n_inputs == 1 and [step.place for step in found.steps] == [1, 2, 3]


def test_with_positions_kept_each_pixel_of_a_channel_is_a_unit():
    seeded()
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)).double()
    x = torch.rand(1, 1, 4, 4, dtype=torch.double)
    assert [source.n_units for source in walked(net, x, torch.tensor([0])).sources] == [16, 2, 2]
    assert [source.n_units for source in walked(net, x, torch.tensor([0]), True).sources] == [16, 8, 2]
