"""What becomes of an explanation: it is compared, logged, recorded and drawn."""

from typing import Any

import torch

from lightning_explain.callbacks.attribution_figures import Figure, figures
from lightning_explain.callbacks.attribution_methods import Methods, described, full_name, named_baseline
from lightning_explain.callbacks.attribution_pictures import Gallery
from lightning_explain.callbacks.attribution_report import record, summary
from lightning_explain.callbacks.attribution_tab import log_attribution_tab
from lightning_explain.callbacks.explanation import Explanation, removal_baseline
from lightning_explain.callbacks.findings import Findings, compare
from lightning_explain.callbacks.guard import Guard
from lightning_explain.callbacks.history import History
from lightning_explain.callbacks.pacing import Pacing
from lightning_explain.log import Journal, defined, running_epoch, tag
from lightning_explain.probe import Probe


class Reporter:
    """Tells of one monitor's explanations.

    Args:
        name: The monitor's name.
        methods: Its methods.
        measures: Drift measures.
        guard: What fails is told once, and takes nothing else along.
        pacing: Measures the time spent.

    Attributes:
        records: One record per explanation, as in `record.jsonl`, with the logged `scalars`.
    """

    def __init__(self, name: str, *, methods: Methods, measures: tuple[str, ...], guard: Guard, pacing: Pacing) -> None:
        self.records: list[dict[str, Any]] = []
        self._name = name
        self._methods = methods
        self._measures = measures
        self._guard = guard
        self._pacing = pacing
        self._described: set[str] = set()

    def begin(self) -> None:
        """Begin a fit, whose loggers know nothing yet."""
        self._described.clear()

    def report(
        self, trainer: Any, explanation: Explanation, *, probe: Probe, history: History, monitored: bool
    ) -> None:
        """Log an explanation and remember it.

        Args:
            trainer: The Trainer.
            explanation: What to tell of.
            probe: What was explained.
            history: What it is compared with; it is added.
            monitored: Whether other callbacks may monitor the figures.
        """
        full_names = {name: full_name(name, method) for name, method in self._methods.items()}
        found = compare(explanation, history, full_names=full_names, measures=self._measures, guard=self._guard)
        scalars: dict[str, float] = {}
        with self._guard.doing("measuring and logging drift"):
            scalars = self._log_figures(trainer, found, probe, monitored=monitored)
        with self._guard.doing("recording and drawing an explanation"):
            self._write(trainer, found, scalars, gallery=self._gallery(probe, history))

    def _log_figures(self, trainer: Any, found: Findings, probe: Probe, *, monitored: bool) -> dict[str, float]:
        by_tag = figures(
            self._name,
            found,
            probe,
            descriptions={name: described(name, method) for name, method in self._methods.items()},
            removal_baseline=named_baseline(removal_baseline(self._methods)),
        )
        by_tag[tag(self._name, "overhead")] = Figure(
            self._pacing.stopwatch.share(), f"Share of wall time that {self._name} has spent explaining so far."
        )
        scalars = {key: figure.value for key, figure in by_tag.items()}
        if monitored:
            # as Lightning's LearningRateMonitor does: `pl_module.log` would make a torchmetric of each figure
            trainer.callback_metrics.update({key: torch.tensor(value) for key, value in defined(scalars).items()})
        # an event file keeps the first description of a tag; more would only make it larger
        words = {key: figure.meaning for key, figure in by_tag.items() if key not in self._described}
        Journal(trainer, found.explanation.step).scalars(scalars, descriptions=words)
        self._described.update(defined(scalars))
        return scalars

    def _write(self, trainer: Any, found: Findings, scalars: dict[str, float], *, gallery: Gallery) -> None:
        """Record an explanation, and draw it."""
        step, epoch = found.explanation.step, running_epoch(trainer)
        entry = {**record(found, gallery.probe, methods=self._methods, epoch=epoch), **self._pacing.record()}
        self.records.append({"step": step, **entry, "scalars": scalars})
        journal = Journal(trainer, step)
        journal.record(tag(self._name, "record"), entry)
        words = summary(found, self._methods)
        if words:
            journal.text(tag(self._name, "summary"), words)
        gallery.show(journal, found, epoch=epoch)
        log_attribution_tab(
            journal,
            self._name,
            gallery.probe,
            found.explanation,
            found.primary_drifts,
            epoch=epoch,
            count=gallery.history.count,
            methods={full_name(name, self._methods[name]): a for name, a in found.explanation.attributions.items()},
        )

    def _gallery(self, probe: Probe, history: History) -> Gallery:
        return Gallery(name=self._name, probe=probe, methods=self._methods, history=history)

    def finish(self, trainer: Any, *, probe: Probe, history: History, step: int) -> None:
        """Draw the whole filmstrips."""
        with self._pacing.stopwatch.spending(), self._guard.doing("drawing the filmstrip"):
            self._gallery(probe, history).show_all_filmstrips(Journal(trainer, step))
