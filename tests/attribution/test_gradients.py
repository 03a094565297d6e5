import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_explain.attribution import InputXGradient, Saliency, SmoothGrad
from lightning_explain.errors import ConfigurationError, ExplanationError
from tests.attribution.nets import convnet, drawn, mlp

METHODS = [Saliency(), InputXGradient(), SmoothGrad(n_draws=4)]
TARGET = torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize(("net", "x"), [(mlp(), drawn(4, 4)), (convnet(), drawn(4, 2, 8, 8))])
def test_agree_with_captum(net, x):
    torch.testing.assert_close(
        Saliency()(net, x, TARGET).values, captum.attr.Saliency(net).attribute(x.clone().requires_grad_(), TARGET)
    )
    torch.testing.assert_close(
        InputXGradient()(net, x, TARGET).values,
        captum.attr.InputXGradient(net).attribute(x.clone().requires_grad_(), TARGET).detach(),
    )


def test_closed_forms_of_a_quadratic():
    # F = x0^2 - 3 x1: gradient (2 x0, -3)
    def model(x):
        return x[:, 0] ** 2 - 3 * x[:, 1]

    x = torch.tensor([[2.0, 1.0], [-1.0, 4.0]])
    assert Saliency()(model, x).values.tolist() == [[4, 3], [2, 3]]
    assert InputXGradient()(model, x).values.tolist() == [[8, -3], [2, -12]]


def test_fields_without_meaning_are_none():
    for method in METHODS[:2]:
        found = method(mlp(), drawn(4, 4), TARGET)
        assert (found.convergence_delta, found.error, found.baseline, found.coarse) == (None,) * 4
        assert found.n_evaluations.tolist() == [1] * 4
        assert found.target.tolist() == TARGET.tolist()
    assert METHODS[2](mlp(), drawn(4, 4), TARGET).n_evaluations.tolist() == [4] * 4


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_chunks_change_nothing(method):
    x = drawn(4, 4)
    chunked = type(method)(**{**vars(method), "chunk_size": 3})
    torch.testing.assert_close(chunked(mlp(), x, TARGET).values, method(mlp(), x, TARGET).values)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_several_inputs(method):
    def model(a, b):
        return a.sum(1) * 2 + (b * b).sum(1)

    found = method(model, (torch.ones(3, 2), torch.ones(3, 4)))
    assert [part.shape for part in found.values] == [(3, 2), (3, 4)]
    torch.testing.assert_close(found.values[0], torch.full((3, 2), 2.0))


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(4)), which=st.sampled_from(METHODS))
def test_permuting_the_batch_permutes_the_explanation(order, which):
    x = drawn(4, 4)
    torch.testing.assert_close(which(mlp(), x[order], TARGET[order]).values, which(mlp(), x, TARGET).values[order])


@settings(max_examples=20, deadline=None)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), which=st.sampled_from([InputXGradient(), SmoothGrad(n_draws=3)]))
def test_linear_in_the_model(a, b, which):
    x, f, g = drawn(4, 4), mlp(), mlp(smooth=True)
    both = which(lambda z: a * f(z) + b * g(z), x, 1).values
    torch.testing.assert_close(both, a * which(f, x, 1).values + b * which(g, x, 1).values)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_a_feature_that_is_ignored_gets_zero(method):
    net = mlp()
    assert not method(lambda z: net(z * torch.tensor([1.0, 0.0, 1.0, 1.0])), drawn(4, 4), 1).values[:, 1].any()


def test_input_x_gradient_is_complete_without_biases():
    net = mlp()
    for layer in (net[0], net[2], net[4]):
        layer.bias.data.zero_()
    x = drawn(4, 4)
    torch.testing.assert_close(InputXGradient()(net, x, 2).values.sum(1), net(x)[:, 2].detach())


def test_smooth_grad_of_a_cubic_is_its_smoothed_gradient():
    # E[3 (x + e)^2] = 3 x^2 + 3 s^2; the range of (2, 0) is 2, so that s = 0.5 * 2
    found = SmoothGrad(noise=0.5, n_draws=20_000, chunk_size=4096)(
        lambda z: (z**3).sum(1), torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    )
    torch.testing.assert_close(found.values, torch.tensor([[15.0, 3.0]], dtype=torch.float64), rtol=0.03, atol=0.05)


def test_smooth_grad_error_foretells_the_distance_to_the_limit():
    net, x = mlp(), drawn(40, 4)
    limit = SmoothGrad(n_draws=5_000, seed=9, chunk_size=8000)(net, x, 1).values
    found = SmoothGrad(n_draws=25)(net, x, 1)
    true = (found.values - limit).abs().sum(1) / limit.abs().sum(1)
    assert 0.4 < float(true.mean() / found.error.mean()) < 2.0


def test_smooth_grad_is_seeded_and_independent_of_the_global_state():
    x = drawn(4, 4)
    first = SmoothGrad()(mlp(), x, 1).values
    torch.manual_seed(123)
    assert torch.equal(SmoothGrad()(mlp(), x, 1).values, first)
    assert not torch.equal(SmoothGrad(seed=1)(mlp(), x, 1).values, first)


def test_smooth_grad_without_noise_is_the_gradient():
    net, x = mlp(), drawn(4, 4)
    found = SmoothGrad(noise=0, n_draws=2)(net, x, 1)
    torch.testing.assert_close(found.values.abs(), Saliency()(net, x, 1).values)
    assert not found.error.any()
    assert bool(SmoothGrad(n_draws=1)(net, x, 1).error.isnan().all())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_draws": 0}, "n_draws=0"), ({"noise": -1.0}, "noise=-1.0"), ({"chunk_size": 0}, "chunk_size=0")],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        SmoothGrad(**options)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_errors(method):
    with pytest.raises(ConfigurationError, match=r"dtype torch\.int64"):
        method(mlp(), torch.ones(2, 4, dtype=torch.long), 0)
    with pytest.raises(ConfigurationError, match="class index 7"):
        method(mlp(), drawn(2, 4), 7)
    with pytest.raises(ExplanationError, match="NaN or infinite"):
        method(lambda z: (z - z).sum(1).sqrt(), drawn(2, 4))
    with pytest.raises(ExplanationError, match="does not depend"):
        method(lambda z: z.detach().sum(1), drawn(2, 4))


def test_works_under_inference_mode_and_for_one_number_per_sample():
    with torch.inference_mode():
        x = torch.rand(3)
        found = Saliency()(lambda z: z * 2, x)
        assert InputXGradient()(nn.Linear(3, 1), torch.rand(2, 3)).values.shape == (2, 3)
    assert found.values.tolist() == [2, 2, 2]
