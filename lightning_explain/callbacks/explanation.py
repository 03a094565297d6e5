"""One explanation of the probe: what it is, how it is made, what is remembered of earlier ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.result import Attribution
from lightning_explain.attribution.scores import check_target
from lightning_explain.batches import Inputs
from lightning_explain.callbacks.question import Question, undisturbed
from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe

LONGEST_FILM = 12


@dataclass(frozen=True)
class Explanation:
    """The probe explained at one moment of training; everything on the CPU.

    Attributes:
        step: The step it is logged at.
        attribution: The attributions.
        scores: The model's scores for the probe [batch, classes] or [batch].
    """

    step: int
    attribution: Attribution
    scores: Tensor


def _cpu(values: Inputs | None) -> Any:
    if values is None:
        return None
    if isinstance(values, tuple):
        return tuple(_cpu(part) for part in values)
    values = values.detach().cpu()
    # drift and pictures are worked out on the CPU, which is at home in 32 and 64 bits
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def on_cpu(attribution: Attribution) -> Attribution:
    """Bring an attribution to the CPU."""
    return Attribution(
        values=_cpu(attribution.values),
        convergence_delta=_cpu(attribution.convergence_delta),
        error=_cpu(attribution.error),
        target=_cpu(attribution.target),
        baseline=_cpu(attribution.baseline),
        n_evaluations=attribution.n_evaluations.cpu(),
        coarse=_cpu(attribution.coarse),
    )


def probe_scores(pl_module: nn.Module, inputs: tuple[Tensor, ...], question: Question) -> Tensor:
    """Return the model's scores for the probe, on the CPU; one forward pass, isolated."""
    with undisturbed(pl_module), torch.no_grad():
        return _cpu(question.scores(pl_module)(*(part.clone() for part in inputs)))


def explained_targets(probe: Probe, scores: Tensor, explained: str) -> Tensor | None:
    """Decide which output is explained for each probe sample: LongTensor [batch]; None for a single output.

    Args:
        probe: The probe, with its labels.
        scores: The model's scores for it.
        explained: `"label"` or `"predicted"`.

    Raises:
        ConfigurationError: The probe has no labels though the model has several outputs, a label is beyond the
            model's outputs, or the scores are no [batch, classes].
    """
    if scores.numel() == len(scores):
        return None
    if scores.ndim != 2:
        raise ConfigurationError(
            f"The model gives scores of shape {list(scores.shape)} for the probe; expected [batch, classes]. Choose a "
            "scalar per sample with output=, e.g. output=lambda scores: scores.mean(dim=(2, 3))."
        )
    if explained == "predicted":
        return scores.argmax(1)
    labels = probe.labels
    if labels is None:
        raise ConfigurationError(
            f"The model gives {scores.shape[1]} outputs, but the probe has no class labels that say which to explain. "
            "Give target= to say where a batch holds them, Probe(targets=...), or explained='predicted'."
        )
    check_target(labels, scores.shape[1])
    return labels


def explain(
    pl_module: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    method: Callable[..., Attribution],
    question: Question,
    single: bool,
    targets: Callable[[Tensor], Tensor | None],
    step: int,
) -> Explanation:
    """Explain the probe, leaving the module as found.

    Args:
        pl_module: The module.
        inputs: The probe's inputs on the module's device.
        method: The attribution method.
        question: How the explained function is reached.
        single: Whether the probe's inputs are one tensor rather than a tuple.
        targets: Says, given the scores, which output is explained for each sample.
        step: The step it is logged at.

    Cost: that of the method, and one forward pass.
    """
    with undisturbed(pl_module):
        with torch.no_grad():
            module, scores = question.module(pl_module, tuple(part.clone() for part in inputs))
        scores = _cpu(scores)
        target = targets(scores)
        indices = None if target is None else target.to(inputs[0].device)
        attribution = method(module, inputs[0] if single else inputs, indices)
    return Explanation(step, on_cpu(attribution), scores)


@dataclass
class History:
    """What a monitor remembers of earlier explanations; survives resume through `state_dict`.

    Attributes:
        count: Explanations so far.
        target: The explained output of each sample, fixed for the whole run.
        first: The first explanation.
        previous: The last one.
        film: Step and maps of the explanations that the filmstrip shows.
        scale: Colour scale so far; it only grows, so that pictures of different steps compare.
    """

    count: int = 0
    target: Tensor | None = None
    first: Attribution | None = None
    previous: Attribution | None = None
    film: list[tuple[int, Tensor]] = field(default_factory=list[tuple[int, Tensor]])
    scale: float = 0.0

    def add(self, attribution: Attribution) -> None:
        """Remember an explanation."""
        self.first = self.first or attribution
        self.previous = attribution
        self.count += 1

    def add_film(self, step: int, maps: Tensor) -> None:
        """Add a column to the filmstrip; a full one loses every second column but the first and the last."""
        if len(self.film) == LONGEST_FILM:
            self.film = [*self.film[:-1:2], self.film[-1]]
        self.film.append((step, maps.half()))

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers and lists, which `torch.load(weights_only=True)` accepts."""
        return {
            "count": self.count,
            "target": self.target,
            "first": None if self.first is None else _attribution_state(self.first),
            "previous": None if self.previous is None else _attribution_state(self.previous),
            "film": [[step, maps] for step, maps in self.film],
            "scale": self.scale,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "History":
        """Rebuild what `state_dict` returned."""
        return cls(
            count=state["count"],
            target=state["target"],
            first=None if state["first"] is None else Attribution(**_attribution_fields(state["first"])),
            previous=None if state["previous"] is None else Attribution(**_attribution_fields(state["previous"])),
            film=[(step, maps) for step, maps in state["film"]],
            scale=state["scale"],
        )


def _attribution_state(attribution: Attribution) -> dict[str, Any]:
    # the baseline can be worked out again, and is as large as the values
    return {
        "values": attribution.values,
        "coarse": attribution.coarse,
        "convergence_delta": attribution.convergence_delta,
        "error": attribution.error,
        "target": attribution.target,
        "n_evaluations": attribution.n_evaluations,
    }


def _attribution_fields(state: dict[str, Any]) -> dict[str, Any]:
    return {"baseline": None, **state}
