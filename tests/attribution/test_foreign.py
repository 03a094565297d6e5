import warnings

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.attribution import IntegratedGradients, Saliency, from_captum
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
