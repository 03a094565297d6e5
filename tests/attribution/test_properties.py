"""What must hold of every method on every network: properties on networks and inputs that hypothesis draws."""

import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

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
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    Saliency,
    SmoothGrad,
    WSquareRule,
    ZBoxRule,
    ZeroRule,
    ZPlusRule,
    from_captum,
    integrated_gradients_and_conductance,
)
from tests.attribution.nets import convnet, drawn, seeded

few = settings(max_examples=10, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)
factors = st.floats(-3, 3).filter(lambda factor: abs(factor) > 1e-3)

RULES = {
    "zero": ZeroRule(),
    "epsilon": EpsilonRule(1e-3),
    "gamma": GammaRule(0.5),
    "z+": ZPlusRule(),
    "alpha-beta": AlphaBetaRule(2.0, 1.0),
}
INPUT_RULES = {"flat": FlatRule(), "w2": WSquareRule(), "zB": ZBoxRule(-9.0, 9.0)}
LRPS = {
    **{f"LRP({name})": LRP({nn.Linear: rule}) for name, rule in RULES.items()},
    **{f"LRP({name})": LRP(ByLayer({nn.Linear: ZPlusRule()}, {nn.Linear: r})) for name, r in INPUT_RULES.items()},
}
# methods for any network of features; what draws noise is told apart below
QUIET = {
    "Saliency": Saliency(),
    "InputXGradient": InputXGradient(),
    "IntegratedGradients": IntegratedGradients(max_steps=33),
    "IntegratedGradients(n_steps)": IntegratedGradients(n_steps=7),
    "conductance walk": lambda model, x, target: integrated_gradients_and_conductance(model, x, target, n_steps=4)[0],
    **LRPS,
    "captum DeepLift": from_captum(captum.attr.DeepLift),
    "captum FeatureAblation": from_captum(captum.attr.FeatureAblation),
    "captum Occlusion": from_captum(captum.attr.Occlusion, sliding_window_shapes=(1,)),
}
NOISY = {
    "SmoothGrad": SmoothGrad(n_draws=3),
    "captum GradientShap": from_captum(captum.attr.GradientShap, baselines=torch.zeros(2, 4).double(), n_samples=3),
}
METHODS = {**QUIET, **NOISY}
# max_steps keeps the tests short, and the method rightly says when it was not enough
pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")


def net_of(seed: int, *, bias: bool = True, smooth: bool = False, n_features: int = 4) -> nn.Module:
    """`n_features` features, layers of 6 and 5, 3 classes; activations are modules 1 and 3."""
    act = nn.Tanh if smooth else nn.ReLU
    layers = [nn.Linear(n_features, 6, bias=bias), act(), nn.Linear(6, 5, bias=bias), act(), nn.Linear(5, 3, bias=bias)]
    return seeded(nn.Sequential(*layers), seed=seed)


def samples_of(seed: int, n: int = 4) -> tuple[Tensor, Tensor]:
    return drawn(n, 4, seed=seed + 1), torch.arange(n) % 3


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def explained(model, x: Tensor, target: Tensor) -> Tensor:
    return model(x).gather(1, target[:, None])[:, 0].detach()


@few
@given(seed=seeds, level=st.floats(-1, 1))
def test_completeness_of_integrated_gradients_and_conductance(seed: int, level: float):
    net, (x, target) = net_of(seed, smooth=True), samples_of(seed)
    change = explained(net, x, target) - explained(net, torch.full_like(x, level), target)
    baseline = torch.full((1, 4), level, dtype=torch.float64)
    found = IntegratedGradients(baseline, n_steps=60)(net, x, target)
    torch.testing.assert_close(found.values.sum(1), change, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.convergence_delta, found.values.sum(1) - change, rtol=1e-9, atol=1e-11)
    for layer in ("1", "3"):
        hidden = LayerConductance(layer, baseline=baseline, n_steps=200)(net, x, target)
        torch.testing.assert_close(hidden.values.sum(1), change, rtol=2e-3, atol=2e-3)


@few
@given(seed=seeds)
def test_completeness_gap_within_tolerance_wherever_the_steps_sufficed(seed: int):
    net, (x, target) = net_of(seed), samples_of(seed, 12)
    found = IntegratedGradients(tolerance=0.05, max_steps=1025)(net, x, target)
    change = explained(net, x, target) - explained(net, torch.zeros_like(x), target)
    scale = torch.maximum(change.abs(), 0.01 * found.values.abs().sum(1))
    assert bool((found.convergence_delta.abs() <= 0.05 * scale + 1e-9).all())


@few
@given(seed=seeds, a=factors, b=factors)
def test_linearity_in_the_model(seed: int, a: float, b: float):
    f, g, (x, target) = net_of(seed), net_of(seed + 1, smooth=True), samples_of(seed)
    for method in (IntegratedGradients(n_steps=9), InputXGradient(), SmoothGrad(n_draws=3)):
        both = method(lambda z: a * f(z) + b * g(z), x, target).values
        close(both, a * method(f, x, target).values + b * method(g, x, target).values)


