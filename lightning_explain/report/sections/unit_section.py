"""Units by their exemplars: what excites each, what in it does, and the accuracy without the unit."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from lightning_explain.report.checked import class_name, indices, items, mapping, number, numbers, tile, whole, words
from lightning_explain.report.markup import Child, Markup, clean, el, join, png_address, short_number, table
from lightning_explain.report.pictures import (
    AGAINST,
    FOR,
    RISE,
    Bytes,
    Numbers,
    cut,
    opened,
    plain_picture,
    values_of,
)
from lightning_explain.report.reading import MonitorEvent, Series

MOST_UNITS = 12
"""Units of a layer that are shown."""

MOST_SHOWN = 6
MOST_LETTERS = 24
SMALL = 16
"""A crop of fewer pixels is shown as squares."""

STRONGEST = 0.85
"""How much of a picture its heatmap may cover."""


@dataclass(frozen=True)
class ShownExemplar:
    """One exemplar of a unit.

    Attributes:
        label: Name of its class; empty for none.
        value: How much it excites the unit.
        crop: The part of it that the unit sees; None where there is no picture.
        heat: What in the crop excites the unit; None where it is not known.
        words_alone: The strongest words or features, for what is no picture.
    """

    label: str
    value: float
    crop: Bytes | None
    heat: Numbers | None
    words_alone: str


@dataclass(frozen=True)
class ShownUnit:
    """A unit at the last step.

    Attributes:
        unit: Its index.
        reason: What it is listed as.
        scale: The size that gets the full colour in its heatmaps.
        exemplars: Best first.
    """

    unit: int
    reason: str
    scale: float
    exemplars: list[ShownExemplar] = field(default_factory=list[ShownExemplar])


def exemplar_event(series: Series) -> MonitorEvent | None:
    """Return the event that holds the exemplars of the last step; None where none does."""
    last = series.events[-1]
    step = whole(last.header.get("exemplars_step"), last.step)
    return next((event for event in series.events if event.step == step and _has_exemplars(event)), None)


def _has_exemplars(event: MonitorEvent) -> bool:
    return any(mapping(mapping(layer).get("exemplars")) for layer in items(event.header.get("layers")))


def _moved(sheet: Bytes | None, top: Any) -> Bytes | None:
    start = max(0, whole(top, 0))
    return None if sheet is None or start >= len(sheet) else sheet[start:]


def shown_units(event: MonitorEvent, layer: dict[str, Any]) -> list[ShownUnit]:
    """Read the exemplars of a layer's units."""
    about = mapping(layer.get("exemplars"))
    sheet = opened(event.picture)
    crops, size = _moved(sheet, about.get("top")), tile(about.get("tile"))
    maps, heat_size = _moved(sheet, about.get("heat_top")), tile(about.get("heat_tile"))

    def exemplar(one: dict[str, Any]) -> ShownExemplar:
        label = whole(one.get("label"))
        place, heat = whole(one.get("tile")), whole(one.get("heat"))
        cut_map = None if maps is None or heat_size is None or heat < 0 else cut(maps, heat_size, heat)
        return ShownExemplar(
            class_name(event.header, label) if label >= 0 else "",
            number(one.get("value")),
            None if crops is None or size is None or place < 0 else cut(crops, size, place),
            None if cut_map is None else values_of(cut_map, number(one.get("heat_scale"))),
            _caption_words(one),
        )

    return [
        ShownUnit(
            whole(unit.get("unit")),
            words(unit.get("reason")),
            number(unit.get("scale")),
            [exemplar(mapping(one)) for one in items(unit.get("shown"))[:MOST_SHOWN]],
        )
        for unit in map(mapping, items(about.get("units")))
    ]


def _caption_words(one: dict[str, Any]) -> str:
    """Return the words of an exemplar, those in capitals of strength: the strongest three first."""
    names, values = [words(word) for word in items(one.get("words"))], numbers(one.get("values"))
    order = sorted(range(min(len(names), len(values))), key=lambda i: -abs(np.nan_to_num(values[i])))[:3]
    strongest = ", ".join(f"{clean(names[i], MOST_LETTERS)} {values[i]:+.2g}" for i in order if values[i])
    return strongest or " ".join(clean(name, MOST_LETTERS) for name in names[:12])


def under_heat(crop: Bytes, heat: Numbers, full: float) -> Bytes:
    """Lay a heatmap over a crop in grey: red raises the unit, blue lowers it, the stronger the more it covers."""
    height, width, _ = crop.shape
    large = np.asarray(Image.fromarray(np.nan_to_num(heat)).resize((width, height), Image.Resampling.BILINEAR))
    level = np.clip(large / (full if full > 0 else 1), -1, 1)[..., None]
    grey = np.repeat(crop @ np.array([0.3, 0.59, 0.11], dtype=np.float32)[:, None], 3, axis=2)
    covers = STRONGEST * np.abs(level) ** RISE
    return np.rint((1 - covers) * grey + covers * np.where(level > 0, FOR, AGAINST)).astype(np.uint8)


