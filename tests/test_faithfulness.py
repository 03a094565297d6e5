import warnings

import captum.metrics
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_explain.attribution import (
    Attribution,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
)
from lightning_explain.drift.similarity import spearman
from lightning_explain.errors import ConfigurationError, ExplanationError, ExplanationWarning
from lightning_explain.faithfulness import (
    FAITHFULNESS,
    Claim,
    cascading_randomisation,
    deletion,
    examine,
    infidelity,
    insertion,
    mass_in_mask,
    max_sensitivity,
)
from lightning_explain.faithfulness.robustness import gaussian_perturbation

TARGET = torch.tensor([0, 2, 1, 1])


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double().eval()


def convnet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        return nn.Sequential(*layers).double().eval()


# deletion and insertion


def test_deletion_and_insertion_by_hand():
    def model(x):
        return x @ torch.tensor([4.0, 2.0, 1.0, 1.0])

    x, values = torch.ones(1, 4), torch.tensor([[4.0, 2.0, 1.0, 0.5]])
    gone = deletion(model, x, None, values, n_steps=4, scale="output")
    back = insertion(model, x, None, values, n_steps=4, scale="output")
    assert gone.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert gone.scores.tolist() == [[8, 4, 2, 1, 0]]
    assert back.scores.tolist() == [[0, 4, 6, 7, 8]]
    # trapezoid: (8/2 + 4 + 2 + 1 + 0/2) / 4 and (0/2 + 4 + 6 + 7 + 8/2) / 4
    assert (gone.auc.item(), back.auc.item()) == (2.75, 5.25)


def test_baseline_fills_the_place():
    options = {"baseline": torch.tensor([5.0, 7.0]), "n_steps": 2, "scale": "output"}
    gone = deletion(lambda x: x.sum(1), torch.ones(1, 2), None, torch.tensor([[0.0, 1.0]]), **options)
    assert gone.scores.tolist() == [[2, 8, 12]]


def test_scores_are_probabilities():
    x = drawn(4, 4)
    curve = deletion(net(), x, TARGET, x, n_steps=2)
    torch.testing.assert_close(curve.scores[:, 0], net()(x).softmax(1).gather(1, TARGET[:, None])[:, 0].detach())
    single = deletion(lambda z: z.sum(1, keepdim=True), x, None, x, n_steps=2)
    torch.testing.assert_close(single.scores[:, 0], x.sum(1).sigmoid())


def test_pixels_go_with_all_channels_in_the_order_of_their_sum():
    seen = []

    def model(z):
        seen.append(z)
        return z.sum((1, 2, 3))

    x = torch.ones(1, 2, 1, 3)
    values = torch.tensor([[[[9.0, 0.0, 4.0]], [[-9.0, 1.0, 4.0]]]])
    deletion(model, x, None, values, n_steps=3, scale="output")
    assert [z[0, :, 0].tolist() for z in seen] == [
        [[1, 1, 1]] * 2, [[1, 1, 0]] * 2, [[1, 0, 0]] * 2, [[0, 0, 0]] * 2,
    ]  # fmt: skip


def test_one_channel_maps_serve_images():
    x = drawn(4, 2, 6, 6)
    found = GradCAM()(convnet(), x, TARGET)
    assert deletion(convnet(), x, TARGET, found).scores.shape == (4, 21)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(4)), chunk_size=st.sampled_from([None, 1, 3]))
def test_permuting_the_batch_permutes_the_curves(order, chunk_size):
    x, values = drawn(4, 4), drawn(4, 4, seed=2)
    whole = insertion(net(), x, TARGET, values)
    found = insertion(net(), x[order], TARGET[order], values[order], chunk_size=chunk_size)
    torch.testing.assert_close(found.auc, whole.auc[order])


def test_a_true_explanation_beats_its_opposite():
    x = drawn(50, 4)
    values = IntegratedGradients(n_steps=20)(net(), x, 1).values
    assert deletion(net(), x, 1, values).auc.mean() < deletion(net(), x, 1, -values).auc.mean()
    assert insertion(net(), x, 1, values).auc.mean() > insertion(net(), x, 1, -values).auc.mean()


# infidelity and sensitivity


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
    x, s = torch.tensor([[0.7]], dtype=torch.float64), 0.3

    def square(z):
        return z.square().sum(1)

    def noise(inputs, generator):
        return s * torch.randn(inputs.shape, generator=generator).to(inputs.dtype)

    slope = float(infidelity(square, x, None, 2 * x, perturb=noise, n_draws=20000))
    assert slope == pytest.approx(3 * s**4, rel=0.1)
    contribution = IntegratedGradients(n_steps=8)(square, x)
    mean_slope = float(infidelity(square, x, None, contribution, baseline="zeros", perturb=noise, n_draws=20000))
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
    found = max_sensitivity(Saliency(), lambda z: z[:, 0] ** 2, torch.tensor([[4.0]]), radius=0.5, n_draws=2000)
    assert 0.12 < found.item() <= 0.125
    assert max_sensitivity(Saliency(), lambda z: z[:, 0] * 0, torch.ones(1, 1)).isnan().all()


