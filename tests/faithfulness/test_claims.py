"""Every measure by its name."""

import warnings

import pytest
import torch

from lightning_explain.attribution import InputXGradient, IntegratedGradients, Saliency, SmoothGrad
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.faithfulness import (
    FAITHFULNESS,
    Claim,
    cascading_randomisation,
    deletion,
    examine,
    infidelity,
    insertion,
    max_sensitivity,
)
from tests.faithfulness.nets import TARGET, drawn, net


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
