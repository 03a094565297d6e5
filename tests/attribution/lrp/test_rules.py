"""Every rule against its dense matrix form, for every kind of layer."""

import pytest
import torch
from captum.attr import LRP as CaptumLRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule
from captum.attr._utils.lrp_rules import EpsilonRule as CaptumEpsilon
from captum.attr._utils.lrp_rules import GammaRule as CaptumGamma
from torch import Tensor, nn

import tests.attribution.lrp.dense as dense
from lightning_explain.attribution import (
    LRP,
    AlphaBetaRule,
    EpsilonRule,
    GammaRule,
    Rule,
    WSquareRule,
    ZBoxRule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.errors import ConfigurationError

ANY_SIGN = {
    "zero": (ZeroRule(), dense.epsilon(0.0)),
    "epsilon": (EpsilonRule(0.3), dense.epsilon(0.3)),
    "gamma": (GammaRule(0.7), dense.gamma(0.7)),
    "alpha-beta": (AlphaBetaRule(2.0, 1.0), dense.alpha_beta(2.0, 1.0)),
    "alpha 1.5": (AlphaBetaRule(1.5, 0.5), dense.alpha_beta(1.5, 0.5)),
    "z+": (ZPlusRule(), dense.alpha_beta(1.0, 0.0)),
    "w2": (WSquareRule(), dense.w_square),
    "zB": (ZBoxRule(-4.0, 5.0), dense.z_box(-4.0, 5.0)),
}


LAYERS = {
    "linear": (lambda: nn.Linear(5, 4), (5,)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 7)),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 4, 4)),
    "conv2d strided": (
        lambda: nn.Conv2d(2, 4, (3, 2), stride=2, dilation=(1, 2), padding=(1, 0), groups=2),
        (2, 6, 5),
    ),
    "conv2d same": (lambda: nn.Conv2d(2, 2, 2, padding="same"), (2, 3, 3)),
    "conv2d reflect": (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), (1, 4, 4)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), (1, 3, 3, 2)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 3, 3)),
}


PADDED = {"conv2d reflect"}


class Scored(nn.Module):
    """One layer, whose outputs are summed with fixed weights, so that all of them carry relevance."""

    def __init__(self, layer: nn.Module, weights: Tensor | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x).flatten(1)
        if self.weights is None:
            self.weights = torch.randn(z.shape[1], generator=torch.Generator().manual_seed(3), dtype=z.dtype)
        return (z * self.weights).sum(1)


def expected(model: Scored, layer: nn.Module, x: Tensor, rule: dense.DenseRule) -> Tensor:
    model(x)  # draws the weights
    weights: Tensor = model.weights
    matrix, bias = dense.matrix_of(layer, tuple(x.shape[1:]))
    rows = [rule(matrix, bias, a, weights * (matrix @ a + bias)) for a in x.flatten(1)]
    return torch.stack(rows).reshape(x.shape)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# torch says so once about its own forward pass
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", ANY_SIGN)
@pytest.mark.parametrize("nonnegative", [False, True], ids=["any sign", "nonnegative"])
def test_rule_equals_its_dense_form_with_biases(kind: str, name: str, nonnegative: bool):
    if kind in PADDED and name == "w2":
        pytest.skip("an input that is padded twice has two weights, which the unrolled matrix adds up")
    build, shape = LAYERS[kind]
    layer = build().double()
    model = Scored(layer)
    x = torch.randn(3, *shape, dtype=torch.float64)
    x = x.abs() if nonnegative else x
    rule, oracle = ANY_SIGN[name]
    if kind in PADDED and name in {"alpha-beta", "alpha 1.5", "z+", "gamma", "zB"}:
        pytest.skip("likewise: the signs of two weights of one input may differ")
    values = LRP({type(layer): rule})(model, x).values
    model = Scored(layer, model.weights)
    torch.testing.assert_close(values, expected(model, layer, x, oracle), rtol=1e-9, atol=1e-11)


def test_dense_forms_catch_a_wrong_rule():
    x = torch.randn(3, 5, dtype=torch.float64)
    layer = nn.Linear(5, 4).double()
    model = Scored(layer)
    found = {name: LRP({nn.Linear: rule})(model, x).values for name, (rule, _) in ANY_SIGN.items()}
    for name, (_, oracle) in ANY_SIGN.items():
        wanted = expected(model, layer, x, oracle)
        assert [other for other, values in found.items() if torch.allclose(values, wanted, rtol=1e-6)] == [name]


