"""The exemplars of a report's cards for the Explain tab: header fields by layer, crops and heatmaps as one sprite."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from lightning_explain.log.tab_names import LONGEST
from lightning_explain.render.colour import Picture
from lightning_explain.render.modality import rounded
from lightning_explain.render.sprites import Sprite, picture_sprite, value_sprite
from lightning_explain.render.text import shortened
from lightning_explain.render.tile_bands import common_tile, crop_tiles, few_colours, map_tiles, stacked

MOST_UNITS = 24
MOST_PIXELS = 44_000
"""Units with exemplars in an event, and pixels of their crops and heatmaps: 30 kB of photographs."""

CROP_SIDE, HEAT_SIDE = 28, 14
"""Longest side of a crop and of a heatmap."""

MOST_NUMBERS, MOST_FEATURES = 48, 6
"""Words or steps, and features, of an exemplar."""


Cards = Mapping[str, Mapping[int, Any]]
Crops = Callable[[Any], list[Picture]]
"""Draws the crops of a card's exemplars."""


@dataclass
class _Unit:
    """A unit's header entry, and its tiles."""

    entry: dict[str, Any]
    crops: list[Picture]
    maps: list[Tensor]

    @property
    def n_pixels(self) -> int:
        """Pixels that its tiles take in an event."""
        tiles = [*(common_tile([crop.shape[:2]], CROP_SIDE) for crop in self.crops)]
        tiles += [common_tile([(one.shape[0], one.shape[1])], HEAT_SIDE) for one in self.maps]
        return sum(height * width for height, width in tiles)


def _numbers(values: Tensor) -> list[float]:
    """Return values [n] shortly; of more than `MOST_NUMBERS` the mean of neighbours."""
    flat = values.detach().float().cpu().flatten()
    if len(flat) > MOST_NUMBERS:
        edges = np.linspace(0, len(flat), MOST_NUMBERS + 1).round().astype(int).tolist()
        return [rounded(float(flat[a:b].mean()), 3) for a, b in pairwise(edges)]
    return [rounded(value, 3) for value in flat.tolist()]


def _inputs(one: Any, form: str | None) -> dict[str, Any]:
    """Return an exemplar that is no picture as numbers and words."""
    heat = {} if one.heatmap is None else {"values": _numbers(one.heatmap)}
    if form == "tokens":
        words = [shortened(word, LONGEST) for word in one.words[:MOST_NUMBERS]]
        return {"words": words, **({} if one.heatmap is None else {"values": _numbers(one.heatmap[:MOST_NUMBERS])})}
    if form == "signal":
        return {"inputs": _numbers(one.crop.float().flatten(0, -2).mean(0) if one.crop.ndim > 1 else one.crop), **heat}
    flat = one.crop.flatten()
    values = None if one.heatmap is None else one.heatmap.flatten()
    ranked = (flat if values is None else values).abs().argsort(descending=True)[:MOST_FEATURES].tolist()
    names = [one.words[i] if i < len(one.words) else f"feature {i}" for i in ranked]
    return {
        "words": [shortened(name, LONGEST) for name in names],
        "inputs": [rounded(float(flat[i]), 3) for i in ranked],
        **({} if values is None else {"values": [rounded(float(values[i]), 3) for i in ranked]}),
    }


def _unit(card: Any, crops_of: Crops) -> _Unit:
    pictures = crops_of(card) if card.form == "image" else []
    unit = _Unit({}, [], [])
    shown: list[dict[str, Any]] = []
    for place, one in enumerate(card.exemplars):
        entry = {"sample": one.sample, "label": one.label, "value": rounded(one.value, 3)}
        if place >= len(pictures):
            shown.append(entry | _inputs(one, card.form))
            continue
        entry["tile"] = len(unit.crops)
        unit.crops.append(pictures[place])
        if one.heatmap is not None:
            entry["heat"] = len(unit.maps)
            unit.maps.append(one.heatmap)
        shown.append(entry)
    about = {"unit": card.unit, "reason": shortened(card.reason, LONGEST), "scale": rounded(card.scale, 3)}
    unit.entry = {**about, "shown": shown}
    return unit


def _in_turn(cards: Cards, crops_of: Crops) -> dict[str, list[_Unit]]:
    """Choose the units that an event has room for: the first one of each layer, then the second, ..."""
    found: dict[str, list[_Unit]] = {}
    queues = {layer: list(units.values()) for layer, units in cards.items()}
    n_units, n_pixels = 0, 0
    for layer, place in ((layer, i) for i in range(max(map(len, queues.values()), default=0)) for layer in queues):
        if place >= len(queues[layer]) or n_units >= MOST_UNITS:
            continue
        unit = _unit(queues[layer][place], crops_of)
        if n_pixels + unit.n_pixels > MOST_PIXELS and n_units:
            continue
        n_units, n_pixels = n_units + 1, n_pixels + unit.n_pixels
        found.setdefault(layer, []).append(unit)
    return found


def _numbered(units: list[_Unit]) -> list[dict[str, Any]]:
    """Number the tiles of a layer's units through."""
    n_crops, n_maps = 0, 0
    for unit in units:
        for entry in unit.entry["shown"]:
            entry |= {key: entry[key] + n for key, n in (("tile", n_crops), ("heat", n_maps)) if key in entry}
        n_crops, n_maps = n_crops + len(unit.crops), n_maps + len(unit.maps)
    return [unit.entry for unit in units]


def exemplar_tab(cards: Cards, crops_of: Crops) -> tuple[dict[str, dict[str, Any]], Picture | None]:
    """Describe cards: the field `exemplars` of each layer, and one picture of all crops and heatmaps.

    Args:
        cards: By layer and unit.
        crops_of: Draws the crops of a card's exemplars; asked for images only.
    """
    fields: dict[str, dict[str, Any]] = {}
    bands: list[tuple[dict[str, Any], str, Sprite]] = []
    for layer, units in _in_turn(cards, crops_of).items():
        first = next(iter(cards[layer].values()))
        about = {"form": first.form, "by": first.by, "method": shortened(first.method, LONGEST)}
        field: dict[str, Any] = {**about, "units": _numbered(units)}
        fields[layer] = field
        crops, maps = [crop for unit in units for crop in unit.crops], [one for unit in units for one in unit.maps]
        if crops:
            tile = common_tile([crop.shape[:2] for crop in crops], CROP_SIDE)
            bands.append((field, "", picture_sprite(crop_tiles(crops, tile), max_pixels=1 << 20)))
        if maps:
            tile = common_tile([(one.shape[0], one.shape[1]) for one in maps], HEAT_SIDE)
            sprite = value_sprite(map_tiles(maps, tile), max_pixels=1 << 20)
            bands.append((field, "heat_", sprite))
            for entry in (one for unit in field["units"] for one in unit["shown"] if "heat" in one):
                entry["heat_scale"] = sprite.scales[entry["heat"]]
    return fields, _in_one_picture(bands) if bands else None


def _in_one_picture(bands: list[tuple[dict[str, Any], str, Sprite]]) -> Picture:
    """Set crops, in few colours, over heatmaps, whose bytes are numbers; note in the fields where each begins."""
    bands = sorted(bands, key=lambda band: band[1])
    picture, tops = stacked([sprite for _, _, sprite in bands])
    for (field, kind, sprite), top in zip(bands, tops, strict=True):
        field[f"{kind}tile"], field[f"{kind}top"] = list(sprite.tile), top
    n_rows = sum(sprite.picture.shape[0] for _, kind, sprite in bands if not kind)
    picture[:n_rows] = few_colours(picture[:n_rows])
    return picture
