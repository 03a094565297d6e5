"""Output of a monitor: scalars to every logger, pictures, texts and records to every sink."""

import math
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from lightning_explain.errors import LoggerError
from lightning_explain.log.choice import sink_of
from lightning_explain.log.meanings import metric_meaning, picture_meaning
from lightning_explain.log.mlflow_sink import MLflowSink, mlflow_name
from lightning_explain.log.sinks import SharedRecord, Sink, TensorBoardSink
from lightning_explain.log.tags import tag as tag_of
from lightning_explain.render.colour import Picture
from lightning_explain.render.text import shortened
from lightning_explain.render.words import LONGEST

_last_pictures: WeakKeyDictionary[Any, dict[str, tuple[str, int]]] = WeakKeyDictionary()
"""By logger and tag, the content of the last picture and the step that it was logged at.

For each logger object: a resumed run has another one, maybe with another folder, and gets its pictures.
"""


def _last_pictures_of(logger: Any) -> dict[str, tuple[str, int]]:
    try:
        return _last_pictures.setdefault(logger, {})
    except TypeError:  # one without a hash, such as a data class, cannot be remembered: it gets every picture
        return {}


def current_step(trainer: Any, *, after_train_epoch: bool = False) -> int:
    """Return the step at which Lightning logs its own metrics in the current hook, so that curves line up.

    Args:
        trainer: The Trainer.
        after_train_epoch: True in `on_train_epoch_end`, where Lightning steps back by one itself.
    """
    step = int(trainer.fit_loop.epoch_loop._batches_that_stepped)
    return max(0, step - 1) if after_train_epoch else step


def running_epoch(trainer: Any) -> int:
    """Return the running epoch, counted from 0; at the end of training, the last one.

    Lightning's own counter has moved on by one in `on_train_end`.
    """
    if trainer.state.fn != "fit":
        return int(trainer.current_epoch)
    return max(0, min(int(trainer.current_epoch), int(trainer.fit_loop.epoch_progress.current.ready) - 1))


