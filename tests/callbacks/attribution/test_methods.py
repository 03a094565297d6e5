"""Names of methods: in tags, in titles and records, in descriptions, and as keys of what is remembered."""

import functools
from dataclasses import dataclass
from typing import Any

import captum.attr
import pytest
import torch

from lightning_explain import LRP, IntegratedGradients, Saliency
from lightning_explain.attribution import AtEmbedding, as_method, from_captum
from lightning_explain.callbacks.attribution.methods import described, full_name, named_methods
from lightning_explain.errors import ConfigurationError


@dataclass(frozen=True)
class Mine:
    baseline: Any = "black"
    strength: float = 1.0

    def __call__(self, model: Any, inputs: Any, target: Any = None) -> Any: ...


def plain(model: Any, inputs: Any, target: Any = None, *, factor: float = 1.0) -> Any: ...


# the keys under which checkpoints of earlier versions hold the histories of methods
KEYS = [
    (IntegratedGradients(), "IntegratedGradients (baseline: zeros)", ""),
    (IntegratedGradients(baseline="noise", seed=3), "IntegratedGradients (baseline: noise, seed 3)", ""),
    (
        IntegratedGradients(baseline=torch.zeros(9, 2), n_draws=4),
        "IntegratedGradients (baseline: tensor [9, 2], 4 draws, seed 0)",
        "",
    ),
    (LRP(), "LRP", " (no baseline)"),
    (plain, "plain", " (baseline: its own)"),
    (functools.partial(plain, factor=2.0), "plain", " (baseline: its own)"),
    (from_captum(captum.attr.DeepLift), "DeepLift", " (baseline: its own)"),
    (from_captum(captum.attr.DeepLift, baselines=torch.zeros(1, 3)), "DeepLift (baseline: tensor [1, 3])", ""),
    (AtEmbedding(), "AtEmbedding (baseline: zeros)", ""),
    (AtEmbedding(baseline_token=5), "AtEmbedding (baseline: token 5)", ""),
    (AtEmbedding(LRP()), "AtEmbedding", " (no baseline)"),
    (Mine(), "Mine (baseline: black)", ""),
    (as_method(plain, description="ours"), "plain: ours", " (baseline: its own)"),
]


@pytest.mark.parametrize(("method", "key", "without_baseline"), KEYS)
def test_full_names_and_descriptions(method: Any, key: str, without_baseline: str) -> None:
    ((name, same),) = named_methods(method).items()
    assert same is method
    assert full_name(name, method) == key
    assert described(name, method) == key + without_baseline


def test_methods_of_one_class_are_told_apart_by_the_options_in_which_they_differ() -> None:
    assert list(named_methods([Mine(), Mine(strength=2.0), Mine(baseline="white")])) == [
        "Mine",
        "Mine strength=2.0",
        "Mine baseline=white",
    ]
    assert full_name("Mine baseline=white", Mine(baseline="white")) == "Mine baseline=white"
    assert list(named_methods([functools.partial(plain, factor=2.0), functools.partial(plain, factor=3.0)])) == [
        "plain factor=2.0",
        "plain factor=3.0",
    ]


def test_a_trait_of_another_type_is_refused_where_the_method_is_given() -> None:
    class Wrong(Saliency):
        n_passes = "many"  # type: ignore[assignment]

    with pytest.raises(ConfigurationError, match="Wrong.n_passes is 'many'; expected Integral or None"):
        named_methods([Wrong()])
