"""Heatmaps over time, as a monitor's events hold them: which steps and samples, and the numbers behind each picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_explain.report.checked import class_name, indices, items, mapping, number, numbers, tile, words
from lightning_explain.report.pictures import Bytes, Numbers, cut, opened, packed_values, values_of
from lightning_explain.report.reading import MonitorEvent, Series


def spread(count: int, most: int) -> list[int]:
    """Choose places out of `count`, evenly, the first and the last among them.

    Example:
        >>> spread(3, 5), spread(100, 4)
        ([0, 1, 2], [0, 33, 66, 99])
    """
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / max(1, most - 1)) for k in range(most)] if most > 1 else [count - 1]


@dataclass(frozen=True)
class Frame:
    """The probe at one step, by one method.

    Attributes:
        step: Training step.
        header: The event's header.
        maps: Heatmap of each sample [height, width]; None where it could not be read.
        method: The entry of the method in the header.
    """

    step: int
    header: dict[str, Any]
    maps: list[Numbers | None]
    method: dict[str, Any] = field(default_factory=dict[str, Any])

    def verdict(self, sample: int) -> tuple[str, bool | None]:
        """Return the prediction for a sample, and True if it is its label; None where there are no classes."""
        predicted, labels = indices(self.header.get("predicted")), indices(self.header.get("labels"))
        if sample < len(predicted):
            name = class_name(self.header, predicted[sample])
            right = predicted[sample] == labels[sample] if sample < len(labels) else None
            return name, right
        outputs = numbers(self.header.get("outputs"))
        return (f"{outputs[sample]:.3g}" if sample < len(outputs) else "", None)


@dataclass(frozen=True)
class ReportFilm:
    """All of a method's frames.

    Attributes:
        method: Its name, with its baseline.
        frames: By step.
        full: The size of an attribution that gets the full colour, shared by all frames.
        unit: What attributions are measured in.
    """

    method: str
    frames: list[Frame]
    full: float
    unit: str

    @property
    def n_samples(self) -> int:
        """Samples of the probe that are there."""
        return max((len(frame.maps) for frame in self.frames), default=0)

    def sample_name(self, sample: int) -> str:
        """Name a sample by its label, else by its place."""
        header = self.frames[-1].header
        labels = indices(header.get("labels"))
        return class_name(header, labels[sample]) if sample < len(labels) else f"sample {sample + 1}"

    def chosen(self, most: int) -> list[int]:
        """Choose samples: of each class in turn, in the probe's order."""
        labels = indices(self.frames[-1].header.get("labels"))
        turn: dict[int, int] = {}
        keys: list[tuple[int, int]] = []
        for sample in range(self.n_samples):
            label = labels[sample] if sample < len(labels) else -1
            keys.append((turn.get(label, 0), sample))
            turn[label] = turn.get(label, 0) + 1
        kept = [sample for _, sample in sorted(keys)[:most]]
        return sorted(kept, key=lambda sample: (labels[sample] if sample < len(labels) else 0, sample))


def films(series: Series, most_steps: int, beside: Sequence[Series] = ()) -> list[ReportFilm]:
    """Read a monitor's heatmaps, of each method.

    Args:
        series: What the monitor wrote.
        most_steps: Most frames, evenly spread.
        beside: The same monitor of other runs, which share its scale where they have its unit.
    """
    if not series.events:
        return []
    shown = [series.events[place] for place in spread(len(series.events), most_steps)]
    sheets = [opened(event.picture) if event.picture else None for event in shown]
    unit = series.events[-1].header.get("unit")
    scaled = [series, *(other for other in beside if other.events and other.events[-1].header.get("unit") == unit)]
    made: list[ReportFilm] = []
    for name in method_names(series):
        full = max([_full(event, name) for one in scaled for event in one.events], default=0.0)
        frames = [_frame(event, sheet, name) for event, sheet in zip(shown, sheets, strict=True)]
        made.append(ReportFilm(name, frames, full, words(unit) or "output"))
    return made


def method_names(series: Series) -> list[str]:
    """List the methods of a monitor's last event."""
    names = [words(mapping(method).get("name")) for method in items(series.events[-1].header.get("methods"))]
    return list(dict.fromkeys(names[:20]))


def frames_at(series: Series, steps: Sequence[int], method: str) -> list[Frame]:
    """Read a method's heatmaps at some of a monitor's steps."""
    at = {event.step: event for event in series.events}
    return [_frame(at[step], opened(at[step].picture) if at[step].picture else None, method) for step in steps]


def _frame(event: MonitorEvent, sheet: Bytes | None, name: str) -> Frame:
    return Frame(event.step, event.header, _maps(event, sheet, name), _method(event, name))


def _method(event: MonitorEvent, name: str) -> dict[str, Any]:
    methods = [mapping(method) for method in items(event.header.get("methods"))]
    return next((method for method in methods if method.get("name") == name), {})


def _full(event: MonitorEvent, name: str) -> float:
    full = number(_method(event, name).get("full_colour"))
    return 0.0 if np.isnan(full) else full


def _maps(event: MonitorEvent, sheet: Bytes | None, name: str) -> list[Numbers | None]:
    method, size = _method(event, name), tile(event.header.get("tile"))
    scales, first = numbers(method.get("scales"))[:200], method.get("first_tile")
    packed = packed_values(method, len(scales))
    if packed is not None:
        return [row[None] for row in packed]
    if sheet is None or size is None or not isinstance(first, int):
        return [None] * len(scales)
    tiles = [cut(sheet, size, first + place) for place in range(len(scales))]
    return [None if t is None else values_of(t, scale) for t, scale in zip(tiles, scales, strict=True)]


def inputs(series: Series, samples: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Read the pictures of a probe's inputs, as far as they are there."""
    if series.probe is None or not series.probe.picture:
        return {}
    sheet, size = opened(series.probe.picture), tile(series.probe.header.get("tile"))
    if sheet is None or size is None:
        return {}
    tiles = {sample: cut(sheet, size, sample) for sample in samples}
    return {sample: pixels for sample, pixels in tiles.items() if pixels is not None}
