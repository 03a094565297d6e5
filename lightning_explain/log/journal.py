"""One place a monitor writes to: scalars to every logger, pictures, text and records to every sink."""

import math
from collections.abc import Mapping
from typing import Any

from lightning_explain.log.sinks import TensorBoardSink, sink_of
from lightning_explain.log.tags import tag as tag_of
from lightning_explain.render.colour import Picture


def current_step(trainer: Any, *, after_train_epoch: bool = False) -> int:
    """Return the step at which Lightning logs its own figures in the current hook, so that curves line up.

    Args:
        trainer: The Trainer.
        after_train_epoch: True in `on_train_epoch_end`, where Lightning steps back by one itself.
    """
    step = int(trainer.fit_loop.epoch_loop._batches_that_stepped)
    return max(0, step - 1) if after_train_epoch else step


def running_epoch(trainer: Any) -> int:
    """Return the epoch that runs, counted from 0; at the end of training, the last one.

    Lightning's own counter has moved on by one in `on_train_end`.
    """
    if trainer.state.fn != "fit":
        return int(trainer.current_epoch)
    return max(0, min(int(trainer.current_epoch), int(trainer.fit_loop.epoch_progress.current.ready) - 1))


def defined(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out the figures that are undefined (NaN)."""
    return {tag: value for tag, value in values.items() if not math.isnan(value)}


class Journal:
    """Writes for one Trainer at one step; silent on every process but the first.

    Args:
        trainer: The Trainer whose loggers are written to.
        step: The step everything is logged at.
    """

    def __init__(self, trainer: Any, step: int) -> None:
        self.step = step
        loggers: list[Any] = list(trainer.loggers) if trainer.is_global_zero else []
        self._places = [(logger, sink_of(logger)) for logger in loggers]
        self._sinks = [sink for _, sink in self._places if sink is not None]

    @property
    def shows_pictures(self) -> bool:
        """Whether a picture would arrive anywhere, so that drawing it is worth the time."""
        return bool(self._sinks)

    def scalars(self, values: Mapping[str, float], *, descriptions: Mapping[str, str] | None = None) -> None:
        """Log figures by tag; undefined ones (NaN) are left out, because a curve has no point there.

        Args:
            values: The figures.
            descriptions: What figures mean, for loggers that show it: to be given with a tag's first value.
        """
        figures = defined(values)
        words = {key: text for key, text in (descriptions or {}).items() if key in figures}
        for logger, sink in self._places:
            if isinstance(sink, TensorBoardSink) and words:
                sink.described_scalars({key: (figures[key], text) for key, text in words.items()}, self.step)
                logger.log_metrics({key: value for key, value in figures.items() if key not in words}, step=self.step)
            else:
                logger.log_metrics(figures, step=self.step)

    def image(self, tag: str, picture: Picture, *, description: str = "") -> None:
        """Show a picture, uint8 [height, width, 3], and say what it is where the logger can."""
        for sink in self._sinks:
            sink.image(tag, picture, self.step, description)

    def text(self, tag: str, markdown: str) -> None:
        """Show a text."""
        for sink in self._sinks:
            sink.text(tag, markdown, self.step)

    def record(self, tag: str, record: Mapping[str, Any]) -> None:
        """Keep figures for machines to read."""
        for sink in self._sinks:
            sink.record(tag, record, self.step)

    @property
    def shows_tab(self) -> bool:
        """Whether a logger's viewer has the Explain tab, so that an event for it is worth its bytes."""
        return any(isinstance(sink, TensorBoardSink) for sink in self._sinks)

    def tab(self, name: str, header: Mapping[str, Any], sprite: Picture | None = None) -> None:
        """Write one event for the Explain tab: what a monitor has to show at this step.

        Args:
            name: The monitor's name; the event's tag is `explain/{name}/tab`.
            header: Plain values for JSON, with `kind`; `docs/tab.md` says what each kind holds.
            sprite: Picture tiles, uint8 [height, width, 3]; None if there are none.
        """
        for sink in self._sinks:
            sink.tab(tag_of(name, "tab"), header, sprite, self.step, once=False)

    def tab_probe(self, name: str, header: Mapping[str, Any], sprite: Picture | None = None) -> None:
        """Write what the Explain tab needs of a probe, once for each event file: `explain/{name}/probe`."""
        for sink in self._sinks:
            sink.tab(tag_of(name, "probe"), header, sprite, self.step, once=True)

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Group curves: chart title to tag patterns."""
        for sink in self._sinks:
            sink.layout(charts)
