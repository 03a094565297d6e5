"""The batch hooks of a monitor that counts active neurons: putting hooks on, counting batches, taking hooks off."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.callbacks.base.default_probe import flat_loaders
from lightning_explain.callbacks.base.monitor import ProbeMonitor
from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch, Stage


class CountingMonitor(ProbeMonitor):
    """Counts the active neurons of every batch of training and validation that its budget allows.

    A subclass sets the attributes.

    Attributes:
        layers: Names or globs of the watched layers; None for the default.
    """

    layers: str | Sequence[str] | None
    _watch: NeuronWatch
    _choice: BatchChoice
    _counted_stage: Stage = "train"
    """The stage whose counts are the latest of the running epoch."""

    # -- hooks on and off --------------------------------------------------------------------------------------

    def _attach(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._watch.attach(pl_module, self.layers, pl_module.device, in_half="16" in str(trainer.precision))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the hooks on; resume from a checkpoint, or start a new history for a new module."""
        self._choice.begin_run()
        self._watch.scores.first_step.begin_run(wanted=True)
        super().on_fit_start(trainer, pl_module)
        self._attach(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the hooks off; warn if the network that fit returns is not the one that was counted."""
        super().on_fit_end(trainer, pl_module)
        self._watch.detach()
        with self._guard.doing("comparing the weights with those counted last"):
            if self._weights.are_new(trainer, pl_module):
                self._guard.note(
                    "the weights were exchanged after the last epoch (averaged, say), so the last report is of the "
                    "network before that. trainer.validate(model, dataloaders=...) with this callback reports the "
                    "network that fit returned."
                )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the hooks off: teardown is not called after an interrupt."""
        super().on_exception(trainer, pl_module, exception)
        self._watch.scores.first_step.interrupt()
        self._watch.detach()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the hooks off."""
        del trainer, pl_module, stage
        self._watch.detach()

    # -- training ----------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the counts of training."""
        del pl_module
        with self._guard.doing("counting active neurons (train)"):
            self._watch.reset("train")
        self._choice.begin_stage("train", trainer)
        self._schedule.begin_epoch()
        self._counted_stage = "train"

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listen to the layers; in the first step also to how the loss reads scores and labels."""
        self._watch.scores.first_step.begin(pl_module, batch)
        loaders = flat_loaders(trainer.train_dataloader)
        self._begin_batch(pl_module, "train", batch, batch_idx, loaders[0] if len(loaders) == 1 else None)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Pause: activation checkpointing runs the layers again during the backward pass."""
        self._watch.listen(listening=False)
        self._watch.scores.first_step.before_backward(trainer, pl_module, loss)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen again under manual optimisation, where a step may go forward more than once.

        Under automatic optimisation only a closure that is called again (LBFGS) would follow, with the same batch.
        """
        del trainer
        if not pl_module.automatic_optimization and self._choice.counts:
            self._watch.listen(listening=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch."""
        del outputs, batch, batch_idx
        self._watch.scores.first_step.end(pl_module)
        self._end_batch("train", trainer)

    # -- validation --------------------------------------------------------------------------------------------

    def _begin_validation(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, wholly: bool) -> None:
        """Reset the counts of validation; `wholly` counts every batch, whatever the budget."""
        with self._guard.doing("counting active neurons (val)"):
            self._watch.reset("val")
            self._watch.scores.begin_validation(trainer.callback_metrics, pl_module)
        self._choice.begin_stage("val", trainer, wholly=wholly)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Listen to the layers."""
        if not trainer.sanity_checking:
            loaders = flat_loaders(trainer.val_dataloaders)
            loader = loaders[dataloader_idx] if dataloader_idx < len(loaders) else None
            self._begin_batch(pl_module, "val", batch, batch_idx, loader)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        del pl_module, outputs, batch, batch_idx, dataloader_idx
        if not trainer.sanity_checking:
            self._end_batch("val", trainer)

    def _end_validation(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Complete the counts of validation."""
        self._counted_stage = "val"
        with self._guard.doing("reading the accuracy that the module logged"):
            self._watch.scores.end_validation(trainer.callback_metrics, pl_module)
        self._choice.end_stage("val")

    # -- batches -----------------------------------------------------------------------------------------------

    def _begin_batch(
        self, pl_module: pl.LightningModule, stage: Stage, batch: Any, batch_idx: int, loader: Any
    ) -> None:
        if not self._choice.begin_batch(stage, batch_idx):
            return
        with self._schedule.stopwatch.spending(), self._guard.doing(f"reading the labels ({stage})"):
            self._watch.begin_batch(pl_module, stage, batch, batch_idx, loader)

    def _end_batch(self, stage: Stage, trainer: pl.Trainer) -> None:
        if self._choice.counts:
            with self._schedule.stopwatch.spending(), self._guard.doing(f"counting active neurons ({stage})"):
                # a strategy that wraps the module calls its steps in the place of its forward
                self._watch.end_batch(stage, redirected=trainer.strategy.model is not trainer.lightning_module)
        self._choice.end_batch(stage, trainer)
