"""Explanations of four samples of two classes by given attributions, small enough to be computed by hand."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_explain import InputXGradient, IntegratedGradients, Probe
from lightning_explain.attribution import Attribution
from lightning_explain.batches import Inputs
from lightning_explain.callbacks.attribution.comparison import Comparison
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.methods import Methods
from lightning_explain.drift import ComparableExplanation, Drift, drift
from lightning_explain.log import Journal
from lightning_explain.render.colour import Picture
from tests.log.loggers import FakeTrainer

VALUES = torch.tensor([[1.0, -1.0, 2.0], [0.0, 3.0, 1.0], [-2.0, 0.0, 2.0], [4.0, 0.0, 0.0]])
SCORES = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 1.0], [0.0, 3.0]])
LABELS = torch.tensor([0, 0, 1, 1])
METHODS: Methods = {"IG": IntegratedGradients(tolerance=0.1), "IxG": InputXGradient()}


def attribution(values: Inputs = VALUES, **changes: Any) -> Attribution:
    n = len(values[0]) if isinstance(values, tuple) else len(values)
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


class NotingJournal(Journal):
    """Keeps what is written at a step.

    Attributes:
        images: Pictures and their descriptions by tag.
        texts: Texts by tag.
        events: Headers and sprites for the Explain tab by kind and part.
    """

    def __init__(self, step: int = 0, *, draws: bool = True) -> None:
        super().__init__(FakeTrainer([]), step)
        self.draws = draws
        self.images: dict[str, tuple[Picture, str]] = {}
        self.texts: dict[str, str] = {}
        self.events: dict[tuple[str, str], tuple[Mapping[str, Any], Picture | None]] = {}

    @property
    def shows_pictures(self) -> bool:
        return self.draws

    @property
    def shows_tab(self) -> bool:
        return self.draws

    def image(self, tag: str, picture: Picture, *, description: str = "") -> None:
        self.images[tag] = picture, description

    def text(self, tag: str, markdown: str) -> None:
        self.texts[tag] = markdown

    def tab(self, name: str, header: Mapping[str, Any], sprite: Picture | None = None, *, part: str = "") -> None:
        self.events["tab", part] = header, sprite

    def tab_probe(self, name: str, header: Mapping[str, Any], sprite: Picture | None = None, *, part: str = "") -> None:
        self.events["probe", part] = header, sprite
