"""Infidelity and sensitivity against captum, closed forms, and by hand."""

import captum.metrics
import pytest
import torch

from lightning_explain.attribution import InputXGradient, IntegratedGradients, Saliency
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.faithfulness import infidelity, max_sensitivity
from lightning_explain.faithfulness.robustness import gaussian_perturbation
from tests.faithfulness.nets import TARGET, X, drawn, net


@pytest.mark.parametrize("rescale", [False, True])
def test_infidelity_agrees_with_captum(rescale):
    x = drawn(4, 4)
    values = Saliency()(net(), x, TARGET).values
    generator = torch.Generator().manual_seed(0)
    steps = torch.stack([gaussian_perturbation(x, generator) for _ in range(10)])

    def perturb(inputs):
        # captum asks for all draws at once, sample by sample
        rows = steps.transpose(0, 1).flatten(0, 1)
        return rows, inputs - rows

    expected = captum.metrics.infidelity(
        net(), perturb, x, values, target=TARGET, n_perturb_samples=10, normalize=rescale
    )
    torch.testing.assert_close(infidelity(net(), x, TARGET, values, rescale=rescale), expected.detach())


def test_infidelity_by_hand():
    # F = x^2 at 3, I = 1 and slope 6: foretold 6, real 9 - 4 = 5
    found = infidelity(
        lambda z: z[:, 0] ** 2,
        torch.tensor([[3.0]]),
        None,
        torch.tensor([[6.0]]),
        perturb=lambda z, _: torch.ones_like(z),
    )
    assert found.tolist() == [1.0]


def test_infidelity_takes_the_factor_of_the_way_back():
    x, weights = drawn(4, 4), drawn(4, 1)
    values = IntegratedGradients("mean", n_steps=4)(lambda z: z @ weights, x)

    def linear(z):
        return z @ weights

    torch.testing.assert_close(
        infidelity(linear, x, None, values, baseline="mean"), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert bool((infidelity(linear, x, None, values) > 1e-3).all())
    at_baseline = infidelity(linear, torch.zeros(1, 4).double(), None, torch.zeros(1, 4).double(), baseline="zeros")
    assert at_baseline.isfinite().all()


def test_infidelity_of_an_exact_explanation_is_what_the_score_bends_within_the_noise():
    torch.manual_seed(0)
    # every row is perturbed for itself: 20,000 draws of one sample
    x, s = torch.full((2000, 1), 0.7, dtype=torch.float64), 0.3

    def square(z):
        return z.square().sum(1)

    def noise(inputs, generator):
        return s * torch.randn(inputs.shape, generator=generator).to(inputs.dtype)

    slope = float(infidelity(square, x, None, 2 * x, perturb=noise).mean())
    assert slope == pytest.approx(3 * s**4, rel=0.1)
    contribution = IntegratedGradients(n_steps=8)(square, x)
    mean_slope = float(infidelity(square, x, None, contribution, baseline="zeros", perturb=noise).mean())
    assert mean_slope == pytest.approx(3 * s**4 + s**2 * 0.7**2, rel=0.1)
    # towards the baseline it is the completeness gap, squared
    gap = infidelity(square, x, None, contribution, baseline="zeros", perturb=lambda z, _: z.clone(), n_draws=1)
    torch.testing.assert_close(gap, contribution.convergence_delta.square(), atol=1e-12, rtol=1e-6)


def test_rescaled_infidelity_does_not_know_the_scale():
    x = drawn(4, 4)
    values = Saliency()(net(), x, TARGET).values
    torch.testing.assert_close(
        infidelity(net(), x, TARGET, 7 * values, rescale=True), infidelity(net(), x, TARGET, values, rescale=True)
    )


def test_max_sensitivity_agrees_with_captum():
    x, radius = drawn(4, 4), 0.1
    method = InputXGradient()
    generator = torch.Generator().manual_seed(0)
    moves = torch.stack([radius * (2 * torch.rand((1, 4), generator=generator) - 1) for _ in range(10)]).double()

    def perturb(inputs, perturb_radius):
        return (inputs.reshape(4, 10, 4) + moves.squeeze(1)).flatten(0, 1)

    def explain(given, **_):
        # captum calls this with a tuple first, with a tensor later
        z = given[0] if isinstance(given, tuple) else given
        return (method(net(), z, TARGET.repeat_interleave(len(z) // 4)).values,)

    expected = captum.metrics.sensitivity_max(explain, x, perturb, perturb_radius=radius, n_perturb_samples=10)
    torch.testing.assert_close(max_sensitivity(method, net(), x, TARGET, radius=radius), expected)


def test_max_sensitivity_by_hand():
    # the gradient of x^2 is 2 x: it moves by at most 2 r, relative to 2 x
    found = max_sensitivity(Saliency(), lambda z: z[:, 0] ** 2, torch.tensor([[4.0]]), radius=0.5, n_draws=200)
    assert 0.12 < found.item() <= 0.125
    assert max_sensitivity(Saliency(), lambda z: z[:, 0] * 0, torch.ones(1, 1)).isnan().all()


def test_nan_scores_are_refused():
    with pytest.raises(ExplanationError, match="NaN"):
        infidelity(lambda z: z.sum(1) * torch.nan, X, None, X)


def test_noise_is_a_fifth_of_each_samples_range_and_the_same_pattern_for_all():
    x = torch.tensor([[0.0, 10.0], [3.0, 4.0], [5.0, 5.0]])
    found = gaussian_perturbation(x, torch.Generator().manual_seed(0))
    pattern = torch.randn((1, 2), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, torch.cat([2 * pattern, 0.2 * pattern, 0 * pattern]))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigurationError, match="one value for each feature"):
        infidelity(net(), X, 1, X[:, :1])
    with pytest.raises(ConfigurationError, match="n_draws=0"):
        infidelity(net(), X, 1, X, n_draws=0)
    with pytest.raises(ConfigurationError, match="radius=0"):
        max_sensitivity(Saliency(), net(), X, 1, radius=0)
