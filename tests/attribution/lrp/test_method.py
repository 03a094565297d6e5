"""LRP through whole networks: conservation, sums, BatchNorm, every layer's relevance, and what is refused."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lightning_explain.attribution import (
    LRP,
    AlphaBetaRule,
    ByLayer,
    Epsilon,
    EpsilonGammaBox,
    EpsilonPlusFlat,
    EpsilonRule,
    FlatRule,
    GammaRule,
    WSquareRule,
    ZBoxRule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.errors import ConfigurationError, ExplanationError
from tests.attribution.lrp.nets import (
    BasicBlock,
    Functional,
    ReadBeside,
    mlp,
    read_beside,
    resnet,
    vgg,
    with_statistics,
)

ALL_ZERO = {nn.Linear: ZeroRule(), nn.Conv2d: ZeroRule(), nn.BatchNorm2d: ZeroRule(), nn.BatchNorm1d: ZeroRule()}
COMPOSITES = {
    "default": None,
    "epsilon": Epsilon(1e-12),
    "zero": ALL_ZERO,
    "plus flat": EpsilonPlusFlat(1e-12),
    "gamma box": EpsilonGammaBox(-6.0, 6.0, epsilon=1e-12),
    "alpha-beta": {nn.Conv2d: AlphaBetaRule(), nn.Linear: EpsilonRule(1e-12)},
    "w2 first": ByLayer({nn.Conv2d: ZPlusRule(), nn.Linear: ZeroRule()}, {nn.Conv2d: WSquareRule()}),
}
IMAGES = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 3, 1])


def bare_resnet(inplace: bool) -> nn.Module:
    return resnet(inplace=inplace, norm=False)


def bare_vgg(inplace: bool) -> nn.Module:
    return vgg(bias=False, inplace=inplace)


def input_x_gradient(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf).gather(1, target[:, None]).sum(), leaf)
    return x * gradient


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_residual_sum_shares_in_proportion_to_its_summands():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2, bias=False)
            nn.init.constant_(self.linear.weight, 5.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) + x

    values = LRP()(Skip(), torch.tensor([[2.0, 3.0]]), 1).values
    torch.testing.assert_close(values, torch.tensor([[10.0, 18.0]]))


@pytest.mark.parametrize("build", [resnet, vgg, lambda: mlp(bias=True)], ids=["resnet", "vgg", "mlp"])
def test_without_epsilon_a_relu_network_gives_input_x_gradient(build):
    model = build()
    x = IMAGES if isinstance(model[0], nn.Conv2d) else torch.randn(3, 5).double()
    target = CLASSES.clamp(max=2)
    for rules in (ALL_ZERO, Epsilon(1e-13)):
        close(LRP(rules)(model, x, target).values, input_x_gradient(model, x, target))


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("build", [bare_resnet, bare_vgg])
def test_relevance_is_conserved_at_every_layer_without_biases(build, inplace: bool, name: str):
    if name == "alpha-beta" and build is bare_resnet:
        pytest.skip("an output with contributions of one sign only loses the other sign's share")
    model = build(inplace)
    method = LRP(COMPOSITES[name])
    result = method(model, IMAGES, CLASSES)
    score = model(IMAGES).gather(1, CLASSES[:, None]).squeeze(1)
    small = {"rtol": 1e-4, "atol": 1e-5} if name == "default" else {"rtol": 1e-7, "atol": 1e-9}
    torch.testing.assert_close(result.values.flatten(1).sum(1), score, **small)
    torch.testing.assert_close(result.convergence_delta, result.values.flatten(1).sum(1) - score)
    top = [child for child, _ in model.named_children()]
    relevance = method.layer_relevance(model, IMAGES, CLASSES, layers=top)
    assert relevance.keys() == set(top)
    for child in relevance.values():
        torch.testing.assert_close(child.flatten(1).sum(1), score, **small)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rule=st.sampled_from([ZeroRule(), EpsilonRule(1e-12), GammaRule(1.0), ZPlusRule()]))
def test_relevance_is_conserved_for_random_networks(seed: int, rule):
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 5, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(5, 2, bias=False)).double()
    nn.init.uniform_(model[-1].weight, 0.1, 1.0)
    delta = LRP({nn.Linear: rule})(model, torch.randn(4, 4).double(), 0).convergence_delta
    assert delta.abs().max() < 1e-8


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


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("build", [resnet, vgg])
def test_in_place_operations_change_nothing(build, name: str):
    calm, wild = build(inplace=False), build(inplace=True)
    wild.load_state_dict(calm.state_dict())
    method = LRP(COMPOSITES[name])
    close(method(calm, IMAGES, CLASSES).values, method(wild, IMAGES, CLASSES).values)
    relevance = [method.layer_relevance(model, IMAGES, CLASSES, layers="*") for model in (calm, wild)]
    for layer, values in relevance[0].items():
        close(relevance[1][layer], values)


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


@pytest.mark.parametrize("rules", [None, EpsilonGammaBox(0.0, 1.0), {nn.Conv2d: ZPlusRule(), nn.Linear: ZeroRule()}])
def test_a_model_that_opens_autocast_itself_is_explained(rules):
    class Half(nn.Module):
        def __init__(self, *, half: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten())
            self.head, self.half = nn.Linear(64, 3), half

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                return self.head(self.body(x)).float()

    x = torch.rand(3, 1, 8, 8)
    whole, half = (LRP(rules)(Half(half=half), x, 1) for half in (False, True))
    assert half.values.dtype == torch.float32
    torch.testing.assert_close(half.values, whole.values, rtol=0.1, atol=0.05 * float(whole.values.abs().max()))


def test_functional_operations_conserve_relevance():
    x = torch.randn(4, 2, 8, 8).double()
    model = Functional().eval()
    for rules in (Epsilon(1e-12), EpsilonPlusFlat(1e-12), ALL_ZERO):
        assert LRP(rules)(model, x, 2).convergence_delta.abs().max() < 1e-9
    close(LRP(ALL_ZERO)(model, x, CLASSES[[0, 2, 2, 0]]).values, input_x_gradient(model, x, CLASSES[[0, 2, 2, 0]]))


ACTIVATIONS = [
    nn.GELU(), nn.SiLU(), nn.SiLU(inplace=True), nn.Tanh(), nn.ELU(inplace=True), nn.ReLU6(), nn.Mish(),
    nn.Softsign(), nn.Hardswish(inplace=True), nn.PReLU(), nn.LeakyReLU(0.1, inplace=True), nn.Hardtanh(inplace=True),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_hand_relevance_on_unchanged(activation: nn.Module):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 9, bias=False), activation, nn.Linear(9, 2, bias=False)]
    model = nn.Sequential(*layers).double()
    x = 3 * torch.randn(5, 4).double()
    relevance = LRP({nn.Linear: ZeroRule()}).layer_relevance(model, x, 0, layers=["0", "1"])
    close(relevance["0"], relevance["1"])
    assert LRP({nn.Linear: ZeroRule()})(model, x, 0).convergence_delta.abs().max() < 1e-12


def test_input_rules_reach_through_whatever_the_model_does_to_its_input_first():
    class Normalised(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Tensor) -> Tensor:
            shifted = (x.permute(0, 2, 3, 1) - 0.3) / torch.tensor([0.2, -0.5, 2.0])
            return self.body(functional.pad(shifted.permute(0, 3, 1, 2), (1, 1, 1, 1)))

    body = vgg(bias=False)
    body[7] = nn.AdaptiveAvgPool2d(2)
    x = IMAGES
    normal = functional.pad((x - 0.3) / torch.tensor([0.2, -0.5, 2.0]).reshape(3, 1, 1), (1, 1, 1, 1))
    inner = LRP()(body, normal, CLASSES).values
    outer = LRP()(Normalised(body), x, CLASSES).values
    close(outer, inner[:, :, 1:-1, 1:-1])
    repeated = nn.Sequential(Expand(), vgg(bias=False))
    grey = LRP()(repeated, x[:, :1], CLASSES)
    assert grey.values.shape == (3, 1, 8, 8)
    assert grey.convergence_delta.abs().max() < 1e-5


class Expand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, 3, -1, -1)


def test_several_inputs_and_a_direct_way_to_the_output():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv2d(1, 2, 3, bias=False), nn.Linear(8 + 3 + 16, 2, bias=False)

        def forward(self, image: Tensor, table: Tensor) -> Tensor:
            maps = functional.relu(self.conv(image)).flatten(1)
            return self.fc(torch.cat([maps, table, image.flatten(1)], dim=1))

    image, table = torch.randn(4, 1, 4, 4), torch.randn(4, 3)
    result = LRP(EpsilonPlusFlat(0.0))(Two(), (image, table), 1)
    assert [part.shape for part in result.parts] == [image.shape, table.shape]
    assert result.convergence_delta.abs().max() < 1e-6
    assert result.baseline is None
    assert result.error is None
    assert result.n_evaluations.tolist() == [1, 1, 1, 1]


def test_samples_do_not_mix():
    model, order = resnet(), torch.tensor([2, 0, 1])
    values = LRP()(model, IMAGES, CLASSES).values
    close(LRP()(model, IMAGES[order], CLASSES[order]).values, values[order])
    close(LRP()(model, IMAGES[1:2], 3).values, values[1:2])


def test_rules_go_by_name_then_by_nearest_type():
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), Own(5, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    plain = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    plain.load_state_dict(model.state_dict())
    x = torch.randn(3, 4).double()
    by_type = LRP({nn.Linear: ZeroRule(), Own: ZPlusRule(), "[4]": GammaRule()})(model, x, 0).values
    by_name = LRP({"2": ZPlusRule(), "4": GammaRule(), "0": ZeroRule()})(plain, x, 0).values
    close(by_type, by_name)
    assert not torch.allclose(by_type, LRP({nn.Linear: ZeroRule()})(model, x, 0).values)


def test_default_goes_by_kind_of_network():
    convnet, x = vgg(), IMAGES
    close(LRP()(convnet, x, 0).values, LRP(EpsilonPlusFlat())(convnet, x, 0).values)
    dense = mlp(bias=True)
    close(LRP()(dense, torch.ones(1, 5).double(), 0).values, LRP(Epsilon())(dense, torch.ones(1, 5).double(), 0).values)


def test_reparametrised_and_subclassed_layers_work():
    class SelfPadding(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(3, 2, 3)
            self.pad = nn.ZeroPad2d(1)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.pad(x))

    torch.manual_seed(0)
    normed = parametrizations.weight_norm(nn.Conv2d(2, 4, 3))
    model = nn.Sequential(SelfPadding(), nn.ReLU(), normed, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = model.double()
    close(LRP(ALL_ZERO)(model, IMAGES, CLASSES).values, input_x_gradient(model, IMAGES, CLASSES))
    assert LRP()(model, IMAGES, CLASSES).values.isfinite().all()


class Lambda(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda m, x: Doubled.apply(x), r"'1' \(Lambda\): the custom autograd function Doubled"),
        (lambda m, x: x.cumprod(1), r"'1' \(Lambda\): torch.Tensor.cumprod"),
        (lambda m, x: torch.cdist(x, m.weight), r"'1' \(Lambda\): (torch.*)?cdist"),
        (lambda m, x: torch.atan2(x, x + 1), r"'1' \(Lambda\): torch.atan2"),
        (lambda m, x: x if x.mean() > 0 else -x, r"'1' \(Lambda\) turns values .* into a bool of Python"),
        (lambda m, x: x * x.abs().max().item(), r"'1' \(Lambda\) turns values .* into a item of Python"),
        (lambda m, x: x * float((x > 0).sum()), r"'1' \(Lambda\) turns values .* into a float of Python"),
        (lambda m, x: functional.batch_norm(x, None, None, training=True), "statistics of the batch"),
    ],
)
def test_operation_without_rule_is_refused_by_module_and_name(function, said: str):
    model = nn.Sequential(nn.Linear(4, 4), Lambda(function), nn.Linear(4, 4))
    with pytest.raises(ConfigurationError, match=said):
        LRP()(model, torch.randn(4, 4), 0)


def test_what_never_runs_or_never_reaches_the_score_is_never_refused():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.idle, self.aside = nn.Linear(4, 2), nn.Bilinear(2, 2, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x).cumprod(1)
            return self.body(x) if self.body is not None else self.idle(x, x)

    net, x = Net(), torch.randn(3, 4)
    close(LRP()(net, x, 1).values, LRP()(net.body, x, 1).values)


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


def test_other_impossible_requests_say_what_to_do():
    model = mlp()
    x = torch.ones(2, 5).double()
    with pytest.raises(ConfigurationError, match="plain callable"):
        LRP()(lambda v: v, x)
    with pytest.raises(ConfigurationError, match="class index 7"):
        LRP()(model, x, 7)
    with pytest.raises(ConfigurationError, match="no gradient"):
        LRP()(model, x.long(), 0)
    with pytest.raises(ConfigurationError, match="matches no module"):
        LRP().layer_relevance(model, x, 0, layers="9")
    with pytest.raises(ExplanationError, match="NaN or infinite"):
        LRP()(model, x * float("nan"), 0)
    with pytest.raises(ExplanationError, match="does not depend"):
        LRP()(nn.Sequential(Lambda(lambda m, v: v.detach())), x, 0)


def test_block_alone_as_a_model():
    block = with_statistics(BasicBlock(3, 3)).double()
    assert LRP()(nn.Sequential(block, nn.Flatten(), nn.Linear(192, 2).double()), IMAGES, 0).values.isfinite().all()
