"""Contributions of units and edges: against loops, against LRP, and by their sums."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lightning_explain.attribution import LRP, ByLayer, Epsilon, EpsilonRule, GammaRule, ZeroRule, ZPlusRule
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.paths import contributions, mean_graph
from lightning_explain.paths.contribution_graph import without_layer
from tests.paths import brute


def seeded(seed: int = 0) -> None:
    torch.manual_seed(seed)


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


class LeNet(nn.Module):
    """Everything a small convnet has: BatchNorm, both poolings, in-place and functional ReLU, dropout, flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3, groups=2)
        self.fc1 = nn.Linear(6 * 3 * 3, 10)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(10, 3)
        self.norm.running_mean.uniform_(-0.2, 0.2)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.conv1(x))))
        x = functional.avg_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc2(self.drop(self.relu(self.fc1(x.flatten(1)))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer, self.head = (nn.Linear(a, b) for a, b in ((4, 5), (5, 6), (6, 5), (5, 2)))

    def forward(self, x):
        h = self.stem(x).relu()
        h = h + self.outer(self.inner(h).relu())
        return self.head(h.relu())


def lenet() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    seeded()
    return LeNet().double(), torch.rand(5, 1, 16, 16, dtype=torch.double), torch.tensor([0, 1, 2, 0, 1])


def assert_conserved(graph, tolerance=1e-9):
    """Units of a layer, and what biases above it absorbed, make up the output."""
    absorbed = 0.0
    for layer in reversed(graph.layers):
        assert layer.contribution.sum() + absorbed == pytest.approx(graph.output, abs=tolerance)
        absorbed += layer.absorbed.sum()


@pytest.mark.parametrize("seed", range(5))
def test_messages_of_an_mlp_equal_the_loops(seed):
    seeded(seed)
    net, x = mlp(4, 6, 5, 3), torch.randn(3, 4, dtype=torch.double)
    found = contributions(net, x, torch.tensor([0, 1, 2]), rules={nn.Linear: ZeroRule()})
    for sample in range(3):
        relevance, messages, biases = brute.mlp(x[sample].numpy(), brute.as_layers(net), sample)
        graph = found[sample]
        assert [layer.name for layer in graph.layers] == ["input", "0", "2", "output"]
        for layer, expected in zip(graph.layers[:-1], relevance, strict=False):
            np.testing.assert_allclose(layer.contribution, expected, atol=1e-12)
        for link, expected, bias in zip(graph.links, messages, biases, strict=True):
            rows = slice(sample, sample + 1) if link.target == 3 else slice(None)
            np.testing.assert_allclose(link.contribution, expected[rows], atol=1e-12)
            np.testing.assert_allclose(graph.layers[link.target].absorbed, bias[rows], atol=1e-12)


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


def test_messages_between_channels_equal_the_loops():
    seeded()
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * 25, 2),
    ).double()  # fmt: skip
    x = torch.rand(2, 2, 5, 5, dtype=torch.double)
    graph = contributions(net, x, 0, rules={nn.Linear: ZeroRule(), nn.Conv2d: ZeroRule()})[1]
    hidden = net[1](net[0](x[1:])).detach().requires_grad_()
    z = net[2](hidden)
    gradient = torch.autograd.grad(net[5](net[4](net[3](z)))[0, 0], z)[0]
    expected = brute.conv_messages(
        hidden[0].detach().numpy(), net[2].weight.detach().numpy(), gradient[0].numpy(), pad=1
    )
    (link,) = graph.into(2)
    np.testing.assert_allclose(link.contribution, expected, atol=1e-12)


@pytest.mark.parametrize("rule", [EpsilonRule(), GammaRule(0.3)], ids=repr)
def test_positions_merged_by_hand_give_the_channels(rule):
    net, x, target = lenet()
    rules = {nn.Linear: rule, nn.Conv2d: rule}
    merged, apart = (contributions(net, x, target, rules=rules, patch=8, keep_positions=k)[0] for k in (False, True))
    sizes = {"input": 4, "conv1": 4, "conv2": 6, "fc1": 10, "output": 1}
    for link, fine in zip(merged.links, apart.links, strict=True):
        n_target, n_source = (sizes[merged.layers[end].name] for end in (link.target, link.source))
        by_unit = fine.contribution.reshape(n_target, -1, n_source, fine.contribution.shape[1] // n_source)
        if merged.layers[link.source].name == "input":
            by_unit = fine.contribution.reshape(n_target, -1, n_source, 1)  # patches are units either way
        np.testing.assert_allclose(link.contribution, by_unit.sum((1, 3)), atol=1e-9)


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
    ],
    ids=["conv1d", "transposed", "norm-first", "depthwise", "tokens", "linear"],
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


