import warnings

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.attribution import InputXGradient, IntegratedGradients, Saliency, from_captum
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import convnet, drawn, mlp

X = drawn(4, 4)
TARGET = torch.tensor([0, 2, 1, 1])


def test_occlusion_is_what_captum_gives():
    net, images = convnet(), drawn(4, 2, 8, 8)
    expected = captum.attr.Occlusion(net).attribute(images, target=TARGET, sliding_window_shapes=(1, 3, 3))
    found = from_captum(captum.attr.Occlusion, sliding_window_shapes=(1, 3, 3))(net, images, TARGET)
    torch.testing.assert_close(found.values, expected)
    assert (found.convergence_delta, found.error, found.baseline) == (None,) * 3
    # one pass at the input and one for each of 2 x 6 x 6 windows
    assert found.n_evaluations.tolist() == [73] * 4


def test_saliency_is_ours():
    found = from_captum(captum.attr.Saliency)(mlp(), X, TARGET)
    torch.testing.assert_close(found.values, Saliency()(mlp(), X, TARGET).values)
    assert found.n_evaluations.tolist() == [1] * 4
    assert not found.values.requires_grad


def test_deep_lift_agrees_with_integrated_gradients_on_a_linear_model():
    net = nn.Sequential(nn.Linear(4, 3)).double()
    torch.testing.assert_close(
        from_captum(captum.attr.DeepLift, baselines=0.5)(net, X, 1).values,
        IntegratedGradients(baseline=torch.full((4,), 0.5))(net, X, 1).values,
    )


def test_arguments_go_to_the_constructor_or_to_attribute():
    method = from_captum(captum.attr.IntegratedGradients, multiply_by_inputs=False, n_steps=3)
    assert (method.building, method.attributing) == ({"multiply_by_inputs": False}, {"n_steps": 3})
    torch.testing.assert_close(
        method(mlp(), X, 1).values,
        captum.attr.IntegratedGradients(mlp(), multiply_by_inputs=False).attribute(X, target=1, n_steps=3),
    )


def test_layers_may_be_named():
    net = mlp()
    found = from_captum(captum.attr.LayerActivation, layer="1")
    # LayerActivation takes no target: captum says so itself
    with pytest.raises(TypeError, match="target"):
        found(net, X, 1)
    found = from_captum(captum.attr.LayerGradientXActivation, layer="1")(net, X, 1)
    assert found.values.shape == (4, 6)
    with pytest.raises(ConfigurationError, match="layer='nope' is not in the Sequential"):
        from_captum(captum.attr.LayerGradientXActivation, layer="nope")(net, X, 1)


