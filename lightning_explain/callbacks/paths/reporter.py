"""Logging, recording and drawing of explanations by decision paths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_explain.callbacks.base.early_stopping import update_callback_metrics
from lightning_explain.callbacks.base.error_handling import WRITING, Guard
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.callbacks.paths.explanation import MOST_CLASSES, PathExplanation
from lightning_explain.callbacks.paths.images import path_contents, path_pictures
from lightning_explain.callbacks.paths.path_history import PathHistory
from lightning_explain.callbacks.paths.path_options import PathOptions
from lightning_explain.callbacks.paths.record import path_record, path_scalars, ranking_table, undecided_classes
from lightning_explain.callbacks.paths.tab import tab_event
from lightning_explain.log import Detail, Journal, tag
from lightning_explain.probe import Probe
from lightning_explain.render.words import markdown_safe
from lightning_explain.schedule import worth_redrawing

FEW_CLASSES = 4
"""Classes whose paths are drawn with `detail="terse"`."""

TELLING = ("turnover", "shown_share", "ablation", "ablation_random", "overhead")
"""The metrics that are logged with `detail="terse"`."""


@dataclass(frozen=True)
class PicturesDue:
    """Pictures of the classes that are drawn, by the part of their tags.

    Attributes:
        steps: The step of the picture that shows the graph as it is: an earlier one where nothing that is drawn has
            changed since; None where none does, and none is due.
        new: Of those to be drawn now, a digest of what they show.
    """

    steps: dict[str, int | None] = field(default_factory=dict[str, int | None])
    new: dict[str, str] = field(default_factory=dict[str, str])


class PathReporter:
    """Logs, records and draws one monitor's explanations.

    Args:
        name: The monitor's name.
        options: The monitor's options.
        guard: The monitor's error handling.
        schedule: Measures the time spent.
        detail: How much goes to the loggers.

    Attributes:
        records: One record per explanation, as in `record.jsonl` but for the graphs, with the logged `scalars`.
    """

    def __init__(
        self, name: str, *, options: PathOptions, guard: Guard, schedule: MonitorSchedule, detail: Detail
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self._name = name
        self._options = options
        self._guard = guard
        self._schedule = schedule
        self._detail = detail

    @property
    def _most_drawn(self) -> int:
        """Classes whose paths are drawn."""
        return MOST_CLASSES if self._detail.is_full else FEW_CLASSES

    def report(
        self, trainer: Any, explanation: PathExplanation, *, probe: Probe, history: PathHistory, monitored: bool
    ) -> None:
        """Log an explanation and add it to the history.

        Args:
            trainer: The Trainer.
            explanation: The explanation.
            probe: The probe.
            history: The earlier explanations.
            monitored: Make the metrics available to callbacks that monitor them.
        """
        scalars: dict[str, float] = {}
        with self._guard.doing("logging the decision paths", cure=WRITING):
            history.add(explanation, show=self._options.show_of(probe))
            scalars |= path_scalars(self._name, explanation)
            scalars[tag(self._name, "overhead")] = self._schedule.stopwatch.share()
            if monitored:
                update_callback_metrics(trainer, scalars)
            telling = {tag(self._name, metric) for metric in TELLING}
            Journal(trainer, explanation.step).scalars(self._detail.logged(trainer, scalars, telling))
        writing = self._guard.doing("recording and drawing the decision paths", cure=WRITING)
        with writing, Journal(trainer, explanation.step) as journal:
            self._write(journal, explanation, scalars, probe=probe, history=history)
        self._warn(explanation)

    def _write(
        self,
        journal: Journal,
        explanation: PathExplanation,
        scalars: dict[str, float],
        *,
        probe: Probe,
        history: PathHistory,
    ) -> None:
        pictures = PicturesDue()
        with self._guard.doing("looking for changes of the decision paths"):
            pictures = self._due(journal, explanation, probe, history, is_due=worth_redrawing(history.count))
        entry = {**path_record(explanation, probe, options=self._options), **self._schedule.record()}
        entry |= {"caveat": history.caveat, "pictures": pictures.steps}
        kept = {key: value for key, value in entry.items() if key != "graphs"}  # those of a long run take gigabytes
        self.records.append({"step": explanation.step, **kept, "scalars": scalars})
        # each for itself: what fails takes nothing else along
        with self._guard.doing("recording the decision paths", cure=WRITING):
            journal.record(tag(self._name, "record"), {**entry, "scalars": scalars})
        header = {"name": self._name, "step": explanation.step, "epoch": explanation.epoch, "count": history.count}
        with self._guard.doing("writing the decision paths for the Explain tab", cure=WRITING):
            if journal.shows_tab:
                event, images = tab_event(explanation, probe, self._options.show_of(probe), pictures.steps)
                journal.tab(self._name, {**event, **header, "caveat": history.caveat}, images)
        with self._guard.doing("writing the ranking", cure=WRITING):
            words = [markdown_safe(history.caveat), ranking_table(explanation)]
            journal.text(tag(self._name, "ranking"), "\n\n".join(word for word in words if word))
        self._draw(journal, explanation, probe, history, pictures.new)

    def _warn(self, explanation: PathExplanation) -> None:
        undecided = undecided_classes(explanation)
        if undecided:
            self._guard.note(
                f"the score of {', '.join(undecided[:5])} is 0 for its probe samples, so there is no decision to "
                "follow; the means over the classes leave it out. If a ReLU ends the network, forward_fn= can return "
                "what comes before it.",
                about="undecided",
            )
        if len(explanation.classes) > MOST_CLASSES:
            self._guard.note(
                f"the probe has {len(explanation.classes)} classes; the paths of the first {MOST_CLASSES} are drawn. "
                "Give a probe of the classes that matter."
            )

    def _due(
        self, journal: Journal, explanation: PathExplanation, probe: Probe, history: PathHistory, *, is_due: bool
    ) -> PicturesDue:
        """Find the classes whose picture would show what the last one does not."""
        if not journal.shows_pictures:
            return PicturesDue()
        contents = path_contents(explanation, probe, history, self._options, most=self._most_drawn)
        since = {part: journal.shown_since(tag(self._name, part), content) for part, content in contents.items()}
        now = explanation.step if is_due else None
        return PicturesDue(
            steps={part: now if step is None else step for part, step in since.items()},
            new={part: content for part, content in contents.items() if is_due and since[part] is None},
        )

    def _draw(
        self,
        journal: Journal,
        explanation: PathExplanation,
        probe: Probe,
        history: PathHistory,
        new: Mapping[str, str],
    ) -> None:
        pictures = path_pictures(explanation, probe, history, self._options, wanted=new) if new else {}
        for part, picture in pictures.items():
            journal.image(tag(self._name, part), picture, content=new[part])

    def finish(self, trainer: Any, explanation: PathExplanation, *, probe: Probe, history: PathHistory) -> None:
        """Draw the last explanation, if it is not drawn yet."""
        if not worth_redrawing(history.count):
            drawing = self._guard.doing("drawing the decision paths")
            with self._schedule.stopwatch.spending(), drawing, Journal(trainer, explanation.step) as journal:
                due = self._due(journal, explanation, probe, history, is_due=True)
                self._draw(journal, explanation, probe, history, due.new)
