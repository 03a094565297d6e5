"""Comparison of an explanation with those before it and those of other methods: drift and agreement."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lightning_explain.callbacks.attribution.compare_with import Comparisons
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.history import Drifts, History
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.drift import ComparableExplanation, agreement, can_agree


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An explanation, and what comparing it brought to light.

    Attributes:
        explanation: The explanation.
        drifts: Drift of each method against its previous, its first and the user's named explanations.
        references: What each of these is, in words that go on "how far the explanation is from".
        agreement: Rank correlation of each pair of methods, per sample [batch].
    """

    explanation: Explanation
    drifts: dict[str, Drifts]
    references: dict[str, str]
    agreement: dict[tuple[str, str], Tensor]

    @property
    def primary_drifts(self) -> Drifts:
        """The first method's drift."""
        return self.drifts.get(self.explanation.primary, {})


def compare(
    explanation: Explanation,
    history: History,
    *,
    full_names: Mapping[str, str],
    measures: tuple[str, ...],
    guard: Guard,
    comparisons: Comparisons,
) -> Comparison:
    """Compare an explanation with what is remembered, and remember it.

    Args:
        explanation: The explanation.
        history: What is remembered; the explanation is added.
        full_names: Full name of each method, under which it is remembered.
        measures: Drift measures.
        guard: What fails for one method is reported once, and leaves the others alone.
        comparisons: What the user wants to compare with, beside the previous and the first.
    """
    now = {name: ComparableExplanation.of(found) for name, found in explanation.attributions.items()}
    drifts: dict[str, Drifts] = {}
    references = {"previous": "the previous one", "first": "the first one", **comparisons.words}
    for name, comparable in now.items():
        memory = history.of(full_names[name])
        references |= {named: f"that of {kept.words}" for named, kept in memory.named.items()}
        with guard.doing(f"measuring the drift of {name}"):
            drifts[name] = memory.drifts(comparable, measures)
        memory.add(comparable)
    comparisons.remember_steps(explanation, history=history, full_names=full_names)
    history.count += 1
    agreements: dict[tuple[str, str], Tensor] = {}
    for (a, one), (b, other) in itertools.combinations(now.items(), 2):
        if can_agree(one.fine, other.fine):
            with guard.doing(f"measuring the agreement of {a} and {b}"):
                agreements[a, b] = agreement(one.fine, other.fine)
        else:
            guard.note(
                f"the agreement of {a} and {b} is not measured: their attributions have the shapes {one.fine.shapes} "
                f"and {other.fine.shapes}, so their features cannot be set side by side."
            )
    return Comparison(explanation=explanation, drifts=drifts, references=references, agreement=agreements)
