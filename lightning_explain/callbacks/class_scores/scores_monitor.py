"""Base class of the monitors that explain class scores: looks in the first step whether the loss reads them as such."""

from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.callbacks.base.explanation_monitor import E, ExplanationMonitor, H
from lightning_explain.callbacks.class_scores.loss_evidence import LossEvidence
from lightning_explain.callbacks.class_scores.output_check import NO_SCORES, n_classes_of


class ScoresMonitor(ExplanationMonitor[E, H]):
    """Explains the output of each sample's class, and warns where the first loss reads other scores.

    Args:
        options: The options of `ExplanationMonitor`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._evidence = LossEvidence(self.question)
        self._evidence_wanted = False

    @property
    def _takes_outputs_for_classes(self) -> bool:
        """Whether output i is explained for class i without the user having chosen what is explained."""
        free = self.question.output is None and self.question.forward_fn is None
        return free and self.explained == "label" and self.probe is not None and n_classes_of(self.probe) is not None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe, try the model with it, and explain the network before training if the run begins here."""
        super().on_train_start(trainer, pl_module)
        self._evidence_wanted = self._takes_outputs_for_classes

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listen to the first step."""
        del trainer, batch_idx
        if self._evidence_wanted:
            with self._schedule.stopwatch.spending(), self._guard.doing("listening to the first training step"):
                self._evidence.attach(pl_module, batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Look where the loss of the first step reads what the module returned."""
        if self._evidence_wanted:
            # under manual optimisation the step still runs, and has returned nothing yet
            redirected = pl_module.automatic_optimization and trainer.strategy.model is not trainer.lightning_module
            with self._schedule.stopwatch.spending(), self._guard.doing("reading the graph of the first loss"):
                self._evidence.read(loss, redirected=redirected)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say after the first step if the loss read other scores; explain after every n-th step."""
        if self._evidence_wanted:
            self._evidence_wanted = False
            weight = self._evidence.weight()
            self._evidence.detach()
            if weight is not None:
                self._tell_other_scores(pl_module, weight)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop listening, and end the fit."""
        self._evidence.detach()
        super().on_exception(trainer, pl_module, exception)

    def _tell_other_scores(self, pl_module: pl.LightningModule, weight: Tensor) -> None:
        name = next((name for name, own in pl_module.named_parameters() if own is weight), "a weight matrix")
        self._guard.note(
            f"what {type(pl_module).__name__}.forward returns is explained, output i for class i, but the loss does "
            f"not read it as class scores: every way to it leads through {name}, a trained matrix, as with an "
            "embedding that another layer turns into scores. Choose the scores with forward_fn=, e.g. "
            "forward_fn=lambda module, x: module.head(module(x)), or with output=; if these are class scores all the "
            "same, say so with output=lambda out: out.",
            about=NO_SCORES,
        )