class Reads(nn.Module):
    """A network that gets all features but one."""

    def __init__(self, net: nn.Module, ignored: int) -> None:
        super().__init__()
        self.net, self.kept = net, [i for i in range(4) if i != ignored]

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, self.kept])


@pytest.mark.parametrize("name", METHODS)
@settings(few, max_examples=3)
@given(seed=seeds, ignored=st.integers(0, 3))
def test_sensitivity_a_feature_that_is_not_read_gets_exactly_zero(name: str, seed: int, ignored: int):
    net, (x, target) = Reads(net_of(seed, n_features=3), ignored), samples_of(seed)
    assert not METHODS[name](net, x, target).values[:, ignored].any()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "LRP(flat)"])
@settings(few, max_examples=3)
@given(seed=seeds, ignored=st.integers(0, 3))
def test_sensitivity_a_feature_with_zero_weights_gets_exactly_zero(name: str, seed: int, ignored: int):
    # (the flat rule shares evenly among all that is connected, whatever its weight: that is its point)
    net, (x, target) = net_of(seed), samples_of(seed)
    net[0].weight.data[:, ignored] = 0
    assert not METHODS[name](net, x, target).values[:, ignored].any()


@few
@given(seed=seeds, unit=st.integers(0, 4))
def test_sensitivity_of_conductance_and_layer_relevance_a_unit_that_is_not_read_gets_zero(seed: int, unit: int):
    net, (x, target) = net_of(seed), samples_of(seed)
    net[4].weight.data[:, unit] = 0
    assert not LayerConductance("3", n_steps=3)(net, x, target).values[:, unit].any()
    for rule in RULES.values():
        assert not LRP({nn.Linear: rule}).layer_relevance(net, x, target, layers="3")["3"][:, unit].any()


@few
@given(seed=seeds, order=st.permutations(range(6)), factor=st.floats(0.1, 10))
def test_implementation_invariance(seed: int, order: list[int], factor: float):
    net, (x, target) = net_of(seed), samples_of(seed)
    for method in (IntegratedGradients(n_steps=9), IntegratedGradients(max_steps=33), Saliency(), InputXGradient()):
        wanted = method(net, x, target).values
        for other in (permuted(net, order), doubled(net), split(net), rescaled(net, factor)):
            torch.testing.assert_close(other(x), net(x))
            torch.testing.assert_close(method(other, x, target).values, wanted, rtol=1e-7, atol=1e-9)


