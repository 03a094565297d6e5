"""Explanations of four samples of two classes by given attributions, small enough to be worked out by hand."""

from typing import Any

import torch
from torch import Tensor

from lightning_explain import InputXGradient, IntegratedGradients, Probe
from lightning_explain.attribution import Attribution
from lightning_explain.callbacks.attribution.comparison import Comparison
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.methods import Methods
from lightning_explain.drift import ComparableExplanation, Drift, drift

VALUES = torch.tensor([[1.0, -1.0, 2.0], [0.0, 3.0, 1.0], [-2.0, 0.0, 2.0], [4.0, 0.0, 0.0]])
SCORES = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 1.0], [0.0, 3.0]])
LABELS = torch.tensor([0, 0, 1, 1])
METHODS: Methods = {"IG": IntegratedGradients(tolerance=0.1), "IxG": InputXGradient()}


def attribution(values: Tensor = VALUES, **changes: Any) -> Attribution:
    n = len(values)
    given: dict[str, Any] = {
        "values": values,
        "convergence_delta": torch.zeros(n),
        "error": None,
        "target": LABELS[:n],
        "baseline": None,
        "n_evaluations": torch.tensor([8] * n),
        "coarse": None,
    }
    return Attribution(**given | changes)


def explanation(step: int = 20, scores: Tensor = SCORES, **attributions: Attribution) -> Explanation:
    found = attributions or {"IG": attribution()}
    return Explanation(step=step, scores=scores, attributions=found, faithfulness={}, primary="IG")


def moved(now: Attribution, before: Attribution, *measures: str) -> Drift:
    return drift(ComparableExplanation.of(now), ComparableExplanation.of(before), measures or ("cosine",))


def comparison(found: Explanation | None = None, **changes: Any) -> Comparison:
    given: dict[str, Any] = {
        "explanation": found or explanation(),
        "drifts": {},
        "references": {"previous": "the previous one", "first": "the first one"},
        "agreement": {},
    }
    return Comparison(**given | changes)


def small_probe(**changes: Any) -> Probe:
    given: dict[str, Any] = {
        "inputs": torch.rand(4, 3, generator=torch.Generator().manual_seed(0)),
        "targets": LABELS,
        "class_names": ["cat", "dog"],
        "feature_names": ["a", "b", "c"],
    }
    return Probe(**given | changes)