# masks


def test_mass_in_mask_by_hand():
    values = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    mask = torch.tensor([[[True, True], [False, False]]])
    found = mass_in_mask(values, mask)
    assert found[0].item() == 0.5
    assert found[1].isnan()
    assert mass_in_mask(values[:1], torch.tensor([[[[0.5, 0.0], [1.0, 0.0]]]])).item() == pytest.approx(3.5 / 6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_mass_inside_and_outside_make_one(seed):
    values = drawn(3, 2, 4, 5, seed=seed)
    mask = drawn(3, 4, 5, seed=seed + 1) > 0
    inside = mass_in_mask(values, mask)
    torch.testing.assert_close(inside + mass_in_mask(values, ~mask), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(mass_in_mask(-3 * values, mask), inside)


def test_mass_takes_attributions():
    x = drawn(4, 4)
    found = Saliency()(net(), x, TARGET)
    assert torch.equal(mass_in_mask(found, torch.ones(1, 4)), torch.ones(4, dtype=torch.float64))


# randomisation


def test_rank_correlation_agrees_with_scipy():
    a, b = drawn(20, 30).round(decimals=1), drawn(20, 30, seed=2).round(decimals=1) + drawn(20, 30)
    expected = [scipy.stats.spearmanr(p, q).statistic for p, q in zip(a, b, strict=True)]
    torch.testing.assert_close(spearman(a, b), torch.tensor(expected, dtype=torch.float32))
    assert spearman(torch.ones(1, 3), torch.tensor([[1.0, 2.0, 3.0]])).isnan().all()


def test_randomisation_goes_from_the_top_and_forgets_the_model():
    x = drawn(200, 4)
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check = cascading_randomisation(InputXGradient(), model, x, 1)
    assert check.layers == ("4", "2", "0")
    assert check.spearman.shape == check.spearman_absolute.shape == (3, 200)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = cascading_randomisation(InputXGradient(), net(), x, 1)
    assert torch.equal(check.spearman, again.spearman)
    other = cascading_randomisation(InputXGradient(), net(), x, 1, seed=1)
    assert not torch.equal(check.spearman, other.spearman)


def test_an_explanation_that_ignores_the_model_survives():
    def constant(model, x, target):
        return Saliency()(lambda z: (z**2).sum(1), x)

    check = cascading_randomisation(constant, net(), drawn(5, 4), 1)
    torch.testing.assert_close(check.spearman, torch.ones(3, 5))


def test_signs_are_told_apart():
    class Flipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, -1.0], dtype=torch.float64))

        def forward(self, x):
            return (x**2).sum(1) * self.weight.sign()[0]

    seeds = range(20)
    checks = [cascading_randomisation(InputXGradient(), Flipped(), drawn(3, 4), seed=seed) for seed in seeds]
    assert {round(float(check.spearman[0, 0])) for check in checks} == {-1, 1}
    assert all(round(float(check.spearman_absolute[0, 0])) == 1 for check in checks)


def test_layers_cascade_and_shared_parameters_change_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x).tanh()).sum(1)

    weights = []

    def method(model, x, target):
        weights.append(model.a.weight.detach().clone())
        return InputXGradient()(model, x, target)

    check = cascading_randomisation(method, Tied(), drawn(3, 4).float())
    assert check.layers == ("b", "a")
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])


def test_chosen_layers_and_steps_build_on_each_other():
    states = []

    def method(model, x, target):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return Saliency()(model, x, target)

    assert cascading_randomisation(method, net(), drawn(3, 4), 1, layers=["0", "4"]).layers == ("4", "0")
    changed = [
        {name.partition(".")[0] for name in state if not torch.equal(state[name], states[0][name])} for state in states
    ]
    assert changed == [set(), {"4"}, {"4", "0"}]


# errors

