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


def test_layers_that_nothing_passes_are_refused_by_name():
    net = nn.Sequential(nn.Linear(3, 2), nn.Softmax(1))
    with pytest.raises(ConfigurationError, match=r"Decision paths cannot follow '1' \(Softmax\).*IntegratedGradients"):
        contributions(net, torch.rand(2, 3), 0)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.steps, self.scores = kind(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.scores(self.steps(x)[0][:, -1])


class MergedSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(20, 2)

    def forward(self, x):
        return self.b(self.a(x.flatten(0, 1)).relu().reshape(len(x), -1))


@pytest.mark.parametrize("net", [Recurrent(nn.LSTM), Recurrent(nn.GRU), MergedSteps()], ids=["lstm", "gru", "merged"])
def test_layers_without_a_dimension_of_samples_are_refused_by_name(net):
    with pytest.raises(ConfigurationError, match=r"cannot follow '(steps|a)'.*of the 2 samples.*IntegratedGradients"):
        contributions(net, torch.rand(2, 5, 3), 0)


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