IMAGES = drawn(3, 2, 8, 8)
CAPTUM = {
    "DeepLift": (captum.attr.DeepLift, {}),
    "DeepLiftShap": (captum.attr.DeepLiftShap, {"baselines": torch.zeros(2, 2, 8, 8).double()}),
    "GradientShap": (captum.attr.GradientShap, {"baselines": torch.zeros(2, 2, 8, 8).double(), "n_samples": 4}),
    "KernelShap": (captum.attr.KernelShap, {"n_samples": 20}),
    "FeatureAblation": (captum.attr.FeatureAblation, {"feature_mask": torch.arange(128).reshape(1, 2, 8, 8) // 16}),
    "Occlusion": (captum.attr.Occlusion, {"sliding_window_shapes": (2, 4, 4)}),
    "GuidedBackprop": (captum.attr.GuidedBackprop, {}),
    "LayerGradCam": (captum.attr.LayerGradCam, {"layer": "3"}),
    "NoiseTunnel(DeepLift)": (lambda model: captum.attr.NoiseTunnel(captum.attr.DeepLift(model)), {"nt_samples": 3}),
}


@pytest.mark.filterwarnings("ignore:You are providing multiple inputs:UserWarning")
@pytest.mark.parametrize("name", CAPTUM)
def test_captums_methods_run_and_give_what_captum_gives_from_the_same_seed(name):
    kind, options = CAPTUM[name]
    net = convnet()
    torch.manual_seed(77)
    stream = torch.get_rng_state()
    found = from_captum(kind, seed=5, **options)(net, IMAGES, TARGET[:3])
    assert torch.equal(torch.get_rng_state(), stream)
    torch.manual_seed(5)
    np.random.seed(5)  # captum draws from both
    building = {"layer": net[3]} if "layer" in options else {}
    explain = {key: value for key, value in options.items() if key != "layer"}
    leaf = IMAGES.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks")
        expected = kind(net, **building).attribute(leaf, target=TARGET[:3], **explain).detach()
    torch.testing.assert_close(found.values, expected)
    assert found.values.abs().sum() > 0


@pytest.mark.parametrize("name", ["GradientShap", "NoiseTunnel(DeepLift)"])
def test_random_methods_draw_the_same_each_time_and_leave_the_stream_of_a_function_alone(name):
    kind, options = CAPTUM[name]
    method, x = from_captum(kind, **options), IMAGES.clone()
    before = torch.get_rng_state()
    first = method(convnet(), x, 1).values
    torch.rand(3)
    assert torch.equal(method(convnet(), x, 1).values, first)
    assert not torch.equal(from_captum(kind, seed=1, **options)(convnet(), x, 1).values, first)
    torch.set_rng_state(before)
    noisy = from_captum(lambda f: captum.attr.NoiseTunnel(captum.attr.Saliency(f)), nt_samples=2)
    noisy(lambda z: z.flatten(1).square(), x, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_function_builds_what_is_not_built_from_a_model():
    method = from_captum(lambda model: captum.attr.NoiseTunnel(captum.attr.Saliency(model)), nt_samples=3, stdevs=0.0)
    torch.testing.assert_close(method(mlp(), X, 1).values, Saliency()(mlp(), X, 1).values)


def test_several_inputs_and_functions():
    found = from_captum(captum.attr.InputXGradient)(lambda a, b: (a * b).sum(1), (torch.ones(2, 3), torch.ones(2, 3)))
    assert [part.tolist() for part in found.values] == [[[1.0] * 3] * 2] * 2
    assert found.n_evaluations.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"attribution_class": captum.attr.NoiseTunnel}, "not built from a model alone"),
        ({"attribution_class": captum.attr.Saliency, "wrong": 1}, "knows no argument 'wrong'"),
        ({"attribution_class": captum.attr.Saliency, "target": 1}, "got target="),
        (
            {"attribution_class": captum.attr.DeepLift, "return_convergence_delta": True},
            "got return_convergence_delta=",
        ),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(ConfigurationError, match=message):
        from_captum(**kwargs)


BASELINES = drawn(5, 4)
DELTAS = {
    "IntegratedGradients": {"baselines": 0.5, "n_steps": 3},
    "DeepLift": {"baselines": 0.5},
    "LayerConductance": {"layer": "1", "baselines": 0.5, "n_steps": 3},
    "LayerIntegratedGradients": {"layer": "1", "baselines": 0.5, "n_steps": 3},
    "LayerDeepLift": {"layer": "1", "baselines": 0.5},
    "DeepLiftShap": {"baselines": BASELINES},
    "GradientShap": {"baselines": BASELINES[:1], "n_samples": 3},
    "LRP": {},
}


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("name", DELTAS)
@pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks:UserWarning")
def test_captums_convergence_delta_is_taken_with_the_sign_of_this_package(name, one_by_one):
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    options = dict(DELTAS[name])
    found = from_captum(getattr(captum.attr, name), one_by_one=one_by_one, **options)(net, X, TARGET)
    baselines = options.get("baselines", torch.zeros(1, 4))
    baselines = torch.full((1, 4), baselines) if isinstance(baselines, float) else baselines

    def score(x):
        return net(x).detach()

    start = score(baselines.double())[:, TARGET].mean(0) if name != "LRP" else 0.0
    change = score(X).gather(1, TARGET[:, None])[:, 0] - start
    assert name in {"DeepLift", "LayerDeepLift", "DeepLiftShap", "LayerIntegratedGradients"} or bool(
        (found.convergence_delta.abs() > 1e-6).any()
    )
    torch.testing.assert_close(found.convergence_delta, found.values.sum(1) - change)


def test_there_is_no_delta_where_the_values_do_not_add_up_to_a_change():
    slopes = from_captum(captum.attr.IntegratedGradients, multiply_by_inputs=False, n_steps=3)
    noisy = from_captum(lambda model: captum.attr.NoiseTunnel(captum.attr.IntegratedGradients(model)), n_steps=3)
    for method in (slopes, noisy, from_captum(captum.attr.Saliency)):
        assert method(mlp(), X, 1).convergence_delta is None


class Written(nn.Module):
    """A layer whose output is written over afterwards, or not."""

    def __init__(self, write, in_place):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(2, 4, 3), nn.ReLU(inplace=in_place), nn.Linear(4, 3)
        self.write, self.in_place = write, in_place

    def forward(self, x):
        out = self.conv(x)
        if self.write == "module":
            out = self.act(out)
        elif self.write == "function":
            out = torch.relu_(out) if self.in_place else torch.relu(out)
        elif self.in_place:
            out += 2 * x[:, :1, 1:-1, 1:-1]
        else:
            out = out + 2 * x[:, :1, 1:-1, 1:-1]
        return self.head(out.tanh().mean((2, 3)))


@pytest.mark.parametrize("write", ["module", "function", "sum"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LayerGradCam", {}),
        ("LayerGradientXActivation", {}),
        ("InternalInfluence", {"n_steps": 4}),
        ("LayerConductance", {"n_steps": 4}),
        ("LayerIntegratedGradients", {"n_steps": 4}),
        ("LayerDeepLift", {}),
        ("LayerGradientXActivation", {"layer": "act", "attribute_to_layer_input": True}),
    ],
)
def test_a_layer_before_something_that_writes_into_its_output_is_explained_as_it_was(name, options, write):
    torch.manual_seed(0)
    plain, in_place = Written(write, in_place=False).double(), Written(write, in_place=True).double()
    in_place.load_state_dict(plain.state_dict())
    images = drawn(3, 2, 8, 8)
    method = from_captum(getattr(captum.attr, name), **{"layer": "conv", **options})
    if options.get("layer") == "act" and write != "module":
        return
    expected = method(plain, images, 1).values
    assert bool(expected.any())
    torch.testing.assert_close(method(in_place, images, 1).values, expected)
    assert in_place.act.inplace and not in_place.conv._forward_hooks and not in_place.conv._forward_pre_hooks


def test_one_by_one_explains_a_sample_the_same_way_whatever_else_is_in_the_batch():
    kind = captum.attr.NoiseTunnel
    method = from_captum(lambda model: kind(captum.attr.Saliency(model)), nt_samples=3, one_by_one=True)
    together = method(mlp(), X, TARGET)
    for row in range(4):
        alone = method(mlp(), X[row : row + 1], TARGET[row : row + 1])
        torch.testing.assert_close(together.values[row], alone.values[0])
    assert together.n_evaluations.tolist() == [3] * 4
    at_once = from_captum(lambda model: kind(captum.attr.Saliency(model)), nt_samples=3)(mlp(), X, TARGET)
    assert not torch.allclose(at_once.values[1:], together.values[1:])
    several = from_captum(captum.attr.Saliency, one_by_one=True)(lambda a, b: (a * b).sum(1), (X, 2 * X), None)
    torch.testing.assert_close(several.values, (2 * X.abs(), X.abs()))


@pytest.mark.parametrize("one_by_one", [False, True])
def test_token_ids_and_masks_beside_the_explained_inputs_are_carried_along(one_by_one: bool) -> None:
    torch.manual_seed(0)
    words, ids = nn.Embedding(5, 3), torch.tensor([[1, 4], [0, 2], [3, 3], [2, 1]])

    def net(ids: torch.Tensor, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (words(ids).sum(1) * torch.tanh(x) * mask).sum(1)

    x, mask = torch.rand(4, 3), torch.tensor([[1, 0, 1]] * 4)
    for kind, ours in ((captum.attr.Saliency, Saliency()), (captum.attr.InputXGradient, InputXGradient())):
        found = from_captum(kind, one_by_one=one_by_one)(net, (ids, x, mask), None)
        for theirs, expected in zip(found.values, ours(net, (ids, x, mask), None).values, strict=True):
            torch.testing.assert_close(theirs, expected)
