"""Reading of monitors' events from event files."""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

PLUGIN = "explain"
VERSION = 2
MOST_HEADER_BYTES = 8_000_000
OURS = re.compile(r"explain/(.+)/(tab|probe)")  # a monitor of several inputs writes one series for each
METRICS = re.compile(r"explain/([^/]+)/(mass_in_mask|total_attribution|convergence_delta|strategies/[^/]+(?:/share)?)")
PICTURES = re.compile(r"explain/([^/]+)/(strategies(?:/filmstrip)?)")

Header = dict[str, Any]


@dataclass(frozen=True)
class MonitorEvent:
    """One event of a monitor.

    Attributes:
        step: Training step.
        header: What it says.
        picture: The PNG that comes with it; empty for none.
    """

    step: int
    header: Header
    picture: bytes


@dataclass
class Series:
    """Events of one monitor.

    Attributes:
        name: The monitor's name.
        kind: `attribution`, `neurons` or `paths`.
        events: By step, of several at one step the last written.
        probe: What was explained; None if that is not there.
        metrics: Further curves by name: (step, value) each.
        pictures: The last of the pictures of a name: (step, PNG).
    """

    name: str
    kind: str = ""
    events: list[MonitorEvent] = field(default_factory=list[MonitorEvent])
    probe: MonitorEvent | None = None
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict[str, list[tuple[int, float]]])
    pictures: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])


@dataclass(frozen=True)
class LoggedRun:
    """A folder with event files of monitors.

    Attributes:
        name: Its path below what was asked for.
        series: By the monitor's name.
        n_unreadable: Events that were not understood.
    """

    name: str
    series: list[Series]
    n_unreadable: int

    def of(self, kind: str) -> list[Series]:
        """List the monitors of a kind."""
        return [series for series in self.series if series.kind == kind]


def read_runs(folders: Sequence[Path]) -> list[LoggedRun]:
    """Read all runs below some folders that hold something of ours.

    Args:
        folders: As TensorBoard reads them; a run is a folder with event files.
    """
    places = list(dict.fromkeys(place.resolve() for folder in folders for place in _event_folders(folder)))
    runs = [_read_run(place, name) for place, name in zip(places, _names(places, folders), strict=True)]
    return [run for run in runs if run is not None]


def _names(places: Sequence[Path], folders: Sequence[Path]) -> list[str]:
    """Name runs by what tells their paths apart: a/version_0 and b/version_0 are no two runs version_0."""
    if len(folders) == 1:
        root = folders[0].resolve()
        return [root.name if place == root else place.relative_to(root).as_posix() for place in places]
    common = Path(os.path.commonpath(places)) if places else Path()
    return [place.name if place == common else place.relative_to(common).as_posix() for place in places]


def _event_folders(folder: Path) -> list[Path]:
    # walked without following links, which may lead in a circle
    return sorted(Path(place) for place, _, files in os.walk(folder) if any("tfevents" in name for name in files))


def _read_run(place: Path, name: str) -> LoggedRun | None:
    reader = _Reader()
    for file in sorted(path for path in place.iterdir() if "tfevents" in path.name and path.is_file()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                reader.take(event.step, value)
    series = reader.series()
    return LoggedRun(name, series, reader.n_unreadable) if series else None


class _Reader:
    """Sorts the values of one run's events."""

    def __init__(self) -> None:
        self.n_unreadable = 0
        self._found: dict[str, dict[int, MonitorEvent]] = {}
        self._probes: dict[str, MonitorEvent] = {}
        self._metrics: dict[tuple[str, str], dict[int, float]] = {}
        self._pictures: dict[tuple[str, str], tuple[int, bytes]] = {}

    def take(self, step: int, value: Any) -> None:
        named = OURS.fullmatch(value.tag)
        if named is not None:
            self._take_event(named[1], named[2], step, list(value.tensor.string_val[:2]))
            return
        named = METRICS.fullmatch(value.tag)
        if named is not None:
            self._metrics.setdefault((named[1], named[2]), {})[step] = _scalar(value.tensor)
        named = PICTURES.fullmatch(value.tag)
        # width, height, then the pictures
        if named is not None and len(value.tensor.string_val) > 2:
            known = self._pictures.get((named[1], named[2]), (step, b""))
            self._pictures[named[1], named[2]] = max(known, (step, value.tensor.string_val[2]), key=lambda of: of[0])

    def _take_event(self, name: str, suffix: str, step: int, blobs: list[bytes]) -> None:
        header = _parsed(blobs[0]) if blobs else None
        if header is None:
            self.n_unreadable += 1
            return
        event = MonitorEvent(step, header, blobs[1] if len(blobs) > 1 else b"")
        if suffix == "probe":
            self._probes[name] = event
        else:
            self._found.setdefault(name, {})[step] = event

    def series(self) -> list[Series]:
        made: list[Series] = []
        for name, events in sorted(self._found.items()):
            last = str(events[max(events)].header["kind"])
            same = [events[step] for step in sorted(events) if events[step].header["kind"] == last]
            curves = {what: sorted(points.items()) for (owner, what), points in self._metrics.items() if owner == name}
            pictures = {what: found for (owner, what), found in self._pictures.items() if owner == name}
            made.append(Series(name, last, same, self._probes.get(name), curves, pictures))
        return made


def _scalar(tensor: Any) -> float:
    values = [*tensor.float_val, *tensor.double_val]
    if values:
        return float(values[0])
    content = bytes(tensor.tensor_content)
    return float(memoryview(content).cast("f")[0]) if len(content) == 4 else math.nan


def _parsed(blob: bytes) -> Header | None:
    """Read a header; None where it is none, or of a form that only a newer version knows."""
    if len(blob) > MOST_HEADER_BYTES:
        return None
    try:
        header = json.loads(blob)
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict):
        return None
    known = cast(Header, header)
    version = known.get("v")
    return known if isinstance(version, int) and version <= VERSION and isinstance(known.get("kind"), str) else None


def points(series: Series) -> Iterator[tuple[int, Header]]:
    """Iterate over what a monitor draws over time: (step, `curve`)."""
    for event in series.events:
        curve = event.header.get("curve")
        yield event.step, cast(Header, curve) if isinstance(curve, dict) else {}
