"""The reports of a neuron monitor: logged, recorded and drawn, all in one place."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl

from lightning_explain.attribution import Attribution
from lightning_explain.callbacks.base.early_stopping import update_callback_metrics
from lightning_explain.callbacks.base.error_handling import CALLING, WRITING, Guard
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.callbacks.neurons.activation_maps import log_maps
from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch, Profiles, Stage
from lightning_explain.callbacks.neurons.exemplars.exemplar_pictures import log_exemplars
from lightning_explain.callbacks.neurons.exemplars.monitor_exemplars import MonitorExemplars
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.measurements import Measurements
from lightning_explain.callbacks.neurons.metrics import (
    MOST_CURVES,
    doubts,
    exemplar_scalars,
    gap_scalars,
    layer_scalars,
    log_effects,
    log_feeding,
    log_pictures,
    log_silent,
    report_scalars,
)
from lightning_explain.callbacks.neurons.overview import over_layers, telling_tags
from lightning_explain.callbacks.neurons.report_builder import Fresh, ReportBuilder
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.callbacks.neurons.tab import log_neuron_tab
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import Detail, Journal, current_step, running_epoch, tag


class NeuronReporter:
    """Logs, records and draws one monitor's reports.

    Args:
        name: The monitor's name.
        watch: Counts the neurons.
        probe: For feeding features and maps.
        guard: The monitor's error handling.
        schedule: Measures the time spent.
        choice: Knows which batches were counted.
        class_names: As given by the user; may be empty.
        feeding: Neurons of each class and layer whose feeding features are computed.
        method: Attribution method for them.
        maps: Channels that are drawn: how many, or which.
        ablation: Neurons of each layer whose ablation is measured; None for as many as the cost allows where feeding
            features are computed, else none.
        exemplars: The monitor's exemplars.
        detail: How much goes to the loggers.
        measure_every_n_reports: Reports that are measured; None for a budget of passes.

    Attributes:
        builder: Builds the reports.
        measurements: Takes what needs passes of its own.
        latest: The last report.
        records: One record per report, as in `record.jsonl`, with the logged `scalars`.

    Raises:
        ConfigurationError: A number of neurons or channels is negative.
    """

    def __init__(
        self,
        name: str,
        *,
        watch: NeuronWatch,
        probe: NeuronProbe,
        guard: Guard,
        schedule: MonitorSchedule,
        choice: BatchChoice,
        class_names: Sequence[str],
        feeding: int,
        method: Callable[..., Attribution] | None,
        maps: int | Sequence[int],
        ablation: int | None,
        exemplars: MonitorExemplars,
        detail: Detail,
        measure_every_n_reports: int | None = None,
    ) -> None:
        channels = [maps] if isinstance(maps, int) else list(maps)
        if feeding < 0 or (ablation or 0) < 0 or any(channel < 0 for channel in channels):
            raise ConfigurationError(
                f"feeding={feeding}, maps={maps}, ablation={ablation}; expected numbers from 0 on: how many neurons of "
                "each class, how many channels or which ones, how many neurons of each layer. 0 switches them off."
            )
        self.latest: NeuronReport | None = None
        self.records: list[dict[str, Any]] = []
        self._exemplars = exemplars
        self._detail = detail
        self.builder = ReportBuilder(
            watch=watch, probe=probe, choice=choice, exemplars=exemplars, class_names=class_names
        )
        self._noticed: set[str] = set()
        self._doubts = ""
        self._name = name
        self._watch, self._probe, self._guard, self._schedule = watch, probe, guard, schedule
        self._stopwatch = schedule.stopwatch
        self._maps = maps
        self._n_reports = 0
        self.measurements = Measurements(
            builder=self.builder,
            probe=probe,
            watch=watch,
            exemplars=exemplars,
            guard=guard,
            schedule=schedule,
            feeding=feeding,
            method=method,
            ablation=ablation,
            every_n_reports=measure_every_n_reports,
        )

    def start_over(self, caveat: str = "") -> None:
        """Forget all reports.

        Args:
            caveat: A sentence that must be known to read turnover from here on.
        """
        self.builder.start_over(caveat)
        self.latest, self._n_reports, self._noticed, self._doubts = None, 0, set(), ""
        self.measurements.start_over()

    def state_dict(self) -> dict[str, Any]:
        """Return the history of all reports, as plain tensors and dicts."""
        passes = self.measurements.state_dict()
        return {"histories": self.builder.state_dict(), "n_reports": self._n_reports, "passes": passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.builder.load_state_dict(state["histories"])
        self._n_reports = int(state["n_reports"])
        self.measurements.load_state_dict(state.get("passes"))  # checkpoints of before they were counted have none

    # -- logging -----------------------------------------------------------------------------------------------

    def _publish(
        self, trainer: Any, scalars: dict[str, float], profiles: Profiles, step: int, *, monitored: bool = True
    ) -> None:
        """Add metrics of all layers, and send them to the loggers and to callbacks that monitor them."""
        scalars |= over_layers(self._name, scalars, profiles)
        scalars[tag(self._name, "overhead")] = self._stopwatch.share()
        # first for callbacks that monitor them: a logger that fails must not starve an EarlyStopping
        if monitored:
            update_callback_metrics(trainer, scalars)
        with self._guard.doing("sending the metrics to the loggers", cure=WRITING):
            Journal(trainer, step).scalars(self._detail.logged(trainer, scalars, telling_tags(self._name, scalars)))

    def report_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, monitored: bool = True) -> None:
        """Log the training metrics of the epoch so far, and the maps of this step."""
        with self._stopwatch.spending(), self._guard.doing("logging training neurons"):
            profiles = self.builder.profile_training(trainer)
            scalars = layer_scalars(self._name, profiles, "train")
            self._publish(trainer, scalars, profiles, current_step(trainer), monitored=monitored)
        self._draw_maps(trainer, pl_module, current_step(trainer), f"after step {trainer.global_step}")

    def report_exemplars(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, step: int) -> None:
        """Log the exemplars of a validation within an epoch, where training is reported by step."""
        with self._stopwatch.spending(), self._guard.doing("logging exemplars"), Journal(trainer, step) as journal:
            report = self.builder.within_epoch(trainer, step=step)
            self._publish(trainer, exemplar_scalars(self._name, report), report.profiles, step)
            cards = self.measurements.cards_within_epoch(trainer, pl_module, report)
            full = self._detail.is_full
            log_exemplars(journal, self._name, cards, report, self._exemplars.display, is_full=full)

    def _published(
        self, trainer: pl.Trainer, stage: Stage, step: int, *, monitored: bool
    ) -> tuple[NeuronReport, dict[str, float]] | None:
        """Make a report and log its metrics; None if nothing was counted, or it failed."""
        with self._stopwatch.spending(), self._guard.doing("logging active neurons"):
            report = self.builder.build(trainer, stage, step=step)
            if report is None:
                return None
            scalars = report_scalars(self._name, report)
            n_scored = max((len(values) for values in report.scores.values()), default=0)
            if n_scored > MOST_CURVES:
                self._guard.note(
                    f"there are {n_scored:,} classes; precision, recall and F1 are metrics for the first "
                    f"{MOST_CURVES}. The record has them all, as has monitor.latest.",
                    about="curves of many classes",
                )
            if stage == "val":
                scalars |= gap_scalars(self._name, self.builder.comparable_training(), self.builder.profiles["val"])
            self._publish(trainer, scalars, report.profiles, step, monitored=monitored)
            return report, scalars
        return None

    def report_epoch(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        stage: Stage,
        *,
        step: int,
        monitored: bool = True,
    ) -> bool:
        """Profile a finished stage and log it as the epoch's own; return False if nothing was counted or it failed.

        Args:
            trainer: The Trainer.
            pl_module: The module.
            stage: The stage whose counts are reported.
            step: The step to log at.
            monitored: Let callbacks monitor the metrics.
        """
        self._n_reports += 1
        found = self._published(trainer, stage, step, monitored=monitored)
        with self._guard.doing("drawing layers that never fired", cure=WRITING):
            silent = set(self._watch.silent.get(stage, ()))
            news = sorted(silent - self._noticed)
            log_silent(Journal(trainer, step), self._name, news, stage, is_full=self._detail.is_full)
            self._noticed = silent
        if found is None:
            return False
        report, scalars = found
        report, fresh = self.measurements.take(trainer, pl_module, report, self._n_reports, is_last=not monitored)
        with self._stopwatch.spending(), self._guard.doing("recording neurons"), Journal(trainer, step) as journal:
            self._write(journal, report, scalars, fresh)
        self._draw_maps(trainer, pl_module, step, f"after epoch {running_epoch(trainer)}")
        return True

    def complete(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, is_current: bool) -> None:
        """Complete the last report of a run with the measurements it lacks; every process must call it.

        Args:
            trainer: The Trainer.
            pl_module: The module.
            is_current: True if the model's weights are those that the report is of.
        """
        if self.latest is None or not self.records:
            return
        found = self.measurements.complete(trainer, pl_module, self.latest, is_current=is_current)
        if found is None:
            return
        report, fresh = found
        scalars = self.records.pop()["scalars"]
        with self._stopwatch.spending(), Journal(trainer, report.step) as journal:
            self._write(journal, report, scalars, fresh, is_again=True)

    # -- writing -----------------------------------------------------------------------------------------------

    def _write(
        self, journal: Journal, report: NeuronReport, scalars: dict[str, float], fresh: Fresh, *, is_again: bool = False
    ) -> None:
        """Write a report: this is where everything of it is at hand, and where all of it goes out.

        Args:
            journal: The loggers.
            report: The report, with feeding features of an earlier report where there are no new ones.
            scalars: Its metrics by tag, logged already.
            fresh: The layers of which something is new.
            is_again: True if it was written before, and has more now.
        """
        self.latest, full = report, self._detail.is_full
        entry = {**report.record(), **self._schedule.record(), **self.measurements.record()}
        self.records.append({"step": report.step, **entry, "scalars": scalars})
        # each for itself: what fails takes nothing else along
        with self._guard.doing("recording active neurons", cure=WRITING):
            journal.record(tag(self._name, "record"), {**entry, "scalars": scalars})
        words = doubts(report)
        if words and words != self._doubts:
            with self._guard.doing("writing notes on active neurons", cure=WRITING):
                journal.text(tag(self._name, "notes"), words)
        self._doubts = words
        with self._guard.doing("drawing active neurons", cure=WRITING):
            if not is_again:
                log_pictures(journal, self._name, report, is_full=full)
        with self._guard.doing("writing what feeds the neurons", cure=WRITING):
            log_feeding(journal, self._name, report, fresh.features, is_full=full)
        with self._guard.doing("writing the accuracy without neurons", cure=WRITING):
            log_effects(journal, self._name, report, fresh.effects, is_full=full)
        with self._guard.doing("drawing exemplars", cure=WRITING):
            log_exemplars(journal, self._name, fresh.cards, report, self._exemplars.display, is_full=full)
        with self._guard.doing("writing active neurons for the Explain tab", cure=WRITING):
            log_neuron_tab(journal, self._name, report, scalars, count=len(self.records), units=self.measurements.units)

    def _draw_maps(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int, moment: str) -> None:
        """Draw the activation maps of the probe's first sample; all processes go forward, the first one draws."""
        # not whether this process shows pictures: all must decide alike
        if not self._maps or not trainer.loggers:
            return
        with self._stopwatch.spending(), self._guard.doing("drawing activation maps", cure=CALLING):
            maps, probe = self._probe.maps(trainer, pl_module, self._watch.layers), self._probe.probe
            profiles = self.builder.profiles.get("val") or self.builder.profiles.get("train") or {}
            maps = maps if self._detail.is_full else dict(list(maps.items())[:1])
            with Journal(trainer, step) as journal:
                if probe is not None and journal.shows_pictures:
                    log_maps(journal, self._name, probe, maps, wanted=self._maps, profiles=profiles, moment=moment)
