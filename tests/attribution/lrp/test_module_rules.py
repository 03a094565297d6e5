"""Layers by their rules: BatchNorm merged with the layer before it, and what a layer keeps for its way back."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lightning_explain.attribution import (
    LRP,
    AlphaBetaRule,
    ByLayer,
    EpsilonRule,
    FlatRule,
    GammaRule,
    ZBoxRule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.errors import ConfigurationError
from tests.attribution.lrp.cases import CLASSES, COMPOSITES, IMAGES, close
from tests.attribution.lrp.nets import (
    ReadBeside,
    read_beside,
    resnet,
    with_statistics,
)


@pytest.mark.parametrize("name", COMPOSITES)
def test_batch_norm_equals_the_merged_convolution(name: str):
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
    second, norm2 = nn.ConvTranspose2d(6, 4, 2, groups=2), nn.BatchNorm2d(4)
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)]
    apart = with_statistics(nn.Sequential(conv, norm, nn.ReLU(True), second, norm2, nn.ReLU(True), *tail))
    apart = apart.double().eval()
    fused = nn.Sequential(
        fuse_conv_bn_eval(conv, norm), nn.ReLU(), merged_transposed(second, norm2), nn.ReLU(), *tail
    ).double()
    rules = COMPOSITES[name]
    rules = {nn.ConvTranspose2d: ZPlusRule(), **rules} if isinstance(rules, dict) else rules
    if isinstance(rules, ByLayer):
        rules = ByLayer({nn.ConvTranspose2d: GammaRule(), **rules.layer_rules}, rules.input_rules)
    close(LRP(rules)(apart, IMAGES, CLASSES).values, LRP(rules)(fused, IMAGES, CLASSES).values)


def merged_transposed(conv: nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> nn.ConvTranspose2d:
    merged, scale = copy.deepcopy(conv), norm.weight.data * (norm.running_var + norm.eps).rsqrt()
    for group in range(conv.groups):
        rows = slice(group * 3, group * 3 + 3)
        merged.weight.data[rows] *= scale[group * 2 : group * 2 + 2].reshape(1, 2, 1, 1)
    merged.bias.data = (conv.bias.data - norm.running_mean) * scale + norm.bias.data
    return merged


def test_batch_norm_after_linear_is_merged_and_alone_has_its_own_rule():
    torch.manual_seed(0)
    linear, norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
    model = with_statistics(nn.Sequential(linear, norm)).double().eval()
    merged = nn.Linear(4, 3).double()
    scale = norm.weight.data * (norm.running_var + norm.eps).rsqrt()
    merged.weight.data = linear.weight.data * scale[:, None]
    merged.bias.data = (linear.bias.data - norm.running_mean) * scale + norm.bias.data
    x, rules = torch.randn(5, 4).double(), {nn.Linear: ZPlusRule()}
    close(LRP(rules)(model, x, 1).values, LRP(rules)(merged, x, 1).values)
    alone = nn.Sequential(norm, nn.Linear(3, 2).double()).eval()
    with pytest.raises(ConfigurationError, match=r"'0' \(BatchNorm1d\)"):
        LRP(rules)(alone, torch.randn(5, 3).double(), 0)


def test_merged_layer_has_the_relevance_of_its_batch_norm():
    relevance = LRP().layer_relevance(resnet(), IMAGES, CLASSES, layers="*")
    for block in ("4", "5"):
        close(relevance[f"{block}.conv1"], relevance[f"{block}.bn1"])
        close(relevance[f"{block}.conv2"], relevance[f"{block}.bn2"])
        assert f"{block}.relu#1" in relevance
        assert relevance[f"{block}.conv2"].abs().sum() > 0


@pytest.mark.parametrize(
    "write",
    [
        lambda z, x: z.add_(x),
        lambda z, x: z.mul_(2.0),
        lambda z, x: z.copy_(z * 2 + x),
        lambda z, x: functional.leaky_relu(z, inplace=True),
        lambda z, x: functional.silu(z, inplace=True),
        lambda z, x: functional.elu(z, inplace=True),
        lambda z, x: torch.tanh_(z),
        lambda z, x: functional.silu(z[:, :2], inplace=True).repeat(1, 2) + z,
        lambda z, x: torch.relu(z) + functional.hardswish(z, inplace=True),
    ],
)
def test_writing_into_a_layers_output_does_not_change_what_it_remembers(write):
    class Net(nn.Module):
        def __init__(self, *, apart: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last, self.apart = nn.Linear(4, 4).double(), nn.Linear(4, 2).double(), apart

        def forward(self, x: Tensor) -> Tensor:
            z = self.first(x)
            return self.last(torch.relu(write(z.clone() if self.apart else z, x)))

    x = torch.randn(6, 4).double()
    found = [LRP({nn.Linear: GammaRule()})(Net(apart=apart), x, 0).values for apart in (True, False)]
    close(found[0], found[1])


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("rule", [ZeroRule(), EpsilonRule(1e-3), GammaRule(0.3), AlphaBetaRule(2.0, 1.0), ZPlusRule()])
@pytest.mark.parametrize(
    "relu", [functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_]
)
def test_what_a_relu_throws_away_counts_where_something_else_reads_it(relu, rule, norm):
    close(*read_beside(relu, rule=rule, norm=norm))


@pytest.mark.parametrize("norm", [False, True])
def test_a_layer_that_is_read_beside_its_relu_has_its_own_relevance(norm):
    x = torch.randn(4, 6).double()
    rules = {nn.Linear: GammaRule(0.3), nn.BatchNorm1d: GammaRule(0.3)}
    found = []
    for relu in (functional.relu, functional.relu_):
        net = with_statistics(ReadBeside(relu, norm=norm)).double().eval()
        found.append(LRP(rules).layer_relevance(net, x, 1, layers=["first", "norm"]))
    close(found[0]["first"], found[1]["first"])
    close(found[0]["norm"], found[1]["norm"])
    close(found[0]["first"], found[0]["norm"])
    # rules are not conserving where a bias takes its share, but no unit may be without relevance for being negative
    assert bool((found[0]["first"] != 0).all())


def test_a_layer_that_nothing_goes_on_with_has_no_relevance():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.last(self.used(x).relu())

    found = LRP().layer_relevance(Net(), torch.rand(3, 4), 0, layers=["used", "unused"])
    assert not found["unused"].any()
    assert found["used"].any()
    # a BatchNorm after another one takes over the layer before both
    norms = with_statistics(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    )
    of_layers = LRP().layer_relevance(norms.eval(), torch.rand(3, 4), 0, layers="*")
    close(of_layers["1"], of_layers["2"])


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({nn.Linear: FlatRule()}, r"FlatRule was given to '2' \(Linear\)"),
        ({"2": ZBoxRule(-9.0, 9.0), nn.Linear: ZeroRule()}, r"ZBoxRule was given to '2'"),
        ({nn.Conv2d: ZeroRule()}, r"'0' \(Linear\), '2' \(Linear\)"),
        ({"nothing": ZeroRule(), nn.Linear: ZeroRule()}, "name 'nothing'"),
    ],
)
def test_rules_that_cannot_apply_are_refused_by_name(rules, said: str):
    with pytest.raises(ConfigurationError, match=said):
        LRP(rules)(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), torch.randn(2, 4), 0)