def test_sign_of_zero_is_positive_and_nothing_is_lost():
    layer = nn.Linear(2, 1, bias=False)
    nn.init.ones_(layer.weight)
    values = LRP({nn.Linear: EpsilonRule(0.5)})(layer, torch.tensor([[1.0, -1.0], [1.0, 1.0]]), 0).values
    torch.testing.assert_close(values, torch.tensor([[0.0, 0.0], [0.8, 0.8]]))


def test_gamma_on_nonnegative_inputs_is_the_rule_of_the_literature():
    x, w = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[-2.0, 2.0, 2.0]])
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data.copy_(w)
    boosted = x * (w + 0.25 * w.clamp(min=0))
    torch.testing.assert_close(LRP({nn.Linear: GammaRule(0.25)})(layer, x, 0).values, 8 * boosted / boosted.sum())


class Simple(nn.Module):
    """Three inputs, weights 2, ReLU, weights 3, one output."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3, bias=False)
        self.relu = nn.ReLU(inplace=inplace)
        self.linear2 = nn.Linear(3, 1, bias=False)
        nn.init.constant_(self.linear.weight, 2.0)
        nn.init.constant_(self.linear2.weight, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.relu(self.linear(x)))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("rules", "w00", "wanted"),
    [
        ({nn.Linear: EpsilonRule(1e-9)}, 2.0, [18.0, 36.0, 54.0]),
        ({"linear": GammaRule(1.0), "linear2": GammaRule(0.25)}, -2.0, [28 / 3, 104 / 3, 52.0]),
        ({nn.Linear: ZPlusRule()}, -2.0, [12.0, 33.6, 50.4]),
        ({nn.Linear: AlphaBetaRule(1.0, 0.0)}, -2.0, [12.0, 33.6, 50.4]),
    ],
)
def test_known_numbers(inplace: bool, rules, w00: float, wanted: list[float]):
    model = Simple(inplace=inplace)
    model.linear.weight.data[0, 0] = w00
    values = LRP(rules)(model, torch.tensor([[1.0, 2.0, 3.0]]), 0).values
    torch.testing.assert_close(values, torch.tensor([wanted]))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (EpsilonRule(1e-4), lambda: CaptumEpsilon(epsilon=1e-4)),
        (GammaRule(0.25), lambda: CaptumGamma(gamma=0.25)),
        (ZPlusRule(), Alpha1_Beta0_Rule),
    ],
    ids=["epsilon", "gamma", "z+"],
)
def test_agrees_with_captum_without_biases(ours, theirs):
    layers = [nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3, bias=False)]
    model = nn.Sequential(*layers).double().eval()
    nn.init.uniform_(model[-1].weight, 0.1, 1.0)  # a negative score would take gamma's other branch
    x = torch.rand(3, 2, 8, 8, dtype=torch.float64)
    values = LRP({nn.Conv2d: ours, nn.Linear: ours})(model, x, torch.tensor([0, 1, 2])).values
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.rule = theirs()
        elif isinstance(layer, nn.Flatten):
            layer.rule = CaptumEpsilon(epsilon=1e-12)
    reference = CaptumLRP(model).attribute(x.requires_grad_(), target=torch.tensor([0, 1, 2]))
    torch.testing.assert_close(values, reference, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: EpsilonRule(-1.0), "epsilon=-1.0"),
        (lambda: GammaRule(-0.5), "gamma=-0.5"),
        (lambda: AlphaBetaRule(2.0, 0.5), "alpha - beta = 1"),
        (lambda: AlphaBetaRule(0.5, -0.5), "beta >= 0"),
        (lambda: ZBoxRule(1.0, 0.0), "low < high"),
    ],
)
def test_impossible_parameters_are_refused(build, said: str):
    with pytest.raises(ConfigurationError, match=said):
        build()


@pytest.mark.parametrize("rule", [ZPlusRule(), GammaRule(0.5), AlphaBetaRule(2.0, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_bits_are_enough_for_inputs_of_both_signs(rule: Rule, dtype: torch.dtype):
    torch.manual_seed(0)
    # so few contributions that all of an output's are negative now and then
    net = nn.Sequential(nn.Conv2d(4, 4, 2, groups=4), nn.SiLU(), nn.Conv2d(4, 4, 2, groups=4), nn.Flatten()).to(dtype)
    x = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
    rules = {nn.Conv2d: rule}
    found = LRP(rules)(net, x, 5).values.double()
    wanted = LRP(rules)(net.double(), x.double(), 5).values
    scale = {torch.float32: 1e-5, torch.bfloat16: 0.2}[dtype]
    torch.testing.assert_close(found, wanted, rtol=0, atol=scale * float(wanted.abs().max()))
