"""The class scores of the batches that a neuron monitor counts: which tensor they are, and how good they are."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.batches import input_of
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.class_metrics import (
    ClassMetrics,
    ClassScores,
    outside_probabilities,
    predicted_classes,
    verdict,
)
from lightning_explain.callbacks.class_scores.first_step import FirstStep
from lightning_explain.callbacks.class_scores.module_accuracies import (
    accuracy_metrics,
    held_accuracies,
    logged_accuracies,
)
from lightning_explain.callbacks.class_scores.output_hook import EXPLAINED, ScoreCatcher
from lightning_explain.callbacks.class_scores.output_source import score_sources
from lightning_explain.errors import ConfigurationError
from lightning_explain.schedule import Stopwatch

CURE = (
    "Let the validation step call self(x), with a forward() that returns the class scores; say with output= where they "
    "are in what it returns; or say with target=lambda batch: None that the labels are no classes of this model."
)


MIXED = (
    "the loss of the first training step takes other classes than the labels that its batch holds, and samples of one "
    "label for several (mixed or reordered within the step?)"
)


class NeuronScores:
    """Catches class scores step by step, and counts those of a validation against its labels.

    Args:
        question: How the explained function is reached.
        guard: For saying what does not fit.
        stopwatch: Measures the time spent.

    Attributes:
        first_step: What the first training step told of scores and labels.
    """

    def __init__(self, question: Question, guard: Guard, stopwatch: Stopwatch) -> None:
        self.first_step = FirstStep(question, guard, stopwatch)
        self._question = question
        self._guard = guard
        self._catcher = ScoreCatcher(question)
        self._counts = ClassScores()
        self._to_find = True
        self._outside: Tensor | None = None
        self._before: Mapping[str, Any] = {}
        self._updates: dict[str, int] = {}
        self._logged: dict[str, float] = {}

    def attach(self, pl_module: nn.Module) -> None:
        """Put the hooks on."""
        self._to_find, self._outside = True, None
        self._catcher.attach(pl_module)

    def detach(self) -> None:
        """Take the hooks off."""
        self._catcher.detach()

    def begin_validation(self, metrics: Mapping[str, Any], pl_module: nn.Module) -> None:
        """Forget the validation before.

        Args:
            metrics: What was logged so far.
            pl_module: The module.
        """
        self._counts.reset()
        self._catcher.differs = None
        self._updates = {name: metric.update_count for name, metric in accuracy_metrics(pl_module).items()}
        self._before, self._logged = dict(metrics), {}

    def end_validation(self, metrics: Mapping[str, Any], pl_module: nn.Module) -> None:
        """Look for accuracies that the module itself has measured since the validation began.

        Args:
            metrics: What was logged by now.
            pl_module: The module.
        """
        fresh = [name for name, value in metrics.items() if self._before.get(name) is not value]
        self._before = {}
        self._logged = logged_accuracies(metrics, fresh) | held_accuracies(pl_module, self._updates)

    def begin_batch(self, pl_module: nn.Module, batch: Any, n_classes: Callable[[], int] | None) -> None:
        """Listen; at the first batch find out what the module returns, and which of its parts return the same.

        Args:
            pl_module: The module.
            batch: As the step gets it.
            n_classes: Gives the number of classes that are known of, at the first batch; None without labels.
        """
        if self._to_find:
            self._to_find = False
            try:
                inputs = input_of(batch, self._question.input)
                parts = inputs if isinstance(inputs, tuple) else (inputs,)
                said = self._question.settle(pl_module, parts, None if n_classes is None else n_classes())
                self._catcher.know(score_sources(pl_module, batch, self._question), pl_module)
                if said:
                    self._guard.note(said)
            except Exception:  # noqa: BLE001 - a module that cannot be called so shows its scores in its steps, or not
                pass
        self._catcher.start()

    def end_batch(self, labels: Tensor | None, *, redirected: bool) -> dict[str, Tensor]:
        """Return the candidates for the class scores of this batch, by name.

        Args:
            labels: Class of each sample, if known.
            redirected: Whether the strategy called the step in the place of the module's forward.
        """
        return self._catcher.stop(None if labels is None else len(labels), redirected=redirected)

    def count(self, caught: Mapping[str, Tensor], labels: Tensor, counted: Tensor | None) -> None:
        """Count predictions against labels."""
        for name, scores in caught.items():
            self._counts.add(
                name, scores, labels.to(scores.device), None if counted is None else counted.to(scores.device)
            )

    def predicted(self, caught: Mapping[str, Tensor]) -> Tensor | None:
        """Return the predicted class of each sample; None where nothing was caught.

        Raises:
            ConfigurationError: Several tensors may hold the class scores.
        """
        if len(caught) > 1:
            raise ConfigurationError(
                f"by='prediction' needs the class scores, and any of {', '.join(caught)} may hold them. {CURE}"
            )
        if not caught:
            return None
        (scores,) = caught.values()
        # one column holds probabilities as long as none lies outside 0 to 1, which is noted without a wait
        outside = outside_probabilities(scores)
        self._outside = outside if self._outside is None else self._outside.to(outside.device) | outside
        return predicted_classes(scores, torch.where(self._outside, 0.0, 0.5))[0]

    @property
    def explained_width(self) -> int | None:
        """Columns of what the explained forward returns; None where it was not seen, or `output=` makes a choice."""
        return None if self._question.output is not None else self._counts.widths.get(EXPLAINED)

    @property
    def mixed_labels(self) -> str:
        """The evidence against the labels of training batches; empty if there is none."""
        found = self.first_step.relabelling(waiting=True)
        return MIXED if found is not None and not found.pairs else ""

    @property
    def _refuted(self) -> str:
        if self.first_step.no_scores and EXPLAINED in self._counts.widths:
            return f"they would be of what the module's forward returns, but {self.first_step.no_scores}. {CURE}"
        found = self.first_step.relabelling(waiting=True)
        if found is None or not found.pairs:
            return ""
        return (
            f"they would compare output i with label i, but {found.in_words}. Give the classes of the loss: "
            f"{found.remedy}."
        )

    def metrics(self, trainer: Any) -> ClassMetrics:
        """Return precision, recall and F1 by class of the validation; a collective call in a distributed run."""
        ranks = Ranks.of(trainer)
        exchanged = ranks.exchanged((self._counts.widths, self._logged, self._refuted))
        widths = {name: width for own, _, _ in exchanged for name, width in own.items()}
        tallies = self._counts.tallies(widths, trainer.strategy.root_device)
        _, logged, refuted = exchanged[0]
        if refuted:
            self._guard.note(f"no precision, recall and F1: {refuted}", about="no class scores")
            return {}
        explained = tallies.pop(EXPLAINED, None)
        if self._catcher.differs is not None and bool(self._catcher.differs):
            self._guard.note(
                "the validation step calls the module several times for a batch (flipped images, dropout?), with "
                "different scores: precision, recall and F1 are of the last call, not of what the step makes of all "
                "of them. For those, log metrics of your own.",
                about="several calls",
            )
        found = verdict(explained, tallies, logged, named=self._question.output is not None)
        if found.why_not:
            problem = "" if widths else self._catcher.problem
            self._guard.note(
                f"no precision, recall and F1: {problem or f'{found.why_not}. {CURE}'}",
                about="no class scores",
            )
        return found.metrics
