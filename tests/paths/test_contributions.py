"""Contributions of units: against LRP, and by their sums."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_explain.attribution import LRP, ByLayer, Epsilon, EpsilonRule, GammaRule, ZeroRule, ZPlusRule
from lightning_explain.errors import ConfigurationError
from lightning_explain.paths import contributions
from tests.paths.nets import Residual, assert_conserved, lenet, mlp, seeded


@pytest.mark.parametrize("positions", [False, True])
def test_contributions_add_up_to_the_output(positions):
    net, x, target = lenet()
    found = contributions(net, x, target, keep_positions=positions)
    scores = net.eval()(x).gather(1, target[:, None]).flatten().detach()
    assert found.score.tolist() == pytest.approx(scores.tolist())
    for sample in range(len(x)):
        assert found[sample].output == pytest.approx(float(scores[sample]))
        # epsilon takes its share of units near zero
        assert_conserved(found[sample], 1e-5)


def test_without_biases_every_layer_holds_the_whole_output():
    seeded()
    net = mlp(4, 7, 5, 2)
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.bias.data.zero_()
    graph = contributions(net, torch.randn(1, 4, dtype=torch.double), 1, rules={nn.Linear: ZeroRule()})[0]
    for layer in graph.layers:
        assert layer.contribution.sum() == pytest.approx(graph.output)
        assert layer.share.sum() == pytest.approx(1)
    assert graph.absorbed_share == pytest.approx(0, abs=1e-9)


RULES = [ZeroRule(), EpsilonRule(1e-3), GammaRule(0.3), ZPlusRule()]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("signed", [False, True])
def test_units_equal_lrp_and_messages_add_up_to_them(rule, signed):
    net, x, target = lenet()
    x = x - 0.5 if signed else x
    rules = ByLayer({nn.Linear: rule, nn.Conv2d: rule, nn.BatchNorm2d: rule})
    found = contributions(net, x, target, rules=rules, patch=4)
    lrp = LRP(rules)
    of_layers = lrp.layer_relevance(net, x, target, layers=["conv1", "conv2", "fc1"])
    of_inputs = lrp(net, x, target).values
    for sample in range(len(x)):
        graph = found[sample]
        of = {layer.name: layer.contribution for layer in graph.layers}
        np.testing.assert_allclose(of["conv1"], of_layers["conv1"][sample].sum((1, 2)).detach(), atol=1e-9)
        np.testing.assert_allclose(of["conv2"], of_layers["conv2"][sample].sum((1, 2)).detach(), atol=1e-9)
        np.testing.assert_allclose(of["fc1"], of_layers["fc1"][sample].detach(), atol=1e-9)
        patches = functional.avg_pool2d(of_inputs[sample], 4).flatten() * 16
        np.testing.assert_allclose(of["input"], patches.detach(), atol=1e-9)
        for link in graph.links:  # what a unit sends up is what it has
            np.testing.assert_allclose(link.contribution.sum(0), graph.layers[link.source].contribution, atol=1e-9)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv1d(2, 3, 3), nn.LeakyReLU(), nn.Conv1d(3, 4, 3, dilation=2), nn.Flatten(),
                      nn.Linear(8, 2)),
        nn.Sequential(nn.ConvTranspose2d(1, 2, 3), nn.GELU(), nn.Conv2d(2, 3, 2, stride=2), nn.Flatten(),
                      nn.Linear(27, 2)),
        nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 3, padding="same"), nn.Tanh(), nn.AdaptiveAvgPool2d(1),
                      nn.Flatten(), nn.Linear(3, 2)),
        nn.Sequential(nn.Conv2d(1, 4, 2, padding="same", groups=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(),
                      nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Flatten(2), nn.Linear(16, 5), nn.ReLU(), nn.Flatten(), nn.Linear(5, 2)),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 2)),
        nn.Sequential(nn.LayerNorm(4), nn.Flatten(), nn.Linear(16, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2)),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.RMSNorm(16),
                      nn.Linear(16, 2)),
    ],
    ids=["conv1d", "transposed", "norm-first", "depthwise", "tokens", "linear", "layer-norm", "group-and-rms-norm"],
)  # fmt: skip
def test_other_layers_conserve_too(net):
    seeded()
    shape = (3, 2, 8) if isinstance(net[0], nn.Conv1d) else (3, 1, 4, 4)
    x = torch.rand(*shape, dtype=torch.double) + 0.1
    net = net.double().eval()
    found = contributions(net, x, torch.tensor([0, 1, 1]))
    for sample in range(3):
        assert_conserved(found[sample], 1e-4)
        for link in found[sample].links:
            source = found[sample].layers[link.source].contribution
            np.testing.assert_allclose(link.contribution.sum(0), source, atol=1e-9)
        total = LRP(Epsilon())(net, x, torch.tensor([0, 1, 1])).values[sample].detach().sum()
        assert found[sample].layers[0].contribution.sum() == pytest.approx(float(total), abs=1e-9)


def test_residual_sums_conserve_over_both_branches():
    seeded()
    net = Residual().double()
    x = torch.randn(3, 4, dtype=torch.double)
    found = contributions(net, x, 1, rules={nn.Linear: ZeroRule()})
    for sample in range(3):
        graph = found[sample]
        place = {layer.name: index for index, layer in enumerate(graph.layers)}
        ends = {(graph.layers[link.source].name, graph.layers[link.target].name): link for link in graph.links}
        assert set(ends) == {
            ("input", "stem"), ("stem", "inner"), ("inner", "outer"), ("stem", "output"), ("outer", "output"),
        }  # fmt: skip
        # the cut below the head: straight from the stem, and through the branch
        straight = ends["stem", "output"].contribution.sum()
        branch = graph.layers[place["outer"]].contribution.sum()
        head_bias = graph.layers[-1].absorbed.sum()
        assert straight + branch + head_bias == pytest.approx(graph.output)
        both = ends["stem", "output"].contribution.sum(0) + ends["stem", "inner"].contribution.sum(0)
        np.testing.assert_allclose(both, graph.layers[place["stem"]].contribution, atol=1e-12)
        total = LRP({nn.Linear: ZeroRule()})(net, x, 1).values[sample].detach()
        np.testing.assert_allclose(graph.layers[0].contribution, total, atol=1e-12)


def test_without_its_branch_a_residual_sum_is_one_link():
    seeded()
    net, x = Residual().double(), torch.randn(3, 4, dtype=torch.double)
    whole, less = contributions(net, x, 1), contributions(net, x, 1, layers="stem")
    for sample in range(3):
        _, link = less[sample].links
        stem = whole[sample].layers[1]
        np.testing.assert_allclose(link.contribution[0], stem.contribution, atol=1e-9)
        np.testing.assert_allclose(link.share[0], stem.share, atol=1e-12)
        assert_conserved(less[sample], 1e-5)


def test_several_inputs_and_a_single_output():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.out = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(8, 1)

        def forward(self, a, b):
            return self.out(torch.cat([self.left(a).relu(), self.right(b).relu()], 1))[:, 0]

    seeded()
    graph = contributions(Two().double(), (torch.rand(2, 3).double(), torch.rand(2, 2).double()))[0]
    assert [layer.name for layer in graph.layers] == ["input 0", "input 1", "left", "right", "output"]
    assert [len(layer) for layer in graph.layers] == [3, 2, 4, 4, 1]
    hidden = graph.layers[2].contribution.sum() + graph.layers[3].contribution.sum()
    assert hidden + graph.layers[4].absorbed.sum() == pytest.approx(graph.output)


def test_layers_can_be_chosen():
    net, x, target = lenet()
    graph = contributions(net, x, target, layers=["fc*", "conv1"])[0]
    assert [layer.name for layer in graph.layers] == ["input", "conv1", "fc1", "output"]
    with pytest.raises(ConfigurationError, match=r"layers='head' matches no layer.*conv1, conv2, fc1"):
        contributions(net, x, target, layers="head")


def test_of_a_deep_network_six_layers_are_kept():
    deep = mlp(*[3] * 12)
    assert contributions(deep, torch.rand(1, 3, dtype=torch.double), 0).layers == ("0", "4", "8", "10", "14", "18")


def test_the_model_is_left_as_found():
    net, x, target = lenet()
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = [dict(module.__dict__) for module in net.modules()]
    state = torch.get_rng_state()
    found = contributions(net, x, target)
    found[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(module.training for module in net.modules())
    assert attributes == [dict(module.__dict__) for module in net.modules()]
    with torch.inference_mode():
        again = contributions(net, x.clone(), target.clone())
    np.testing.assert_array_equal(again[0].layers[0].contribution, found[0].layers[0].contribution)
    with pytest.raises(IndexError):
        found[5]


class Routed(nn.Module):
    """Sends each sample to one of its experts, of which some get none."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)) for _ in range(3))

    def forward(self, x):
        expert, out = (x[:, 0] > 0).long(), x.new_zeros(len(x), 3)
        for k, each in enumerate(self.experts):
            out[expert == k] = each(x[expert == k])
        return out


def test_an_expert_without_samples_carries_nothing():
    seeded()
    net, x = Routed(), torch.randn(6, 4)
    x[:, 0] = x[:, 0].abs()
    found = contributions(net, x, torch.tensor([0, 1, 2, 0, 1, 2]))
    alone = contributions(net.experts[1], x, torch.tensor([0, 1, 2, 0, 1, 2]))
    for sample in range(6):
        assert found[sample].output == pytest.approx(alone[sample].output, rel=1e-5)
        routed, single = ({each.name: each.contribution for each in graph[sample].layers} for graph in (found, alone))
        for name, contribution in single.items():
            other = routed.get(name, routed.get(f"experts.1.{name}"))
            assert np.abs(other).sum() == pytest.approx(np.abs(contribution).sum(), rel=1e-4)