def test_a_batch_norm_belongs_to_the_layer_before_it():
    net, x, target = lenet()
    assert contributions(net, x, target).layers == ("conv1", "conv2", "fc1")


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


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_layer_of_a_residual_branch_can_be_taken_out(gone):
    seeded()
    found = contributions(Residual().double(), torch.randn(3, 4, dtype=torch.double), 1)
    for sample in range(3):
        graph = found[sample]
        less = without_layer(graph, gone)
        kept = [layer for index, layer in enumerate(graph.layers) if index != gone]
        for place, (layer, before) in enumerate(zip(less.layers, kept, strict=True)):
            np.testing.assert_allclose(layer.share, before.share)
            if layer.name == "output":
                continue
            upwards = [link for link in less.links if link.source == place]
            np.testing.assert_allclose(sum(link.share.sum(0) for link in upwards), before.share, atol=1e-12)
            sent = sum(link.contribution.sum(0) for link in upwards)
            np.testing.assert_allclose(sent, before.contribution, atol=1e-9)
        ends = [(link.source, link.target) for link in less.links]
        assert len(set(ends)) == len(ends)


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


def test_a_layer_used_twice_is_two_layers():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x):
            return self.out(self.fc(self.fc(x).relu()).relu())

    assert contributions(Twice(), torch.rand(1, 3)).layers == ("fc", "fc#1")


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), place=st.integers(1, 3))
def test_taking_out_a_layer_changes_no_other(seed, place):
    seeded(seed)
    net = mlp(3, 5, 4, 6, 2)
    graph = contributions(net, torch.randn(1, 3, dtype=torch.double), 0)[0]
    less = without_layer(graph, place)
    kept = [layer for index, layer in enumerate(graph.layers) if index != place]
    assert [layer.name for layer in less.layers] == [layer.name for layer in kept]
    for layer, before in zip(less.layers, kept, strict=True):
        np.testing.assert_allclose(layer.contribution, before.contribution)
        np.testing.assert_allclose(layer.share, before.share)
    assert_conserved(less, 1e-6)
    for link in less.links:
        # flow into each unit's edges is what leaves it towards the inputs
        np.testing.assert_allclose(link.share.sum(0), less.layers[link.source].share, atol=1e-12)
        np.testing.assert_allclose(link.contribution.sum(), less.layers[link.source].contribution.sum(), atol=1e-9)


def test_layers_can_be_chosen():
    net, x, target = lenet()
    graph = contributions(net, x, target, layers=["fc*", "conv1"])[0]
    assert [layer.name for layer in graph.layers] == ["input", "conv1", "fc1", "output"]
    with pytest.raises(ConfigurationError, match=r"layers='head' matches no layer.*conv1, conv2, fc1"):
        contributions(net, x, target, layers="head")


def test_of_a_deep_network_six_layers_are_kept():
    deep = mlp(*[3] * 12)
    assert contributions(deep, torch.rand(1, 3, dtype=torch.double), 0).layers == ("0", "4", "8", "10", "14", "18")


def test_the_mean_of_graphs():
    net, x, target = lenet()
    found = contributions(net, x, target)
    graphs = [found[sample] for sample in range(3)]
    mean = mean_graph(graphs)
    assert mean.output == pytest.approx(np.mean([graph.output for graph in graphs]))
    for place, link in enumerate(mean.links):
        np.testing.assert_allclose(link.contribution, sum(g.links[place].contribution for g in graphs) / 3)
        np.testing.assert_allclose(link.share, sum(g.links[place].share for g in graphs) / 3)
    assert_conserved(mean, 1e-5)


class Mixing(nn.Module):
    def __init__(self, mix) -> None:
        super().__init__()
        self.conv, self.head, self.mix = nn.Conv2d(1, 4, 3), nn.LazyLinear(2), mix

    def forward(self, x):
        return self.head(self.mix(self.conv(x).relu()).flatten(1))