def defined(values: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics without undefined ones (NaN)."""
    return {tag: value for tag, value in values.items() if not math.isnan(value)}


def _log_metrics(
    logger: Any, sink: Sink | None, metrics: Mapping[str, float], words: Mapping[str, str], step: int
) -> None:
    """Log metrics in the form this logger takes, with descriptions if it has a place for them."""
    if isinstance(sink, MLflowSink):
        metrics = {mlflow_name(key): value for key, value in metrics.items()}
    if isinstance(sink, TensorBoardSink):
        added = sink.described_scalars(metrics, words, step)
        metrics = {key: value for key, value in metrics.items() if key not in added}
    logger.log_metrics(metrics, step=step)


class Journal:
    """Logs for one Trainer at one step; does nothing on all processes but the first.

    A logger that fails (a server that is away, a full disk) takes nothing from the others: its error is raised when
    they have had what was to be written, in a `with` statement at its end.

    Args:
        trainer: The Trainer whose loggers are written to.
        step: The step everything is logged at.

    Raises:
        LoggerError: From any of the methods, or at the end of the `with`: one or more loggers failed.
    """

    def __init__(self, trainer: Any, step: int) -> None:
        self.step = step
        self._failures: list[tuple[Any, Exception]] = []
        self._holding = False
        self._places: list[tuple[Any, Sink | None]] = []
        root: str | None = getattr(trainer, "default_root_dir", None)
        resumed = getattr(trainer, "ckpt_path", None) is not None
        for logger in list[Any](trainer.loggers) if trainer.is_global_zero else []:
            self._try(
                logger, lambda logger=logger: self._places.append((logger, sink_of(logger, root, resumed=resumed)))
            )

    def __enter__(self) -> "Journal":
        self._holding = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._holding = False
        if kind is None:
            self._settle()

    def _try(self, logger: Any, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - it is raised when the other loggers had their turn
            self._failures.append((logger, error))

    def _settle(self) -> None:
        """Raise the errors of loggers, unless that has to wait."""
        if self._holding or not self._failures:
            return
        failures, self._failures = self._failures, []
        words = dict.fromkeys(f"{type(logger).__name__}: {type(error).__name__}: {error}" for logger, error in failures)
        raise LoggerError("; ".join(words)) from failures[0][1]

    def _each(self, write: Callable[[Sink], None]) -> None:
        for logger, sink in self._places:
            if sink is not None:
                self._try(logger, lambda sink=sink: write(sink))
        self._settle()

    @property
    def _sinks(self) -> list[Sink]:
        return [sink for _, sink in self._places if sink is not None]

    @property
    def shows_pictures(self) -> bool:
        """True if any logger takes pictures, so that drawing them is worth the time."""
        return bool(self._sinks)

    def scalars(self, values: Mapping[str, float], *, descriptions: Mapping[str, str] | None = None) -> None:
        """Log metrics by tag; undefined ones (NaN) are left out, because a curve has no point there.

        Args:
            values: Metrics by tag.
            descriptions: Descriptions by tag, for loggers that show them; by default those of the metrics of neurons
                and paths.
        """
        metrics = defined(values)
        words = {key: metric_meaning(key) for key in metrics} if descriptions is None else descriptions
        for logger, sink in self._places:
            self._try(logger, lambda logger=logger, sink=sink: _log_metrics(logger, sink, metrics, words, self.step))
        self._settle()

    def image(self, tag: str, picture: Picture, *, description: str = "", content: str = "") -> None:
        """Log a picture, uint8 [height, width, 3], with a description where the logger has a place for it.

        Args:
            tag: Its tag.
            picture: The picture.
            description: What it shows; by default what is known of its tag.
            content: What tells it from another one of its tag, for `shown_since`.
        """
        words = description or picture_meaning(tag)

        def show(logger: Any, sink: Sink) -> None:
            sink.image(tag, picture, self.step, words)
            _last_pictures_of(logger)[tag] = content, self.step

        for logger, sink in self._places:
            if sink is not None:
                self._try(logger, lambda logger=logger, sink=sink: show(logger, sink))
        self._settle()

    def shown_since(self, tag: str, content: str) -> int | None:
        """Return the step since which every logger has had a picture of this content as its last one of a tag.

        None if one of them has another, or none. The step is that of the latest of these pictures.
        """
        last = [_last_pictures_of(logger).get(tag) for logger, sink in self._places if sink is not None]
        steps = [found[1] for found in last if found is not None and found[0] == content]
        return max(steps) if steps and len(steps) == len(last) else None

    def text(self, tag: str, markdown: str) -> None:
        """Log a text."""
        self._each(lambda sink: sink.text(tag, markdown, self.step))

    def record(self, tag: str, record: Mapping[str, Any]) -> None:
        """Log a machine-readable record."""
        shared = SharedRecord(record, self.step)
        self._each(lambda sink: sink.record(tag, shared, self.step))

    @property
    def shows_tab(self) -> bool:
        """True if a logger's viewer has the Explain tab, so that an event for it is worth its bytes."""
        return any(isinstance(sink, TensorBoardSink) for sink in self._sinks)

    def tab(self, name: str, header: Mapping[str, Any], sprite: Picture | None = None, *, part: str = "") -> None:
        """Log one event for the Explain tab: what a monitor shows at this step.

        Args:
            name: The monitor's name; the event's tag is `explain/{name}/tab`.
            header: Plain values for JSON, with `kind`; `docs/tab.md` says what each kind holds.
            sprite: Picture tiles, uint8 [height, width, 3]; None if there are none.
            part: What of the monitor's samples it shows, where that is not all: `explain/{name}/{part}/tab`.
        """
        short, kind = {**header, "name": shortened(name, LONGEST)}, tag_of(*filter(None, (name, part)), "tab")
        self._each(lambda sink: sink.tab(kind, short, sprite, self.step, once=False))

    def tab_probe(self, name: str, header: Mapping[str, Any], sprite: Picture | None = None, *, part: str = "") -> None:
        """Log the probe for the Explain tab, once per event file: `explain/{name}/probe`."""
        short, kind = {**header, "name": shortened(name, LONGEST)}, tag_of(*filter(None, (name, part)), "probe")
        self._each(lambda sink: sink.tab(kind, short, sprite, self.step, once=True))

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Group curves: chart title to tag patterns."""
        self._each(lambda sink: sink.layout(charts))
