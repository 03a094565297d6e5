"""Base class of the monitors that explain class scores: looks in the first step whether the loss reads them as such."""

from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.callbacks.base.explanation_monitor import E, ExplanationMonitor, H
from lightning_explain.callbacks.class_scores.first_step import FirstStep
from lightning_explain.callbacks.class_scores.output_check import NO_SCORES, n_classes_of


class ScoresMonitor(ExplanationMonitor[E, H]):
    """Explains the output of each sample's class, and warns where the first loss reads other scores or other labels.

    Args:
        options: The options of `ExplanationMonitor`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._first_step = FirstStep(self.question, self._guard, self._schedule.stopwatch)

    @property
    def _takes_outputs_for_classes(self) -> bool:
        """True if output i is explained for class i: the label of each sample."""
        return self.explained == "label" and self.probe is not None and n_classes_of(self.probe) is not None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe, try the model with it, and explain the network before training if the run begins here."""
        super().on_train_start(trainer, pl_module)
        self._first_step.begin_run(wanted=self._takes_outputs_for_classes)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listen to the first step."""
        del trainer, batch_idx
        self._first_step.begin(pl_module, batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Follow the loss of the first step back to the module's output."""
        self._first_step.before_backward(trainer, pl_module, loss)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say after the first step if the loss read other scores; explain after every n-th step."""
        before = self._first_step.no_scores
        self._first_step.end(pl_module)
        if self._first_step.no_scores and not before:
            self._tell_other_scores(pl_module)
        self._tell_other_labels(waiting=False)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _explained(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> E | None:
        """Say if the first loss used other labels, where that had to wait; explain the probe."""
        self._tell_other_labels(waiting=True)
        return super()._explained(trainer, pl_module, step)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop listening, and end the fit."""
        self._first_step.interrupt()
        super().on_exception(trainer, pl_module, exception)

    def _tell_other_scores(self, pl_module: pl.LightningModule) -> None:
        self._guard.note(
            f"what {type(pl_module).__name__}.forward returns is explained, output i for class i, but "
            f"{self._first_step.no_scores}. Choose the scores with forward_fn=, e.g. forward_fn=lambda module, x: "
            "module.head(module(x)), or with output=; if these are class scores all the same, say so with "
            "output=lambda out: out.",
            about=NO_SCORES,
        )

    def _tell_other_labels(self, *, waiting: bool) -> None:
        found = self._first_step.relabelling(waiting=waiting)
        if found is not None and found.pairs:
            self._guard.note(
                f"output i is explained for label i, but {found.in_words}, so not every class is explained by its own "
                f"output. Give the classes of the loss: {found.remedy}."
            )
