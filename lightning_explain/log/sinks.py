"""Sinks for pictures, texts and records: the interface, a folder, and TensorBoard's event file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,  # pyright: ignore[reportAttributeAccessIssue]
    DATA_CLASS_SCALAR,  # pyright: ignore[reportAttributeAccessIssue]
    Summary,  # pyright: ignore[reportAttributeAccessIssue]
    SummaryMetadata,  # pyright: ignore[reportAttributeAccessIssue]
)

from lightning_explain.log.files import append_line, write_whole
from lightning_explain.log.json_ready import json_text
from lightning_explain.log.png import png_bytes
from lightning_explain.log.tab_events import is_written, note_written, tab_summary
from lightning_explain.log.tags import file_name
from lightning_explain.render.colour import Picture


@runtime_checkable
class Sink(Protocol):
    """Interface of a sink: takes what a monitor shows. Scalars go through the logger itself."""

    def image(self, tag: str, picture: Picture, step: int, description: str = "") -> None:
        """Log a picture, uint8 [height, width, 3], with a description if there is a place for it."""
        ...

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Log a text."""
        ...

    def record(self, tag: str, record: Mapping[str, Any], step: int) -> None:
        """Log a machine-readable record."""
        ...

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Group curves: chart title to tag patterns."""
        ...

    def tab(self, tag: str, header: Mapping[str, Any], sprite: Picture | None, step: int, *, once: bool) -> None:
        """Log an event for the Explain tab, if the logger's viewer has one."""
        ...


def record_line(record: Mapping[str, Any], step: int) -> str:
    """Return a record as one line of JSON, its step first."""
    if isinstance(record, SharedRecord) and record.step == step:
        return record.line
    return json_text({"step": step, **record})


@dataclass(frozen=True, eq=False)
class SharedRecord(Mapping[str, Any]):
    """A record on its way to several loggers, which is made JSON once for all.

    Attributes:
        values_by_key: The record.
        step: The step it is logged at.
    """

    values_by_key: Mapping[str, Any]
    step: int

    def __getitem__(self, key: str) -> Any:
        return self.values_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    @cached_property
    def line(self) -> str:
        """The record as one line of JSON, its step first."""
        return json_text({"step": self.step, **self.values_by_key})


@dataclass(frozen=True)
class FolderSink:
    """PNG files, and records as JSON lines, under `<directory>/explain/`."""

    directory: Path

    def _path(self, tag: str, suffix: str, step: int | None = None) -> Path:
        path = self.directory / file_name(tag, suffix, step=step)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, tag: str, picture: Picture, step: int, description: str = "") -> None:
        """Write `<tag>/step_<step>.png` with the description as its title."""
        del description
        write_whole(self._path(tag, ".png", step), png_bytes(picture))

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Write `<tag>/step_<step>.md`."""
        write_whole(self._path(tag, ".md", step), markdown.encode(errors="replace"))

    def record(self, tag: str, record: Mapping[str, Any], step: int) -> None:
        """Append one line to `<tag>.jsonl`."""
        append_line(self._path(tag, ".jsonl"), record_line(record, step).encode())

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Do nothing: a folder has no charts."""

    def tab(self, tag: str, header: Mapping[str, Any], sprite: Picture | None, step: int, *, once: bool) -> None:
        """Do nothing: records and pictures hold what the tab would show."""


DESCRIPTION = "description"


def _metadata(plugin: str, description: str) -> Any:
    # TensorBoard's fast data server drops the description of a summary that does not state its kind of data
    kind = DATA_CLASS_SCALAR if plugin == "scalars" else DATA_CLASS_BLOB_SEQUENCE
    return SummaryMetadata(
        data_class=kind,
        summary_description=description,
        plugin_data=SummaryMetadata.PluginData(plugin_name=plugin),
    )


@dataclass(frozen=True)
class TensorBoardSink:
    """Images, text and chart layout in the event file; records beside it, as JSON lines.

    Attributes:
        writer: The logger's `SummaryWriter`.
        folder: For the records.
        prefix: The logger's prefix for tags of metrics.
    """

    writer: Any
    folder: FolderSink
    prefix: str = ""

    def image(self, tag: str, picture: Picture, step: int, description: str = "") -> None:
        """Add an image summary, encoded here: `SummaryWriter.add_image` would take twice the bytes."""
        height, width, channels = picture.shape
        image = Summary.Image(encoded_image_string=png_bytes(picture), height=height, width=width, colorspace=channels)
        self._add([Summary.Value(tag=tag, image=image, metadata=_metadata("images", description))], step)

    def described_scalars(self, metrics: Mapping[str, float], words: Mapping[str, str], step: int) -> set[str]:
        """Add metrics whose tags have no description in this event file yet, with those that TensorBoard shows.

        The logger's `log_metrics` has no place for them. TensorBoard keeps the words of a tag's first value, so the
        values that follow may go through the logger.

        Args:
            metrics: Metrics by tag.
            words: Descriptions by tag.
            step: The step.

        Returns:
            The tags that were added.
        """
        new = {key for key in metrics if words.get(key) and not is_written(self.writer, key, DESCRIPTION)}
        self._add(
            [
                Summary.Value(tag=self.prefix + key, simple_value=value, metadata=_metadata("scalars", words[key]))
                for key, value in metrics.items()
                if key in new
            ],
            step,
        )
        for key in new:
            note_written(self.writer, key, DESCRIPTION)
        return new

    def _add(self, values: list[Any], step: int) -> None:
        self.writer._get_file_writer().add_summary(Summary(value=values), step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Add a text summary."""
        self.writer.add_text(tag, markdown, step)

    def record(self, tag: str, record: Mapping[str, Any], step: int) -> None:
        """Append one line to `<tag>.jsonl` in the run's folder."""
        self.folder.record(tag, record, step)

    def tab(self, tag: str, header: Mapping[str, Any], sprite: Picture | None, step: int, *, once: bool) -> None:
        """Add an event for the Explain tab; with `once`, unless this event file already holds the same."""
        if once and is_written(self.writer, tag, str(header.get("probe"))):
            return
        self.writer._get_file_writer().add_summary(tab_summary(tag, header, sprite), step)
        if once:
            note_written(self.writer, tag, str(header.get("probe")))

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Group curves in the Custom Scalars dashboard."""
        self.writer.add_custom_scalars({"explain": {title: ["Multiline", tags] for title, tags in charts.items()}})
