"""Events of strategies for the Explain tab: the sample once, and what was found in it at each explanation."""

import base64
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from lightning_explain.callbacks.attribution.strategies.strategy_report import ClassReport, StrategyReport
from lightning_explain.callbacks.attribution.tab import MOST_LETTERS, probe_tab
from lightning_explain.log import Journal
from lightning_explain.log.tab_names import LONGEST, names_of
from lightning_explain.render.modalities import drawn_as, modality_of
from lightning_explain.render.modality import EVENT_PIXELS, rounded, spread_rows
from lightning_explain.render.packed_numbers import packed_numbers
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.sprites import Sprite, value_sprite
from lightning_explain.render.text import shortened
from lightning_explain.strategies import unit_rows
from lightning_explain.strategies.scatter import plane

PART = "strategies"
"""The series of a monitor's strategies: `explain/{name}/strategies/tab`."""

MOST_CLASSES = 40
"""Classes in an event, those with several strategies first."""

MOST_MAPS = 256
MOST_NUMBERS = 1 << 16
"""Maps of single samples in an event, and numbers of them where they are read: 175 kB."""

MOST_PLACES = 1 << 17
"""Words or features of the samples in the event that holds the sample."""

N_TYPICAL = 8
"""Samples of each strategy that are written first."""

MOST_NAMES, STRIP = 6, 120
"""Words of a strategy, and columns of a time series."""

SIDE, NO_POINT = 127, -128
"""A point's coordinate is a signed byte: 1 as 127; no point as -128."""


