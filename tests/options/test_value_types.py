"""Values of another type than an option's annotation are refused when a method, a rule or an option is made."""

from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain import DriftAlert, Probe, Strategies
from lightning_explain.attribution import (
    LRP,
    AtEmbedding,
    EpsilonRule,
    GammaRule,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    Saliency,
    SmoothGrad,
    ZBoxRule,
)
from lightning_explain.attribution.foreign import CaptumMethod
from lightning_explain.attribution.lrp.composites import Epsilon
from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars.exemplar_options import Exemplars
from lightning_explain.options.value_types import check_fields


def made(options: Any, **given: Any) -> Any:
    """Make an instance without its constructor: under pytest beartype refuses the values before."""
    defaults = {field.name: field.default for field in fields(options) if field.default is not MISSING}
    made = object.__new__(options)
    vars(made).update({**defaults, **given})
    made.__post_init__()
    return made


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (
        LRP,
        {"rules": "epsilon"},
        r"rules='epsilon'; expected Composite\(...\), a mapping or None. Composites are",
    ),
    (LRP, {"rules": Epsilon}, "expected Composite"),
    (LRP, {"rules": EpsilonRule()}, r"rules=EpsilonRule\(epsilon=1e-06\); expected Composite"),
    (
        LRP,
        {"rules": {5: EpsilonRule()}},
        "rules have 5 as key; expected a layer's type, such as nn.Linear",
    ),
    (LRP, {"rules": {nn.Linear(1, 1): EpsilonRule()}}, "rules have a Linear as key"),
    (LRP, {"rules": {"head": "epsilon"}}, "rules give 'epsilon' for 'head'; expected a rule, such as EpsilonRule()"),
    (LRP, {"rules": {nn.Linear: EpsilonRule}}, r"the class EpsilonRule: write EpsilonRule\(\)"),
    (GradCAM, {"layer": 5}, r"layer=5; expected a string or None. Layers are given by their names"),
    (GradCAM, {"layer": nn.ReLU()}, r"layer=ReLU\(\); expected a string or None"),
    (LayerConductance, {"layer": nn.ReLU()}, r"layer=ReLU\(\); expected a string. Layers are given by their names"),
    (LayerConductance, {"layer": "0", "baseline": 0.5}, "baseline=0.5; expected 'zeros'"),
    (IntegratedGradients, {"n_steps": "50"}, "n_steps='50'; expected a whole number or None"),
    (IntegratedGradients, {"n_steps": 2.5}, "n_steps=2.5; expected a whole number or None"),
    (IntegratedGradients, {"tolerance": "5 %"}, "tolerance='5 %'; expected a number"),
    (IntegratedGradients, {"tolerance": float("nan")}, "tolerance=nan; expected a positive share"),
    (IntegratedGradients, {"baseline": 0.5}, r"baseline=0.5; expected 'zeros', .* e.g. torch.tensor\(0.5\)"),
    (IntegratedGradients, {"baseline": "black"}, "baseline='black'; expected 'zeros', 'mean', 'blur', 'noise'"),
    (IntegratedGradients, {"smooth": "yes"}, "smooth='yes'; expected True or False"),
    (Saliency, {"chunk_size": "8"}, "chunk_size='8'; expected a whole number or None"),
    (InputXGradient, {"chunk_size": 0.5}, "chunk_size=0.5; expected a whole number or None"),
    (SmoothGrad, {"noise": "much"}, "noise='much'; expected a number"),
    (AtEmbedding, {"method": "lrp"}, "method='lrp'; expected a callable"),
    (AtEmbedding, {"method": LRP}, r"method=LRP is a class; write LRP\(...\)"),
    (AtEmbedding, {"method": LRP(), "baseline_token": "<pad>"}, "expected a whole number or None. It is an id"),
    (EpsilonRule, {"epsilon": "small"}, "epsilon='small'; expected a number"),
    (GammaRule, {"gamma": None}, "gamma=None; expected a number"),
    (ZBoxRule, {"low": "0", "high": 1.0}, "low='0'; expected a number or a tensor"),
    (DriftAlert, {"factor": "5"}, "factor='5'; expected a number or None"),
    (DriftAlert, {"on_alert": "mail"}, "on_alert='mail'; expected a callable or None"),
    (Strategies, {"per_class": "64"}, "per_class='64'; expected a whole number"),
    (Strategies, {"samples": [1, 2]}, r"samples=\[1, 2\]; expected Probe\(...\) or None. Probe.from_dataset"),
    (Probe, {"inputs": np.zeros((2, 3))}, "expected a tensor or a tuple. torch.as_tensor"),
    (Probe, {"inputs": torch.zeros(2, 3), "targets": [0, 1]}, r"targets=\[0, 1\]; expected a tensor or None."),
    (Probe, {"inputs": torch.zeros(2, 3), "class_names": "ab"}, "class_names='ab'; expected a list"),
    (
        CaptumMethod,
        {"build": "DeepLift", "building": {}, "attributing": {}},
        "expected a callable. Give captum's",
    ),
    (Exemplars, {"k": "8"}, "k='8'; expected a whole number"),
]


@pytest.mark.parametrize(("options", "given", "expected"), REFUSED)
def test_values_of_another_type_are_refused_with_what_is_expected(
    options: Any, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        made(options, **given)


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (IntegratedGradients, {"n_steps": np.int64(8), "tolerance": np.float32(0.1)}),
        (IntegratedGradients, {"tolerance": 1, "baseline": (torch.zeros(1), torch.ones(2))}),
        (IntegratedGradients, {"baseline": torch.zeros_like}),
        (LRP, {"rules": {"head*": GammaRule(), nn.Conv2d: ZBoxRule(0, torch.ones(3, 1, 1))}}),
        (LRP, {"rules": Epsilon()}),
    ],
)
def test_what_behaves_like_the_type_is_taken(options: Any, given: dict[str, Any]) -> None:
    made(options, **given)


def test_fields_of_a_subclass_are_its_own_affair() -> None:
    @dataclass
    class Base:
        n: int = 1

    @dataclass
    class Own(Base):
        more: "Unknown" = None  # pyright: ignore[reportUndefinedVariable] # noqa: F821

    check_fields(Own(n=2), Base)
    own = Own()
    own.n = "2"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ConfigurationError, match="n='2'; expected a whole number"):
        check_fields(own, Base)
