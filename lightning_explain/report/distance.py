"""Drift between two runs: how far their explanations of the same samples are apart at the steps that both have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_explain.report.checked import numbers, words
from lightning_explain.report.filmstrip import Frame, frames_at, spread
from lightning_explain.report.pictures import STEPS, Numbers
from lightning_explain.report.reading import Series

SURE = 2.0
"""Standard errors below which 95 of 100 true errors are meant to lie."""


@dataclass(frozen=True)
class Distance:
    """Cosine distance of two maps, and its error."""

    value: float
    error: float


def _error(frame: Frame, values: Numbers, sample: int) -> tuple[float, float]:
    """Return the error of a map in shares of its length: all of it, and the part towards another map."""
    size = float(np.linalg.norm(values)) or 1.0
    stated = numbers(frame.method.get("error"))
    whole = stated[sample] if sample < len(stated) and not np.isnan(stated[sample]) else 0.0
    # the error lies in as many directions as the map has strong values, and only one of them leads to the other map
    aside = whole / max(1.0, float(np.abs(values).sum()) / size)
    scales = numbers(frame.method.get("scales"))
    scale = scales[sample] if "values" not in frame.method and sample < len(scales) else 0.0
    rounding = scale / STEPS / 12**0.5 / size
    return float(np.hypot(whole, rounding * values.size**0.5)), float(np.hypot(aside, rounding))


def distance_of(one: Frame, other: Frame, sample: int) -> Distance | None:
    """Return the distance of two explanations of a sample; None where one of them is not there or is zero."""
    maps = [frame.maps[sample] if sample < len(frame.maps) else None for frame in (one, other)]
    if maps[0] is None or maps[1] is None or maps[0].shape != maps[1].shape:
        return None
    a, b = (np.nan_to_num(values.ravel().astype(np.float64)) for values in maps if values is not None)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if size == 0:
        return None
    cosine = float(np.clip(a @ b / size, -1, 1))
    (whole_a, aside_a), (whole_b, aside_b) = (
        _error(frame, values.astype(np.float32), sample) for frame, values in ((one, a), (other, b))
    )
    # what points elsewhere makes both maps longer, and no more alike
    shrunk = abs(cosine) * (whole_a**2 + whole_b**2) / 2
    return Distance(1 - cosine, SURE * (1 - cosine**2) ** 0.5 * float(np.hypot(aside_a, aside_b)) + shrunk)


def unlike(one: Series, other: Series) -> str:
    """Return why two runs' explanations cannot be compared sample by sample; empty if they can."""
    first, second = one.events[-1].header, other.events[-1].header
    if not first.get("probe") or not second.get("probe"):
        return "a record does not say of which probe it is"
    if first["probe"] != second["probe"]:
        return f"their probes differ (fingerprints {words(first['probe'])[:12]} and {words(second['probe'])[:12]})"
    if first.get("unit") != second.get("unit"):
        return "their attributions are in different units"
    return ""


def between(one: Series, other: Series, method: str, most_steps: int) -> list[tuple[int, float, float]]:
    """Return the mean distance of two runs at the steps that both have: (step, distance, error) each.

    Args:
        one: A monitor's events of a run.
        other: The same of another run, of the same probe.
        method: The method's name.
        most_steps: Most points, evenly spread.
    """
    common = sorted({event.step for event in one.events} & {event.step for event in other.events})
    chosen = [common[place] for place in spread(len(common), most_steps)]
    points: list[tuple[int, float, float]] = []
    for a, b in zip(frames_at(one, chosen, method), frames_at(other, chosen, method), strict=True):
        point = _mean([distance_of(a, b, sample) for sample in range(min(len(a.maps), len(b.maps)))])
        if point is not None:
            points.append((a.step, point.value, point.error))
    return points


def _mean(distances: Sequence[Distance | None]) -> Distance | None:
    known = [each for each in distances if each is not None]
    if not known:
        return None
    return Distance(*(float(np.mean([getattr(each, part) for each in known])) for part in ("value", "error")))
