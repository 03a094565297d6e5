"""The reports of a monitor that counts active neurons: when they are due, and what checkpoints keep of them."""

import warnings
from typing import Any

import lightning.pytorch as pl

from lightning_explain.callbacks.base.compatibility import ComparedOptions, begins_anew, what_changed
from lightning_explain.callbacks.class_scores.output_check import n_classes_of
from lightning_explain.callbacks.neurons.counting.class_room import expected_classes
from lightning_explain.callbacks.neurons.counting.counting_monitor import CountingMonitor
from lightning_explain.callbacks.neurons.counting.watch import Profiles, Stage
from lightning_explain.callbacks.neurons.exemplars.monitor_exemplars import MonitorExemplars
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.measurements import n_samples_of
from lightning_explain.callbacks.neurons.reporter import NeuronReporter
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.log import current_step


class ReportingMonitor(CountingMonitor):
    """Reports the counts of a validation that ends a due epoch, of training where there is none.

    A subclass sets the attributes.
    """

    _probe: NeuronProbe  # pyright: ignore[reportIncompatibleVariableOverride]
    _reporter: NeuronReporter
    _exemplars: MonitorExemplars
    _compared: ComparedOptions
    _reports_validation: bool = True
    _is_reported: bool = False
    _step_reported: bool = False
    """True if training was reported within the epoch since the last validation: exemplars then are of the next one."""

    @property
    def latest(self) -> NeuronReport | None:
        """The last report: arrays by layer, and rows for tables; None before the first one."""
        return self._reporter.latest

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record per report of this process's run, as in `record.jsonl`, with the logged `scalars`."""
        return self._reporter.records

    @property
    def profiles(self) -> dict[Stage, Profiles]:
        """The last finished profile of each stage, `train` and `val`, by layer."""
        return self._reporter.builder.profiles

    @property
    def class_metrics(self) -> dict[str, list[float]]:
        """Precision, recall and F1 by class, of the last validation."""
        return self._reporter.builder.class_metrics

    @property
    def class_figures(self) -> dict[str, list[float]]:
        """Former name of `class_metrics`."""
        warnings.warn("class_figures is called class_metrics now.", DeprecationWarning, stacklevel=2)
        return self.class_metrics

    @property
    def class_names(self) -> list[str]:
        """Names of the classes met so far: as given, or their indices."""
        return self._reporter.builder.class_names

    @property
    def active_sets(self) -> dict[str, dict[int, tuple[int, ...]]]:
        """Indices of the active neurons by layer and class index, from the last validation (else training)."""
        profiles = self.profiles.get("val") or self.profiles.get("train") or {}
        return {layer: profile.set_indices() for layer, profile in profiles.items()}

    # -- state -------------------------------------------------------------------------------------------------

    def _current_state(self) -> dict[str, Any]:
        return {
            **self._reporter.state_dict(),
            "reported": self._schedule.last_step >= 0,
            "train_counts": self._watch.state_dict(),
            "pacing": self._schedule.state_dict(),
            "choice": self._choice.state_dict(),
            "asked": self._compared,
            "exemplars": self._exemplars.state_dict(),
        }

    def _start_over(self, caveat: str = "") -> None:
        self._reporter.start_over(caveat)
        self._probe.start_over()
        self._exemplars.start_over()

    def _resume(self, loaded: dict[str, Any]) -> None:
        """Continue with a checkpoint's history and counts, if they were counted by the same rule."""
        changed = what_changed(loaded.get("asked"), self._compared)
        counts = loaded["train_counts"]
        self._schedule.load_state_dict(loaded["pacing"])
        self._choice.load_state_dict(loaded["choice"])
        if changed:
            self._reporter.start_over(begins_anew(changed))
            self._guard.note(
                f"the checkpoint was written with {changed}, so turnover restarts, and the epochs in which neurons "
                "became active or died as well. To go on with the old ones, give the same options."
            )
            return
        self._reporter.load_state_dict(loaded)
        self._watch.load_state_dict(counts)
        self._exemplars.load_state_dict(loaded.get("exemplars"))  # checkpoints of before there were any have none
        self._is_reported = bool(loaded["reported"])

    # -- probe -------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the hooks on; resume from a checkpoint, or start a new history for a new module."""
        self._is_reported = False
        self._reporter.measurements.begin_run()
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the probe, if the validation data are known by now."""
        if self._is_reported:  # the checkpoint was written after the report of the epoch that is resumed
            self._schedule.mark(trainer)
        with self._schedule.stopwatch.spending():
            self._probe.find(trainer)
            with self._guard.doing("looking for the number of classes"):
                probe = self._probe.probe
                known = n_classes_of(probe) if probe is not None else None
                self._watch.expect_classes(expected_classes(pl_module, trainer, known or 0))
            self._exemplars.check(trainer, pl_module, self._probe.probe)

    # -- reporting ---------------------------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; log the epoch so far after every n-th step."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._reporter.measurements.budget.train(n_samples_of(batch))
        if self._schedule.due_after_step(trainer):
            self._schedule.mark_step_report(trainer)
            self._step_reported = True
            if not self._schedule.skips(trainer):
                self._schedule.start_report()
                self._reporter.report_step(trainer, pl_module)
                self._schedule.end_report()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the counts of validation; put the hooks on if `trainer.validate` runs alone."""
        if trainer.sanity_checking:
            return
        self._attach(trainer, pl_module)
        is_due = self._schedule.due_in_validation(trainer)
        self._reports_validation = is_due and not self._schedule.skips(trainer)
        if is_due and self._schedule.limit is not None:
            self._schedule.mark(trainer)  # decided together: a process that fails must not ask again alone
        self._schedule.start_report()
        collects = self._reports_validation or self._step_reported
        self._begin_validation(trainer, pl_module, wholly=collects)
        with self._guard.doing("getting ready to collect exemplars"):
            self._exemplars.begin(trainer, self._watch.validation if collects else None)
        with self._schedule.stopwatch.spending():
            self._probe.find(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Listen to the layers; collect the probe where it cannot be drawn."""
        super().on_validation_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        if trainer.sanity_checking:
            return
        if batch_idx == 0 and self._reports_validation:
            self._weights.explained(pl_module)  # averages are in place for as long as it validates
        self._probe.collect(batch)
        if self._choice.counts:
            with self._schedule.stopwatch.spending(), self._guard.doing("numbering samples for exemplars"):
                self._exemplars.begin_batch(batch, batch_idx, dataloader_idx, self._watch.batch_labels)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch, and merge its exemplars."""
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        if not trainer.sanity_checking:
            with self._schedule.stopwatch.spending(), self._guard.doing("merging exemplars"):
                self._exemplars.end_batch(pl_module, batch, self._watch.batch_labels, self._watch.layers)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the validation that ends a due epoch."""
        if trainer.sanity_checking:
            return
        self._end_validation(trainer, pl_module)
        self._probe.finish()
        if self._reports_validation:
            self._report(trainer, pl_module, step=current_step(trainer))
        elif self._step_reported:
            self._reporter.report_exemplars(trainer, pl_module, step=current_step(trainer))
        self._step_reported = False

    def _report(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, step: int, monitored: bool = True) -> None:
        """Report the stage that was counted last."""
        if self._reporter.report_epoch(trainer, pl_module, self._counted_stage, step=step, monitored=monitored):
            self._schedule.mark(trainer)
        self._schedule.end_report()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report a due epoch that no validation ended: the last one in its middle, or training where there was none."""
        self._choice.end_stage("train")
        if self._schedule.due_after_epoch(trainer):
            if self._schedule.limit is not None:
                self._schedule.mark(trainer)
            if not self._schedule.skips(trainer):
                self._schedule.start_report()
                self._report(trainer, pl_module, step=current_step(trainer, after_train_epoch=True))
        self._weights.epoch_ended(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the last epoch, if its report was skipped to stay within the budget; measure what the report lacks."""
        step = current_step(trainer, after_train_epoch=True)
        if self._schedule.n_skipped and self._schedule.reports_by_step_alone:
            self._reporter.report_step(trainer, pl_module, monitored=False)
        elif self._schedule.n_skipped:
            self._report(trainer, pl_module, step=step, monitored=False)
        self._reporter.complete(trainer, pl_module, is_current=self._is_of_last_report(trainer, pl_module))
        self._schedule.close(trainer)

    def _is_of_last_report(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Return True if the weights are still those of the last report."""
        with self._guard.doing("comparing the weights with those counted last"):
            return not self._weights.are_new(trainer, pl_module) and trainer.global_step == self._schedule.last_step
        return False