def sample_tab(report: StrategyReport) -> tuple[dict[str, Any], Sprite | None]:
    """Describe the sample in which strategies are looked for: header and pictures of its inputs.

    Samples are all written where they are few numbers, else as many as fit, the same number of each class.
    """
    sample, shown = report.sample, report.shown[0]
    n_places = 1 if shown.form is None or modality_of(shown).layout == "pictures" else shown.inputs[0].numel()
    rows = spread_rows(sample.labels, len(sample), max(1, MOST_PLACES // n_places))
    header, sprite = probe_tab(sample, shown, rows=rows)
    indices = sample.indices
    return {**header, "indices": None if not indices else [indices[row] for row in rows]}, sprite


def listed_classes(report: StrategyReport) -> list[ClassReport]:
    """Choose the classes of an event: those of several strategies first, those furthest apart first, then by number."""

    def order(one: ClassReport) -> tuple[float, int]:
        strategies = one.strategies.strategies
        return -strategies[1].separation if len(strategies) > 1 else 1.0, one.index

    return sorted(report.classes.values(), key=order)[:MOST_CLASSES]


def mapped_rows(classes: Sequence[ClassReport], n_places: int, *, is_picture: bool) -> list[int]:
    """Choose the samples whose maps are written: the most typical ones, all of classes of several strategies, others.

    Args:
        classes: The classes, in their order.
        n_places: Numbers of a map.
        is_picture: Maps are written as a picture.
    """
    several = [one for one in classes if len(one.strategies.strategies) > 1]
    typical = [
        row for one in classes for k, _ in enumerate(one.strategies.strategies) for row in one.members(k)[:N_TYPICAL]
    ]
    needed = list(dict.fromkeys([*typical, *(row for one in several for row in one.rows)]))
    # as many others of every class as cost the needed ones no pixels; the same ones at each explanation
    in_turn = [row for rows in zip_longest(*(one.rows for one in classes)) for row in rows if row is not None]
    room = (EVENT_PIXELS if is_picture else MOST_NUMBERS) // n_places
    most = min(MOST_MAPS, max(room, len(needed))) if is_picture else max(1, min(MOST_MAPS, room))
    return list(dict.fromkeys([*needed, *in_turn]))[:most]


def strategy_tab(report: StrategyReport) -> tuple[dict[str, Any], Sprite | None]:
    """Describe the strategies of one explanation: header (see `docs/tab.md`) and a sprite of maps.

    Cost: none through the model.
    """
    shown, classes = report.shown[0], listed_classes(report)
    drawn = drawn_as(shown, report.heat[:1])
    form = shown.form if drawn.form == shown.form and shown.form is not None else None
    layout = None if form is None else modality_of(shown).layout
    heat = _as_maps(report.heat) if layout == "pictures" else report.heat.flatten(1)[:, None]
    if layout in ("words", "lists"):
        heat = heat if shown.kept is None or shown.kept.shape != heat[:, 0].shape else heat * shown.kept[:, None]
    is_picture = layout == "pictures"
    rows = mapped_rows(classes, heat[0].numel(), is_picture=is_picture) if form is not None else []
    means = [_mean(one, number, heat) for one in classes for number in range(len(one.strategies.strategies))]
    maps = torch.cat([heat[rows], torch.stack(means)]) if is_picture and means else heat[rows]
    sprite = value_sprite(maps, max_pixels=EVENT_PIXELS) if is_picture and len(maps) else None
    labels = None if report.sample.labels is None else report.sample.labels.tolist()
    predicted = None if report.predicted is None else report.predicted.tolist()
    places = [-1] * len(report.sample)
    for place, row in enumerate(rows):
        places[row] = place
    method: dict[str, Any] = {
        "name": shortened(report.method, LONGEST),
        "full_colour": colour_scale(maps) if len(maps) else None,
        "rows": places,
    }
    if sprite is not None:
        method |= {"first_tile": 0, "scales": list(sprite.scales)}
    else:
        method |= packed_numbers(maps.flatten(1)) if len(maps) else {"scales": []}
    tiles = iter(range(len(rows), len(rows) + len(means)))
    header = {
        "kind": PART,
        "probe": report.sample.fingerprint,
        "form": form,
        "layout": layout,
        "unit": "output" if predicted is None else "logits",
        "tile": sprite.tile if sprite is not None else None,
        "labels": labels,
        "predicted": predicted,
        "class_names": names_of([*(labels or []), *(predicted or [])], report.sample.class_name),
        "methods": [method],
        "n_classes": len(report.classes),
        "classes": [_class_entry(one, report, tiles if is_picture else None) for one in classes],
        "curve": {
            "strategies": {
                str(one.index): [one.n_strategies, rounded(one.share_of_smaller)] for one in report.classes.values()
            },
        },
    }
    return header, sprite


def _as_maps(heat: Tensor) -> Tensor:
    """Return attributions by place [n, places...] as maps [n, height, width]; time series as strips."""
    if heat.ndim == 3:
        return heat
    strips = heat.flatten(1)[:, None]
    return strips if strips.shape[2] <= STRIP else torch.nn.functional.adaptive_avg_pool1d(strips.float(), STRIP)


def _mean(one: ClassReport, number: int, maps: Tensor) -> Tensor:
    """Return the mean of a strategy's maps, each at the same length, since some outputs are larger than others."""
    members = maps[one.members(number)].float()
    sizes = members.flatten(1).norm(dim=1)
    return (members * (sizes.mean() / sizes.clamp_min(1e-30))[:, None, None]).mean(0)


def _class_entry(one: ClassReport, report: StrategyReport, tiles: Iterator[int] | None) -> dict[str, Any]:
    found = one.strategies
    maps = torch.cat([each.values.flatten(1)[one.rows].double() for each in report.profile], 1)
    axes, points = plane_words(one), plane(unit_rows(maps), found.assignment)
    entries = [_strategy_entry(one, number, report) for number in range(len(found.strategies))]
    if tiles is not None:
        for entry in entries:
            entry["mean"] = next(tiles)
    return {
        "class": one.index,
        "name": shortened(one.name, LONGEST),
        "rows": one.rows,
        "assignment": found.assignment.tolist(),
        "points": packed_points(points),
        "axes": axes,
        "p_value": float(f"{found.p_value:.3g}"),
        "caveat": found.caveat,
        "strategies": entries,
    }


def plane_words(one: ClassReport) -> list[str]:
    """Return the words for both axes of the plane of a class's samples."""
    lines = [
        f"towards strategy {number + 1}, on a line drawn without the sample"
        for number in range(1, min(3, len(one.strategies.strategies)))
    ]
    components = ["largest variance", "second largest variance"] if not lines else ["largest variance besides"]
    return [*lines, *components][:2]


def packed_points(points: Tensor) -> str:
    """Write points [n, 2] within -1 and 1 as signed bytes in base64; -128 for a sample without a point."""
    levels = torch.where(points.isfinite(), (points.clamp(-1, 1) * SIDE).round(), float(NO_POINT))
    return base64.b64encode(levels.to(torch.int8).numpy().tobytes()).decode()


def _strategy_entry(one: ClassReport, number: int, report: StrategyReport) -> dict[str, Any]:
    strategy, followed = one.strategies.strategies[number], one.followed[number]
    return {
        "share": rounded(strategy.share),
        "separation": rounded(strategy.separation, 3),
        "stability": rounded(strategy.stability, 3),
        "effect": rounded(strategy.effect, 3),
        "where": shortened(one.where[number], LONGEST),
        "inside": rounded(one.inside[number]),
        "outside": rounded(one.outside[number]),
        "since_epoch": None if followed is None else followed.epoch,
        "since_step": None if followed is None else followed.step,
        # the most typical first
        "members": one.members(number),
        "named": _named(one, number, report),
    }


def _named(one: ClassReport, number: int, report: StrategyReport) -> list[list[Any]]:
    """Return the words or features that a strategy has more relevance in, with their mean; nothing for a grid."""
    strategy, profile = one.strategies.strategies[number], report.profile[0]
    if not profile.names:
        return []
    n = profile.values[0].numel()
    mean, away = strategy.mean[:n], strategy.difference[:n]
    size = mean.abs() if len(one.strategies.strategies) == 1 else away.clamp_min(0)
    top: list[int] = size.topk(min(MOST_NAMES, n)).indices.tolist()
    return [[shortened(profile.names[i], LONGEST), rounded(float(mean[i]), 3)] for i in top if float(size[i]) > 0]


def log_strategy_tab(journal: Journal, name: str, report: StrategyReport) -> None:
    """Write the strategies of an explanation for the Explain tab, and the sample where the event file has none yet.

    Args:
        journal: Where to.
        name: The monitor's name.
        report: What was found.
    """
    if not journal.shows_tab:
        return
    described, inputs = sample_tab(report)
    journal.tab_probe(name, {**described, "name": name}, inputs.picture if inputs else None, part=PART)
    header, sprite = strategy_tab(report)
    if report.alerts:
        header["curve"]["alert"] = shortened(" ".join(map(str, report.alerts)), MOST_LETTERS)
    moment = {"name": name, "step": journal.step, "epoch": report.epoch, "count": report.count, "caveat": ""}
    journal.tab(name, {**header, **moment}, sprite.picture if sprite else None, part=PART)