def parts_of(net: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [(layer.weight.data, layer.bias.data) for layer in net if isinstance(layer, nn.Linear)]


def rebuilt(*layers: tuple[Tensor, Tensor] | nn.Module) -> nn.Module:
    net = nn.Sequential()
    for layer in layers:
        if isinstance(layer, tuple):
            weight, bias = layer
            linear = nn.Linear(weight.shape[1], weight.shape[0]).double()
            linear.weight.data, linear.bias.data = weight.clone(), bias.clone()
            net.append(linear)
        else:
            net.append(layer)
    return net.eval()


def permuted(net: nn.Module, order: list[int]) -> nn.Module:
    (w, b), (v, c), last = parts_of(net)
    return rebuilt((w[order], b[order]), nn.ReLU(), (v[:, order], c), nn.ReLU(), last)


def doubled(net: nn.Module) -> nn.Module:
    (w, b), (v, c), last = parts_of(net)
    return rebuilt((w.repeat(2, 1), b.repeat(2)), nn.ReLU(), (v.repeat(1, 2) / 2, c), nn.ReLU(), last)


def split(net: nn.Module) -> nn.Module:
    """Two linear layers in a row for the first one: the identity on wider features, and what remains."""
    (w, b), second, last = parts_of(net)
    wide = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    back = w @ torch.linalg.pinv(wide)
    return rebuilt((wide, torch.zeros(9).double()), (back, b), nn.ReLU(), second, nn.ReLU(), last)


def rescaled(net: nn.Module, factor: float) -> nn.Module:
    (w, b), (v, c), last = parts_of(net)
    return rebuilt((w * factor, b * factor), nn.ReLU(), (v / factor, c), nn.ReLU(), last)


@pytest.mark.parametrize("name", QUIET)
@settings(few, max_examples=3)
@given(seed=seeds, i=st.integers(0, 3), j=st.integers(0, 3))
def test_symmetry_equal_features_of_equal_effect_get_the_same(name: str, seed: int, i: int, j: int):
    net, (x, target) = net_of(seed), samples_of(seed)
    net[0].weight.data[:, i] = net[0].weight.data[:, j]
    x[:, i] = x[:, j]
    values = METHODS[name](net, x, target).values
    torch.testing.assert_close(values[:, i], values[:, j], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
@settings(few, max_examples=3)
@given(seed=seeds, order=st.permutations(range(4)))
def test_each_sample_is_explained_on_its_own(name: str, seed: int, order: list[int]):
    method, net, (x, target) = METHODS[name], net_of(seed), samples_of(seed)
    values = method(net, x, target).values
    if name != "captum GradientShap":  # it draws a baseline for each place in the batch
        close(method(net, x[order], target[order]).values, values[order])
        close(method(net, x[1:2], target[1:2]).values, values[1:2])


IMAGE_METHODS = {
    "GradCAM": GradCAM(),
    "LayerConductance": LayerConductance("3", n_steps=3),
    "SmoothGrad": SmoothGrad(n_draws=2),
    "LRP default": LRP(),
    "LRP gamma box": LRP(EpsilonGammaBox(-9.0, 9.0)),
    "IntegratedGradients": IntegratedGradients(n_steps=5),
    "IntegratedGradients(blur)": IntegratedGradients("blur", n_steps=5),
    "captum LayerGradCam": from_captum(captum.attr.LayerGradCam, layer="3"),
}


@pytest.mark.parametrize("name", IMAGE_METHODS)
@settings(few, max_examples=3)
@given(seed=seeds, order=st.permutations(range(3)))
def test_each_image_is_explained_on_its_own(name: str, seed: int, order: list[int]):
    method, x, target = IMAGE_METHODS[name], drawn(3, 2, 8, 8, seed=seed), torch.tensor([0, 2, 1])
    values = method(convnet(), x, target).values
    close(method(convnet(), x[order], target[order]).values, values[order])
    close(method(convnet(), x[2:], target[2:]).values, values[2:])


CONSERVING = {
    "zero": ({nn.Linear: ZeroRule()}, {}),
    "epsilon": ({nn.Linear: EpsilonRule(1e-13)}, {}),
    "gamma": ({nn.Linear: GammaRule(0.5)}, {}),
    "flat": ({nn.Linear: GammaRule(0.5)}, {nn.Linear: FlatRule()}),
    "w2": ({nn.Linear: ZeroRule()}, {nn.Linear: WSquareRule()}),
    "zB": ({nn.Linear: ZeroRule()}, {nn.Linear: ZBoxRule(-9.0, 9.0)}),
    "z+": ({nn.Linear: ZPlusRule(), "4": ZeroRule()}, {}),
}


@pytest.mark.parametrize("name", CONSERVING)
@settings(few, max_examples=6)
@given(seed=seeds)
def test_relevance_is_conserved_at_every_layer_without_biases(name: str, seed: int):
    net, (x, target) = net_of(seed, bias=False), samples_of(seed, 8)
    method, score = LRP(ByLayer(*CONSERVING[name])), explained(net, x, target)
    torch.testing.assert_close(method(net, x, target).values.sum(1), score, rtol=1e-6, atol=1e-8)
    for hidden in method.layer_relevance(net, x, target, layers="*").values():
        torch.testing.assert_close(hidden.sum(1), score, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "composite", [Epsilon(1e-13), EpsilonPlusFlat(1e-13), EpsilonGammaBox(-9.0, 9.0, epsilon=1e-13)]
)
@settings(few, max_examples=3)
@given(seed=seeds)
def test_relevance_is_conserved_by_composites_on_convnets(composite, seed: int):
    layers = [nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 5, 3, bias=False)]
    head = [nn.ReLU(), nn.Flatten(), nn.Linear(20, 3, bias=False)]
    net, x = seeded(nn.Sequential(*layers, *head), seed=seed), drawn(3, 2, 8, 8, seed=seed)
    target = torch.tensor([0, 2, 1])
    found = LRP(composite)(net, x, target).values.flatten(1).sum(1)
    torch.testing.assert_close(found, explained(net, x, target), rtol=1e-6, atol=1e-8)


@settings(few, max_examples=4)
@given(seed=seeds, factor=st.floats(0.1, 10))
def test_scaling_the_output_scales_every_signed_explanation(seed: int, factor: float):
    net, larger, (x, target) = net_of(seed), net_of(seed), samples_of(seed)
    larger[4].weight.data *= factor
    larger[4].bias.data *= factor
    for name, method in METHODS.items():
        if name != "LRP(epsilon)":  # its epsilon is absolute
            torch.testing.assert_close(
                # (captum's ablations subtract in single precision)
                method(larger, x, target).values,
                factor * method(net, x, target).values,
                rtol=1e-6,
                atol=1e-6,
            )


@few
@given(seed=seeds, factor=st.floats(0.1, 10))
def test_other_units_of_the_input_change_nothing(seed: int, factor: float):
    net, other, (x, target) = net_of(seed), net_of(seed), samples_of(seed)
    other[0].weight.data /= factor
    for name in ("InputXGradient", "IntegratedGradients(n_steps)", "LRP(zero)", "LRP(gamma)", "LRP(z+)"):
        method = METHODS[name]
        torch.testing.assert_close(
            method(other, factor * x, target).values, method(net, x, target).values, rtol=1e-7, atol=1e-10
        )
