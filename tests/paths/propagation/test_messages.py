"""Messages between units against loops, by hand, and against LRP where units are mixed."""

import importlib
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.attribution import LRP, Epsilon, EpsilonRule, GammaRule, ZeroRule, ZPlusRule
from lightning_explain.paths import contributions
from tests.paths import brute
from tests.paths.nets import assert_conserved, lenet, mlp, seeded


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
def test_positions_together_send_what_the_channels_do(rule):
    net, x, target = lenet()
    rules = {nn.Linear: rule, nn.Conv2d: rule}
    merged, apart = (contributions(net, x, target, rules=rules, patch=8, keep_positions=k)[0] for k in (False, True))
    assert [layer.n_units for layer in apart.layers] == [4, 4 * 256, 6 * 36, 10, 1]
    for link, fine in zip(merged.links, apart.links, strict=True):
        np.testing.assert_allclose(link.contribution.sum(), fine.contribution.sum(), atol=1e-9)
        if merged.layers[link.source].name == "input":  # patches are units either way
            np.testing.assert_allclose(link.contribution.sum(0), fine.contribution.sum(0), atol=1e-9)


def test_single_positions_equal_the_loops():
    seeded()
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).double()
    x = torch.rand(1, 1, 3, 3, dtype=torch.double)
    graph = contributions(net, x, 1, patch=1, keep_positions=True, rules=Epsilon(0.0))[0]
    (link,) = graph.into(1)
    hidden = net[0](x).flatten()
    gradient = net[3].weight[1] * (hidden > 0)
    expected = np.zeros((8, 9))
    for c, y, z, dy, dz in np.ndindex(2, 2, 2, 2, 2):
        weight = net[0].weight[c, 0, dy, dz] * gradient[c * 4 + y * 2 + z]
        expected[c * 4 + y * 2 + z, (y + dy) * 3 + z + dz] = float((weight * x[0, 0, y + dy, z + dz]).detach())
    assert graph.layers[1].numbers.tolist() == list(range(8))
    np.testing.assert_allclose(link.contribution, expected, atol=1e-12)


SHAPES = {
    "strided": (nn.Conv2d(2, 4, 3, stride=2, padding=1), (2, 7, 6)),
    "dilated": (nn.Conv2d(2, 4, 2, dilation=2, padding=(1, 2)), (2, 6, 7)),
    "groups": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5)),
    "depthwise": (nn.Conv2d(3, 6, 3, groups=3), (3, 5, 5)),
    "same": (nn.Conv2d(2, 3, 2, padding="same"), (2, 5, 5)),
    "1d": (nn.Conv1d(2, 3, 3, stride=2), (2, 9)),
    "3d": (nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    "tokens": (nn.Linear(3, 4), (5, 3)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("rule", [EpsilonRule(0.01), GammaRule(0.3), ZPlusRule()], ids=repr)
@pytest.mark.parametrize("name", SHAPES)
def test_closed_forms_equal_one_walk_back_for_each_unit(name, rule, monkeypatch):
    layer, shape = SHAPES[name]
    seeded()
    layer, first = deepcopy(layer), nn.Linear(shape[-1], shape[-1])
    layer.reset_parameters()
    net = nn.Sequential(first, nn.Tanh(), layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    if name != "tokens":
        kind = {2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}[len(shape)]
        net[0] = kind(shape[0], shape[0], 1)
    x = torch.randn(3, *shape)
    net(x)
    net, x = net.double(), x.double()
    rules = dict.fromkeys((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d), rule)
    closed = contributions(net, x, torch.tensor([0, 1, 1]), rules=rules)
    module = importlib.import_module("lightning_explain.paths.contributions")  # the package holds the function
    monkeypatch.setattr(module, "closed_messages", lambda *_: None)
    monkeypatch.setattr("lightning_explain.paths.propagation.expansion.MOST_EXPANDED", 1000)
    walked = contributions(net, x, torch.tensor([0, 1, 1]), rules=rules)
    for sample in range(3):
        assert closed[sample].layers[2].numbers is None
        assert walked[sample].layers[2].numbers is not None
        for link, other in zip(closed[sample].links, walked[sample].links, strict=True):
            np.testing.assert_allclose(link.contribution, other.contribution, atol=1e-10)
            np.testing.assert_allclose(link.share, other.share, atol=1e-10)


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


def test_messages_through_a_layer_norm_by_hand():
    seeded()
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    net[1].weight.data.uniform_(-1, 1)
    net[1].bias.data.uniform_(-1, 1)
    x = torch.randn(2, 3, dtype=torch.double)
    graph = contributions(net, x, 1, rules={nn.Linear: ZeroRule()})[0]
    h, w, norm = net[0](x)[0], net[2].weight[1], net[1]
    centred = torch.eye(4) - torch.full((4, 4), 0.25, dtype=torch.double)
    by_unit = w @ torch.diag(norm.weight / (h.var(unbiased=False) + norm.eps).sqrt()) @ centred * h
    np.testing.assert_allclose(graph.into(2)[0].contribution, by_unit[None].detach(), atol=1e-12)
    assert graph.layers[2].absorbed.sum() == pytest.approx((net[2].bias[1] + w @ norm.bias).item())


@pytest.mark.parametrize(
    "mix",
    [
        lambda h: h - h.mean(1, keepdim=True),
        lambda h: h - h.roll(1, 1),
        lambda h: torch.cat([h[:, :1] - h[:, 1:2], h[:, 2:]], 1),
    ],
    ids=["centred", "differences", "one-difference"],
)
def test_units_whose_weights_cancel(mix):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.LazyLinear(2, bias=False)

        def forward(self, x):
            return self.b(mix(self.a(x)))

    seeded()
    net, x = Net(), torch.randn(2, 3, dtype=torch.double)
    net.float()(x.float())
    net.double()
    graph = contributions(net, x, 1, rules={nn.Linear: ZeroRule()})[1]
    hidden = net.a(x[1:])
    (gradient,) = torch.autograd.grad(net.b(mix(hidden))[0, 1], hidden)
    np.testing.assert_allclose(graph.into(2)[0].contribution, (gradient * hidden).detach(), atol=1e-12)


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
