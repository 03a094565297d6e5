"""The earlier explanations of an attribution monitor, for each of its methods."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightning_explain.attribution.result import Attribution
from lightning_explain.drift import ComparableExplanation, Drift, drift
from lightning_explain.drift_alert import Past
from lightning_explain.errors import ExplanationError

LONGEST_FILM = 12

Drifts = dict[str, Drift]
"""Drift against each reference: `previous`, `first`, and those that the user named."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An explanation that the user wanted kept to compare with.

    Attributes:
        description: Requested source: a checkpoint or a step, in words.
        words: What it is, in words.
        explanation: The explanation.
    """

    description: str
    words: str
    explanation: ComparableExplanation


@dataclass
class Film:
    """The film and the colour scale of one input.

    Attributes:
        columns: Step and maps of the explanations that the filmstrip shows.
        scale: Colour scale so far; it only grows, so that pictures of different steps compare.
    """

    columns: list[tuple[int, Tensor]] = field(default_factory=list[tuple[int, Tensor]])
    scale: float = 0.0

    def add(self, step: int, maps: Tensor, *, scale: float) -> None:
        """Add a column; a full strip loses every second one but the first and the last."""
        if len(self.columns) == LONGEST_FILM:
            self.columns = [*self.columns[:-1:2], self.columns[-1]]
        self.columns.append((step, maps.half()))
        self.widen(scale)

    def widen(self, *scales: float) -> None:
        """Make the colour scale at least as large as these."""
        self.scale = max(self.scale, *scales, 0.0)


@dataclass
class Memory:
    """History of one method's explanations.

    Attributes:
        count: Explanations so far.
        first: The first explanation.
        previous: The last one.
        named: Explanations that the user wanted kept, by the user's names.
        films: The film of each input, by its place.
        past: Earlier metrics, for alerts.
        contrast: The class that is subtracted for each sample, fixed for the whole run; None for none.
    """

    count: int = 0
    first: ComparableExplanation | None = None
    previous: ComparableExplanation | None = None
    named: dict[str, Kept] = field(default_factory=dict[str, Kept])
    films: dict[int, Film] = field(default_factory=dict[int, Film])
    past: Past = field(default_factory=Past)
    contrast: Tensor | None = None

    def film(self, index: int) -> Film:
        """Return the film of an input, by its place."""
        return self.films.setdefault(index, Film())

    def add(self, explanation: ComparableExplanation) -> None:
        """Remember an explanation."""
        self.first = self.first or explanation
        self.previous = explanation
        self.count += 1

    def drifts(self, now: ComparableExplanation, measures: tuple[str, ...]) -> Drifts:
        """Compare an explanation with those that are remembered."""
        return {name: drift(now, earlier, measures) for name, earlier in self.references.items()}

    @property
    def references(self) -> dict[str, ComparableExplanation]:
        """Earlier explanations to compare with: the previous one, the first and the named ones, as far as known."""
        always = {"previous": self.previous, "first": self.first}
        named = {name: kept.explanation for name, kept in self.named.items()}
        return {**{name: found for name, found in always.items() if found is not None}, **named}

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers and lists, which `torch.load(weights_only=True)` accepts."""
        return {
            "count": self.count,
            "first": None if self.first is None else _state(self.first.attribution),
            "previous": None if self.previous is None else _state(self.previous.attribution),
            "named": [
                [name, kept.description, kept.words, _state(kept.explanation.attribution)]
                for name, kept in self.named.items()
            ],
            "films": [
                [index, film.scale, [[step, maps] for step, maps in film.columns]] for index, film in self.films.items()
            ],
            "past": self.past.state_dict(),
            "contrast": self.contrast,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Memory":
        """Restore the state that `state_dict` returned."""
        return cls(
            count=state["count"],
            first=_comparable(state["first"]),
            previous=_comparable(state["previous"]),
            # checkpoints of before there were named ones have none
            named={
                name: Kept(description=description, words=words, explanation=_explained(kept))
                for name, description, words, kept in state.get("named", [])
            },
            films={
                index: Film(columns=[(step, maps) for step, maps in columns], scale=scale)
                for index, scale, columns in state["films"]
            },
            # checkpoints of before there were alerts have none
            past=Past.from_state_dict(state["past"]) if "past" in state else Past(),
            contrast=state.get("contrast"),
        )


@dataclass
class History:
    """History of a monitor; survives resume through `state_dict`.

    Attributes:
        count: Explanations so far.
        target: The explained output of each sample, fixed for the whole run.
        memories: What is remembered of each method, by its full name: a method with another baseline asks another
            question, and does not go on with this one's curve.
        caveat: A sentence that must be known to read the curve, e.g. why it restarts; empty if there is none.
        probe: Fingerprint of the probe; empty before the first explanation.
        attempted: Names of the checkpoints that were explained to compare with, or could not be; not kept in
            checkpoints.
    """

    count: int = 0
    target: Tensor | None = None
    memories: dict[str, Memory] = field(default_factory=dict[str, Memory])
    caveat: str = ""
    probe: str = ""
    attempted: set[str] = field(default_factory=set[str])

    def of(self, method: str) -> Memory:
        """Return the history of a method, by its full name."""
        return self.memories.setdefault(method, Memory())

    def knows(self, reference: str, methods: Iterable[str]) -> bool:
        """Return True if every one of these methods has an explanation kept under the user's name."""
        return all(method in self.memories and reference in self.memories[method].named for method in methods)

    def keep(self, methods: list[str]) -> None:
        """Forget all methods but these, by their full names."""
        self.memories = {name: memory for name, memory in self.memories.items() if name in methods}

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers, lists and dicts."""
        memories = {method: memory.state_dict() for method, memory in self.memories.items()}
        return {
            "count": self.count,
            "target": self.target,
            "memories": memories,
            "caveat": self.caveat,
            "probe": self.probe,
        }

    def check(self, n_samples: int) -> None:
        """Refuse a history that is no history of so many samples.

        Raises:
            ExplanationError: Some tensor in it has another number of samples.
        """
        remembered = [found.attribution for m in self.memories.values() for found in m.references.values()]
        fixed = (self.target, *(memory.contrast for memory in self.memories.values()))
        targets = [tensor for tensor in fixed if tensor is not None]
        parts = [part for attribution in remembered for part in (*attribution.parts, attribution.n_evaluations)]
        sizes = {len(tensor) for tensor in (*targets, *parts)}
        if sizes - {n_samples}:
            raise ExplanationError(f"it remembers explanations of {sorted(sizes)} samples, its probe has {n_samples}.")

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "History":
        """Restore the state that `state_dict` returned."""
        memories = {method: Memory.from_state_dict(memory) for method, memory in state["memories"].items()}
        return cls(
            count=state["count"],
            target=state["target"],
            memories=memories,
            caveat=state.get("caveat", ""),
            probe=state.get("probe", ""),
        )


def _state(attribution: Attribution) -> dict[str, Any]:
    # the baseline can be recomputed, and is as large as the values
    return {
        "values": attribution.values,
        "coarse": attribution.coarse,
        "convergence_delta": attribution.convergence_delta,
        "error": attribution.error,
        "target": attribution.target,
        "n_evaluations": attribution.n_evaluations,
        "absorbed_share": attribution.absorbed_share,
        "softmax_share": attribution.softmax_share,
        "contrast": attribution.contrast,
    }


def _comparable(state: dict[str, Any] | None) -> ComparableExplanation | None:
    return None if state is None else _explained(state)


def _explained(state: dict[str, Any]) -> ComparableExplanation:
    return ComparableExplanation.of(Attribution(baseline=None, **state))