@pytest.mark.parametrize("mix", [lambda h: h.mean(1), lambda h: h[:, :2] + h[:, 2:], nn.PixelShuffle(2)])
def test_units_that_are_mixed_between_layers(mix):
    seeded()
    net = Mixing(mix)
    x = torch.rand(3, 1, 6, 6)
    net(x)
    net = net.double()
    found = contributions(net, x.double(), torch.tensor([0, 1, 1]))
    relevance = LRP(Epsilon()).layer_relevance(net, x.double(), torch.tensor([0, 1, 1]), layers="conv")["conv"]
    for sample in range(3):
        assert_conserved(found[sample], 1e-4)
        (link,) = found[sample].into(2)
        np.testing.assert_allclose(link.contribution.sum(0), relevance[sample].sum((1, 2)).detach(), atol=1e-9)


@pytest.mark.parametrize("rule", [GammaRule(0.3), ZPlusRule()], ids=repr)
def test_signed_units_that_are_mixed(rule):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(2, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.c(self.b(self.a(x).reshape(-1, 2, 2).mean(2)).relu())

    seeded()
    net, x = Net().double(), torch.randn(6, 3, dtype=torch.double)
    rules = {nn.Linear: rule}
    found = contributions(net, x, 1, rules=rules)
    relevance = LRP(rules).layer_relevance(net, x, 1, layers="a")["a"].detach()
    for sample in range(6):
        (link,) = found[sample].into(2)
        np.testing.assert_allclose(link.contribution.sum(0), relevance[sample], atol=1e-9)


def test_a_mean_over_channels_by_hand():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4, bias=False), nn.Linear(2, 2, bias=False)
            self.c = nn.Linear(2, 1, bias=False)

        def forward(self, x):
            return self.c(self.b(self.a(x).relu().reshape(-1, 2, 2).mean(2)))

    seeded()
    net, x = Net().double(), torch.randn(2, 3, dtype=torch.double)
    graph = contributions(net, x, rules={nn.Linear: ZeroRule()})[1]
    hidden = (net.a.weight @ x[1]).clamp_min(0)
    expected = net.c.weight[0, :, None] * net.b.weight.repeat_interleave(2, 1) * hidden / 2
    np.testing.assert_allclose(graph.into(2)[0].contribution, expected.detach(), atol=1e-12)


def test_too_many_mixed_units_are_refused(monkeypatch):
    monkeypatch.setattr("lightning_explain.paths.messages.MOST_MIXED", 10)
    net, x, target = lenet()
    with pytest.raises(ConfigurationError, match=r"The units of 'conv2' are mixed.*Give keep_positions=False"):
        contributions(net, x, target, keep_positions=True)


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


def test_nan_is_an_error():
    net, x, target = lenet()
    net.fc1.weight.data[0, 0] = torch.nan
    with pytest.raises(ExplanationError, match="NaN"):
        contributions(net, x, target)


def test_too_many_positions_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.Flatten(), nn.Linear(16 * 28 * 28, 2))
    with pytest.raises(ConfigurationError, match=r"'0' has 12,544 units with positions kept"):
        contributions(net, torch.rand(1, 1, 28, 28), 0, keep_positions=True)


def test_units_of_inputs():
    from lightning_explain.paths.path_units import input_units

    (image,) = input_units((torch.zeros(1, 3, 10, 6),), patch=4)
    assert image.boxes == ((0, 0, 4, 4), (0, 4, 4, 2), (4, 0, 4, 4), (4, 4, 4, 2), (8, 0, 2, 4), (8, 4, 2, 2))
    assert image.labels.shape == (3, 10, 6)
    assert image.labels[2, 9, 5] == 5 and image.labels[0, 3, 4] == 1
    (table,) = input_units((torch.zeros(1, 3),), feature_names=["a", "b", "c"])
    assert table.names == ("a", "b", "c")
    (wide,) = input_units((torch.zeros(1, 2050),))
    assert wide.names[0] == "features 0-2" and wide.names[-1] == "features 2049-2049"
    assert len(wide.names) == int(wide.labels.max()) + 1
    with pytest.raises(ConfigurationError, match="patch=0"):
        input_units((torch.zeros(1, 3, 4, 4),), patch=0)


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
