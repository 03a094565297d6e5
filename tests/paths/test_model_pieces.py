"""Running a model in pieces: the calls of layers, and what cannot be passed."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.paths import contributions
from tests.paths.nets import lenet


def test_a_batch_norm_belongs_to_the_layer_before_it():
    net, x, target = lenet()
    assert contributions(net, x, target).layers == ("conv1", "conv2", "fc1")


def test_a_layer_used_twice_is_two_layers():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x):
            return self.out(self.fc(self.fc(x).relu()).relu())

    assert contributions(Twice(), torch.rand(1, 3)).layers == ("fc", "fc#1")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), r"no rule for '1' \(Softmax\)"),
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), r"no rule for '1' \(LayerNorm\)"),
    ],
)
def test_layers_that_nothing_passes_are_refused_by_name(net, message):
    with pytest.raises(ConfigurationError, match=message):
        contributions(net, torch.rand(2, 3), 0)


def test_functions_that_nothing_passes_are_refused_by_name():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.b(torch.softmax(self.a(x), 1))

    with pytest.raises(ConfigurationError, match=r"the model itself \(Net\): torch.softmax"):
        contributions(Net(), torch.rand(2, 3), 0)


def test_rules_that_cannot_be_shared_out_are_refused():
    from lightning_explain.attribution import AlphaBetaRule, EpsilonPlusFlat

    net, x, target = lenet()
    with pytest.raises(ConfigurationError, match="FlatRule to conv1.*ZeroRule, EpsilonRule, GammaRule, ZPlusRule"):
        contributions(net, x, target, rules=EpsilonPlusFlat())
    with pytest.raises(ConfigurationError, match="AlphaBetaRule"):
        contributions(net, x, target, rules={nn.Linear: AlphaBetaRule(), nn.Conv2d: AlphaBetaRule()})


def test_hypernetworks_are_refused():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.w = nn.Linear(3, 3), nn.Linear(3, 6)

        def forward(self, x):
            return functional.linear(self.a(x), self.w(x.mean(0)).reshape(2, 3))

    with pytest.raises(ConfigurationError, match="weights are computed from the input"):
        contributions(Net(), torch.rand(2, 3), 0)


def test_a_detached_output_is_an_error():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x):
            return self.a(x).detach()

    with pytest.raises(ExplanationError, match="no path to follow"):
        contributions(Net(), torch.rand(2, 3), 0)