def _picture(pixels: Bytes, words_alone: str) -> Markup:
    small = max(pixels.shape[:2]) < SMALL
    return el(
        "img",
        src=png_address(plain_picture(pixels)),
        alt=words_alone,
        title=words_alone,
        class_="pixels" if small else None,
    )


def _exemplar(one: ShownExemplar, scale: float) -> Markup:
    caption = el("figcaption", el("bdi", clean(one.label, 16)), f" {short_number(one.value)}")
    if one.crop is None:
        return el("figure", el("bdi", one.words_alone), caption, class_="words")
    heat = None if one.heat is None else _picture(under_heat(one.crop, one.heat, scale), "what excites the neuron")
    return el("figure", _picture(one.crop, "what the neuron sees"), heat, caption)


def effect_words(layer: dict[str, Any], unit: int, header: dict[str, Any]) -> str:
    """Return the class that loses most accuracy without a unit, with the standard error; a dash if not measured."""
    effects = mapping(layer.get("effects"))
    classes, n_samples = indices(effects.get("classes")), numbers(effects.get("n_samples"))
    for row in map(items, items(effects.get("units"))):
        if len(row) != 4 or whole(row[0]) != unit:
            continue
        lost, gained, errors = numbers(row[1]), numbers(row[2]), numbers(row[3])
        known = [
            i for i, n in enumerate(n_samples) if n > 0 and i < min(len(lost), len(gained), len(errors), len(classes))
        ]
        if not known:
            break
        change = {i: (gained[i] - lost[i]) / n_samples[i] for i in known}
        worst = min(known, key=lambda i: (change[i], i))
        points = f"{100 * change[worst]:+.0f} ± {100 * errors[worst]:.0f} points"
        if not any(lost[i] or gained[i] for i in known):
            return f"no probe sample changes (± {100 * max(errors[i] for i in known):.0f} points)"
        return f"{clean(class_name(header, classes[worst]), MOST_LETTERS)}: {points}"
    return "\u2013"


def unit_cards(series: Series) -> Markup | None:
    """Show the units that have exemplars at the last step, layer by layer; None where none has."""
    event = exemplar_event(series)
    if event is None:
        return None
    last = {
        words(mapping(layer).get("name")): mapping(layer) for layer in items(series.events[-1].header.get("layers"))
    }
    blocks: list[Markup] = []
    for layer in map(mapping, items(event.header.get("layers"))):
        units = shown_units(event, layer)
        if not units:
            continue
        now = last.get(words(layer.get("name")), layer)
        rows: list[list[Child]] = [
            [
                str(unit.unit),
                el("bdi", clean(unit.reason, 40)),
                el("div", *(_exemplar(one, unit.scale) for one in unit.exemplars), class_="exemplars"),
                el("bdi", effect_words(now, unit.unit, event.header)),
            ]
            for unit in units[:MOST_UNITS]
        ]
        about = mapping(layer.get("exemplars"))
        title = f"Neurons of {clean(words(layer.get('name')), 40)} by what excites them, at step {event.step:,}"
        method = clean(words(about.get("method")), 40)
        note = (
            f"Below each crop what in it raises the neuron (red) or lowers it (blue), by {method}; class and value. "
            "Exclusive and selective are said of means over each class."
        )
        head: list[Child] = ["neuron", "listed as", "validation samples that excite it most", "accuracy without it"]
        blocks.append(
            join(el("h4", title), el("p", note, class_="note"), table(head, rows, caption=title, class_="units"))
        )
    return join(*blocks) if blocks else None


def unit_picture(series: Series, layer: str, unit: int) -> bytes | None:
    """Return the crop of a unit's best exemplar at the last step as a PNG; None where there is none.

    Args:
        series: A neuron monitor's.
        layer: Name of the watched layer, or of one whose units are the same: the convolution before a ReLU.
        unit: The unit.
    """
    event = exemplar_event(series) if series.events else None
    for found in [] if event is None else map(mapping, items(event.header.get("layers"))):
        names = [words(found.get("name")), *map(words, items(found.get("of")))]
        if event is None or layer not in names:
            continue
        for one in shown_units(event, found):
            crop = next((each.crop for each in one.exemplars if each.crop is not None), None)
            if one.unit == unit and crop is not None:
                return plain_picture(crop)
    return None
