"""Comparing, logging, recording and drawing of explanations."""

from typing import Any

from lightning_explain.attribution.baselines import baseline_name
from lightning_explain.callbacks.attribution.alerts import Alarm
from lightning_explain.callbacks.attribution.captions import explained_inputs
from lightning_explain.callbacks.attribution.compare_with import Comparisons
from lightning_explain.callbacks.attribution.comparison import Comparison, compare
from lightning_explain.callbacks.attribution.explainer import Explanation, removal_baseline
from lightning_explain.callbacks.attribution.history import History
from lightning_explain.callbacks.attribution.images import Gallery
from lightning_explain.callbacks.attribution.methods import Methods, described, full_name, full_names
from lightning_explain.callbacks.attribution.metrics import MetricValue, metrics
from lightning_explain.callbacks.attribution.record import alert_record, alert_summary, record, summary
from lightning_explain.callbacks.attribution.strategies.strategy_log import (
    FILM_WORDS,
    FILMSTRIP,
    PICTURE_WORDS,
    strategies_picture,
    strategy_metrics,
    strategy_record,
)
from lightning_explain.callbacks.attribution.strategies.strategy_report import StrategyReport
from lightning_explain.callbacks.attribution.strategies.strategy_tab import log_strategy_tab
from lightning_explain.callbacks.attribution.tab import log_attribution_tab
from lightning_explain.callbacks.base.early_stopping import update_callback_metrics
from lightning_explain.callbacks.base.error_handling import WRITING, Guard
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.drift_alert import Alert
from lightning_explain.log import Detail, Journal, running_epoch, tag
from lightning_explain.probe import Probe
from lightning_explain.render.words import markdown_safe
from lightning_explain.schedule import worth_redrawing