X = drawn(4, 4)
SEVERAL = Attribution(values=(X, X), convergence_delta=None, error=None, target=None, baseline=None, n_evaluations=X)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: deletion(net(), X, 1, X[:, :3]), r"shape \[4, 3\], the inputs \[4, 4\]"),
        (lambda: deletion(net(), X, 1, X[:2]), "expected the same"),
        (lambda: deletion(net(), X, 1, X, n_steps=0), "n_steps=0"),
        (lambda: deletion(net(), X, 9, X), "class index 9"),
        (lambda: insertion(net(), X, 1, SEVERAL), "has 2 parts"),
        (lambda: infidelity(net(), X, 1, X[:, :1]), "one value for each feature"),
        (lambda: infidelity(net(), X, 1, X, n_draws=0), "n_draws=0"),
        (lambda: max_sensitivity(Saliency(), net(), X, 1, radius=0), "radius=0"),
        (lambda: mass_in_mask(X, torch.ones(3)), r"mask has shape \[3\]"),
        (lambda: mass_in_mask(drawn(2, 3, 4, 4), torch.ones(4, 4)), r"mask\[None\]"),
        (lambda: mass_in_mask(X, torch.full((4, 4), 255)), "values from 255"),
        (lambda: cascading_randomisation(Saliency(), nn.Tanh(), X), "no parameters"),
        (lambda: cascading_randomisation(Saliency(), net(), X, 1, layers="1"), "layers='1' holds no parameters"),
    ],
)
def test_errors(run, message):
    with pytest.raises(ConfigurationError, match=message):
        run()


def test_a_model_that_cannot_be_copied_is_refused():
    model = net()
    model.stash = (model[0].weight * 2).sum()
    with pytest.raises(ConfigurationError, match="cannot be copied"):
        cascading_randomisation(Saliency(), model, X, 1)


def test_nan_scores_are_refused():
    with pytest.raises(ExplanationError, match="NaN"):
        deletion(lambda z: z.sum(1) * torch.nan, X, None, X)
    with pytest.raises(ExplanationError, match="NaN"):
        infidelity(lambda z: z.sum(1) * torch.nan, X, None, X)


# by name


def claimed(method, model=None, **options):
    model = model or net()
    x = drawn(4, 4)
    return Claim(method=method, model=model, inputs=x, target=TARGET, attribution=method(model, x, TARGET), **options)


def test_every_measure_by_name_is_the_function_of_that_name():
    method = IntegratedGradients(n_steps=20, baseline=drawn(1, 4, seed=5))
    claim = claimed(method, removal_baseline="mean")
    arguments = (claim.model, claim.inputs, TARGET, claim.attribution)
    check = cascading_randomisation(method, claim.model, claim.inputs, TARGET)
    expected = {
        "deletion_auc": deletion(*arguments, baseline="mean").auc,
        "insertion_auc": insertion(*arguments, baseline="mean").auc,
        "infidelity": infidelity(*arguments, baseline=drawn(1, 4, seed=5)),
        "max_sensitivity": max_sensitivity(method, claim.model, claim.inputs, TARGET),
        "randomisation": check.spearman[-1],
        "randomisation_absolute": check.spearman_absolute[-1],
    }
    found = {}
    for measure in FAITHFULNESS:
        found |= examine(claim, measure)
    assert found.keys() == expected.keys()
    for figure, values in expected.items():
        torch.testing.assert_close(found[figure], values, msg=figure)


def test_slopes_are_tested_as_slopes_and_contributions_as_contributions():
    def linear(z):
        return z @ drawn(4, seed=9)

    x = drawn(3, 4)
    for method in (SmoothGrad(n_draws=2), InputXGradient(), IntegratedGradients(n_steps=4, baseline="mean")):
        claim = Claim(method=method, model=linear, inputs=x, target=None, attribution=method(linear, x))
        assert examine(claim, "infidelity")["infidelity"].max() < 1e-12, method


def test_a_single_output_is_measured_as_it_is():
    def steep(z):
        return 1e3 * z.sum(1)

    x = drawn(3, 4).abs()
    claim = Claim(method=InputXGradient(), model=steep, inputs=x, target=None, attribution=InputXGradient()(steep, x))
    assert examine(claim, "insertion")["insertion_auc"].min() > 100


def test_a_function_has_no_weights_to_lose():
    def total(z):
        return z.sum(1)

    x = drawn(3, 4)
    claim = Claim(method=Saliency(), model=total, inputs=x, target=None, attribution=Saliency()(total, x))
    with pytest.raises(ConfigurationError, match="randomisation needs a module"):
        examine(claim, "randomisation")


def test_an_unknown_measure_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="honesty.*expected some of.*deletion"):
        examine(claimed(InputXGradient()), "honesty")


def test_what_a_method_says_of_randomised_nets_is_not_passed_on():
    def talkative(model, inputs, target):
        warnings.warn("not converged", ExplanationWarning, stacklevel=1)
        return Saliency()(model, inputs, target)

    x = drawn(4, 4)
    found = Saliency()(net(), x, TARGET)
    claim = Claim(method=talkative, model=net(), inputs=x, target=TARGET, attribution=found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for measure in ("randomisation", "max_sensitivity"):
            examine(claim, measure)
