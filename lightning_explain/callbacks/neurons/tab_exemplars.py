"""The exemplars of a report's cards for the Explain tab: header fields of each layer, crops and heatmaps as one sprite."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from lightning_explain.log.tab_names import LONGEST
from lightning_explain.render.colour import Picture
from lightning_explain.render.modality import rounded
from lightning_explain.render.sprites import Sprite, picture_sprite, value_sprite
from lightning_explain.render.text import shortened
from lightning_explain.render.tile_bands import common_tile, crop_tiles, few_colours, map_tiles, stacked

MOST_UNITS = 24
"""Units with exemplars in an event: about 30 kB of photographs."""

CROP_SIDE, HEAT_SIDE = 28, 14
"""Longest side of a crop and of a heatmap."""

MOST_NUMBERS = 48
"""Words, features or steps of an exemplar."""


class ExemplarLike(Protocol):
    """One exemplar, as `exemplars.cards.Exemplar` has it."""

    sample: int
    label: int
    value: float
    crop: Tensor
    heatmap: Tensor | None
    words: tuple[str, ...]


class CardLike(Protocol):
    """A unit's card, as `exemplars.cards.UnitCard` has it."""

    unit: int
    reason: str
    form: str | None
    by: str
    method: str
    scale: float
    exemplars: tuple[Any, ...]


Cards = Mapping[str, Mapping[int, Any]]
Crops = Callable[[Any], list[Picture]]
"""Draws the crops of a card's exemplars."""


@dataclass
class _Band:
    """The tiles of one layer."""

    crops: list[Picture]
    maps: list[Tensor]


def chosen_cards(cards: Cards, most: int) -> dict[str, list[Any]]:
    """Choose the cards that an event holds: of each layer the first ones, in turn."""
    found: dict[str, list[Any]] = {layer: [] for layer in cards}
    queues = {layer: list(units.values()) for layer, units in cards.items()}
    while most > 0 and any(queues.values()):
        for layer, queue in queues.items():
            if queue and most > 0:
                found[layer].append(queue.pop(0))
                most -= 1
    return {layer: units for layer, units in found.items() if units}


def _numbers(values: Tensor) -> list[float]:
    """Return values [n] shortly; of more than `MOST_NUMBERS` the mean of neighbours."""
    flat = values.detach().float().cpu().flatten()
    if len(flat) > MOST_NUMBERS:
        edges = np.linspace(0, len(flat), MOST_NUMBERS + 1).round().astype(int).tolist()
        return [rounded(float(flat[a:b].mean()), 3) for a, b in zip(edges, edges[1:], strict=False)]
    return [rounded(value, 3) for value in flat.tolist()]


def _inputs(one: Any, form: str | None) -> dict[str, Any]:
    """Return an exemplar that is no picture as numbers and words."""
    heat = {} if one.heatmap is None else {"values": _numbers(one.heatmap)}
    if form == "tokens":
        words = [shortened(word, LONGEST) for word in one.words[:MOST_NUMBERS]]
        return {"words": words, **({} if one.heatmap is None else {"values": _numbers(one.heatmap[:MOST_NUMBERS])})}
    if form == "signal":
        return {"inputs": _numbers(one.crop.float().flatten(0, -2).mean(0) if one.crop.ndim > 1 else one.crop), **heat}
    flat, map_ = one.crop.flatten(), one.heatmap
    ranked = (flat if map_ is None else map_.flatten()).abs().argsort(descending=True)[:6].tolist()
    names = [one.words[i] if i < len(one.words) else f"feature {i}" for i in ranked]
    return {
        "words": [shortened(name, LONGEST) for name in names],
        "inputs": [rounded(float(flat[i]), 3) for i in ranked],
        **({} if map_ is None else {"values": [rounded(float(map_.flatten()[i]), 3) for i in ranked]}),
    }


def _unit(card: Any, shown: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "unit": card.unit,
        "reason": shortened(card.reason, LONGEST),
        "scale": rounded(card.scale, 3),
        "shown": shown,
    }


def _layer(cards: Sequence[Any], crops_of: Crops) -> tuple[dict[str, Any], _Band]:
    band, units = _Band([], []), list[dict[str, Any]]()
    form = cards[0].form
    for card in cards:
        pictures = crops_of(card) if form == "image" else []
        shown: list[dict[str, Any]] = []
        for place, one in enumerate(card.exemplars):
            entry = {"sample": one.sample, "label": one.label, "value": rounded(one.value, 3)}
            if place < len(pictures):
                entry["tile"] = len(band.crops)
                band.crops.append(pictures[place])
                if one.heatmap is not None:
                    entry["heat"] = len(band.maps)
                    band.maps.append(one.heatmap)
            else:
                entry |= _inputs(one, form)
            shown.append(entry)
        units.append(_unit(card, shown))
    about = {"form": form, "by": cards[0].by, "method": shortened(cards[0].method, LONGEST), "units": units}
    return about, band


def exemplar_tab(cards: Cards, crops_of: Crops) -> tuple[dict[str, dict[str, Any]], Picture | None]:
    """Describe cards: the field `exemplars` of each layer, and one picture of all crops and heatmaps.

    Args:
        cards: By layer and unit.
        crops_of: Draws the crops of a card's exemplars; asked for images only.
    """
    fields: dict[str, dict[str, Any]] = {}
    sprites: list[Sprite] = []
    places: list[tuple[dict[str, Any], str]] = []
    for layer, units in chosen_cards(cards, MOST_UNITS).items():
        fields[layer], band = _layer(units, crops_of)
        if band.crops:
            tile = common_tile([crop.shape[:2] for crop in band.crops], CROP_SIDE)
            sprite = picture_sprite(crop_tiles(band.crops, tile), max_pixels=1 << 20)
            sprites.append(Sprite(few_colours(sprite.picture), sprite.tile))
            fields[layer]["tile"] = list(sprite.tile)
            places.append((fields[layer], "top"))
        if band.maps:
            tile = common_tile([(one.shape[0], one.shape[1]) for one in band.maps], HEAT_SIDE)
            sprite = value_sprite(map_tiles(band.maps, tile), max_pixels=1 << 20)
            sprites.append(sprite)
            fields[layer]["heat_tile"] = list(sprite.tile)
            places.append((fields[layer], "heat_top"))
            for entry in (one for unit in fields[layer]["units"] for one in unit["shown"] if "heat" in one):
                entry["heat_scale"] = sprite.scales[entry["heat"]]
    if not sprites:
        return fields, None
    picture, tops = stacked(sprites)
    for (field, name), top in zip(places, tops, strict=True):
        field[name] = top
    return fields, picture