class Reporter:
    """Compares, logs, records and draws one monitor's explanations.

    Args:
        name: The monitor's name.
        methods: Its methods.
        measures: Drift measures.
        guard: The monitor's error handling.
        schedule: Measures the time spent.
        comparisons: The comparisons that the user wants, beside the previous and the first explanation.
        alarm: Looks for what is unusual; None if nobody asked for alerts.
        detail: How much goes to the loggers.

    Attributes:
        records: One record per explanation, as in `record.jsonl`, with the logged `scalars`.
    """

    def __init__(
        self,
        name: str,
        *,
        methods: Methods,
        measures: tuple[str, ...],
        guard: Guard,
        schedule: MonitorSchedule,
        comparisons: Comparisons,
        detail: Detail,
        alarm: Alarm | None = None,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self._name = name
        self._methods = methods
        self._measures = measures
        self._guard = guard
        self._schedule = schedule
        self._comparisons = comparisons
        self._alarm = alarm
        self._detail = detail
        self._undrawn: StrategyReport | None = None

    def report(
        self, trainer: Any, explanation: Explanation, *, probe: Probe, history: History, monitored: bool
    ) -> None:
        """Log an explanation and remember it.

        Args:
            trainer: The Trainer.
            explanation: The explanation.
            probe: The probe.
            history: The earlier explanations; this one is added.
            monitored: Make the metrics available to callbacks that monitor them.
        """
        found = compare(
            explanation,
            history,
            full_names=full_names(self._methods),
            measures=self._measures,
            guard=self._guard,
            comparisons=self._comparisons,
        )
        alerts: list[Alert] = []
        with self._guard.doing("looking for alerts"):
            alerts = self._look(found, probe, history, epoch=running_epoch(trainer))
        scalars: dict[str, float] = {}
        with self._guard.doing("measuring and logging drift", cure=WRITING):
            self._log_metrics(trainer, found, probe, scalars, alerts=alerts, monitored=monitored)
        writing = self._guard.doing("recording and drawing an explanation", cure=WRITING)
        with writing, Journal(trainer, explanation.step) as journal:
            gallery = self._gallery(probe, history)
            with self._guard.doing("keeping an explanation for the filmstrip"):
                gallery.remember(explanation)
            self._write(journal, found, scalars, alerts=alerts, epoch=running_epoch(trainer), gallery=gallery)
        if self._alarm is not None and trainer.is_global_zero:
            for alert in alerts:
                self._alarm.tell(alert)

    def _look(self, found: Comparison, probe: Probe, history: History, *, epoch: int) -> list[Alert]:
        if self._alarm is None:
            return []
        primary = found.explanation.primary
        method = full_name(primary, self._methods[primary])
        drifted = self._alarm.look(found, probe, history.of(method), method=method, epoch=epoch)
        strategies = found.explanation.strategies
        return [*([] if drifted is None else [drifted]), *(() if strategies is None else strategies.alerts)]

    def _log_metrics(
        self,
        trainer: Any,
        found: Comparison,
        probe: Probe,
        scalars: dict[str, float],
        *,
        alerts: list[Alert],
        monitored: bool,
    ) -> None:
        by_tag = metrics(
            self._name,
            found,
            probe,
            descriptions={name: described(name, method) for name, method in self._methods.items()},
            removal_baseline=baseline_name(removal_baseline(self._methods)),
        )
        by_tag[tag(self._name, "overhead")] = MetricValue(
            self._schedule.stopwatch.share(),
            f"Share of wall time that {markdown_safe(self._name)} has spent explaining so far.",
            telling=True,
        )
        if self._alarm is not None:
            meaning = f"1 at explanations with an alert ({self._alarm.words}), 0 at others."
            by_tag[tag(self._name, "alert")] = MetricValue(float(bool(alerts)), meaning, telling=True)
        if found.explanation.strategies is not None:
            by_tag |= strategy_metrics(self._name, found.explanation.strategies)
        # into what the record gets too: a logger that fails must not cost it the metrics
        scalars |= {key: metric.value for key, metric in by_tag.items()}
        if monitored:
            update_callback_metrics(trainer, scalars)
        logged = self._detail.logged(trainer, scalars, {key for key, metric in by_tag.items() if metric.telling})
        words = {key: by_tag[key].meaning for key in logged}
        with self._guard.doing("sending the metrics to the loggers", cure=WRITING):
            Journal(trainer, found.explanation.step).scalars(logged, descriptions=words)

    def _write(
        self,
        journal: Journal,
        found: Comparison,
        scalars: dict[str, float],
        *,
        alerts: list[Alert],
        epoch: int,
        gallery: Gallery,
    ) -> None:
        """Record an explanation, and draw it."""
        step = found.explanation.step
        entry = {**record(found, gallery.probe, methods=self._methods, epoch=epoch), **self._schedule.record()}
        entry["caveat"] = gallery.history.caveat
        if self._alarm is not None:
            entry["alert"] = alert_record(alerts[0]) if alerts else None
        if found.explanation.strategies is not None:
            entry["strategies"] = strategy_record(found.explanation.strategies)
        self.records.append({"step": step, **entry, "scalars": scalars})
        # each for itself: what fails takes nothing else along
        with self._guard.doing("recording an explanation", cure=WRITING):
            journal.record(tag(self._name, "record"), {**entry, "scalars": scalars})
        words = summary(found, self._methods, gallery.history.caveat)
        if words:
            with self._guard.doing("writing an explanation's summary", cure=WRITING):
                journal.text(tag(self._name, "summary"), words)
        if alerts:
            with self._guard.doing("writing an alert", cure=WRITING):
                journal.text(tag(self._name, "alerts"), "\n\n".join(alert_summary(alert) for alert in alerts))
        with self._guard.doing("drawing an explanation", cure=WRITING):
            gallery.show(journal, found, epoch=epoch)
        if found.explanation.strategies is not None:
            with self._guard.doing("drawing strategies", cure=WRITING):
                self._draw_strategies(journal, found.explanation.strategies)
            with self._guard.doing("writing strategies for the Explain tab", cure=WRITING):
                log_strategy_tab(journal, self._name, found.explanation.strategies)
        with self._guard.doing("writing an explanation for the Explain tab", cure=WRITING):
            log_attribution_tab(
                journal,
                self._name,
                gallery.probe,
                found.explanation,
                found.primary_drifts,
                epoch=epoch,
                count=gallery.history.count,
                inputs=explained_inputs(gallery.probe, self._methods),
                alert=" ".join(str(alert) for alert in alerts) or None,
                caveat=gallery.history.caveat,
                methods={full_name(name, self._methods[name]): a for name, a in found.explanation.attributions.items()},
            )

    def _draw_strategies(self, journal: Journal, report: StrategyReport) -> None:
        picture = strategies_picture(report) if journal.shows_pictures else None
        if picture is not None:
            journal.image(tag(self._name, "strategies"), picture, description=PICTURE_WORDS)
        self._undrawn = None if worth_redrawing(report.count) else report
        if self._undrawn is None:
            self._draw_film(journal, report)

    def _draw_film(self, journal: Journal, report: StrategyReport) -> None:
        """Draw and log the mean maps of strategies over time, where any class ever had several."""
        picture = report.film.picture(report.method) if journal.shows_pictures else None
        if picture is not None:
            journal.image(tag(self._name, "strategies", FILMSTRIP), picture, description=FILM_WORDS)

    def _gallery(self, probe: Probe, history: History) -> Gallery:
        return Gallery(
            name=self._name, probe=probe, methods=self._methods, history=history, is_full=self._detail.is_full
        )

    def finish(self, trainer: Any, *, probe: Probe, history: History, step: int) -> None:
        """Draw the whole filmstrips."""
        drawing = self._guard.doing("drawing the filmstrip", cure=WRITING)
        with self._schedule.stopwatch.spending(), drawing, Journal(trainer, step) as journal:
            self._gallery(probe, history).show_all_filmstrips(journal)
            if self._undrawn is not None:
                self._draw_film(journal, self._undrawn)
