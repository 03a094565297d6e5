"""The exemplars of a report's cards for the Explain tab: header fields by layer, crops and heatmaps as one sprite."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.display import Display
from lightning_explain.exemplars import LayerExemplars
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.log.tab_names import LONGEST
from lightning_explain.render.colour import Picture
from lightning_explain.render.modalities.image import input_pictures
from lightning_explain.render.modality import rounded
from lightning_explain.render.sprites import Sprite, picture_sprite, value_sprite
from lightning_explain.render.text import shortened
from lightning_explain.render.tile_bands import common_tile, crop_tiles, few_colours, map_tiles, stacked

MOST_UNITS = 24
MOST_PIXELS = 44_000
"""Units with exemplars in an event, and pixels of their crops and heatmaps: 30 kB of photographs."""

CROP_SIDE, HEAT_SIDE = 28, 14
"""Longest side of a crop and of a heatmap."""

MOST_NUMBERS, MOST_FEATURES = 32, 6
"""Words or steps, and features, of an exemplar."""


Cards = Mapping[str, Mapping[int, UnitCard]]
Crops = Callable[[UnitCard], list[Picture]]
"""Draws the crops of a card's exemplars."""


def crop_pictures(card: UnitCard, display: Display | None) -> list[Picture]:
    """Draw the crops of a unit's exemplars, which are images, alike."""
    return [input_pictures(one.crop[None], display, limits=card.limits)[0] for one in card.exemplars]


class TabUnits:
    """The exemplars of units in a run's events; crops are written once, events that follow refer to them.

    Attributes:
        producers: For each watched layer the modules whose units are the same; None until they were looked for.
    """

    def __init__(self) -> None:
        self.producers: Mapping[str, Sequence[str]] | None = None
        self._written: tuple[Cards, int] | None = None

    def know(self, cards: Cards, find: Callable[[], Mapping[str, Sequence[str]]]) -> None:
        """Look for the producers once, when there are cards to be found by them; every process must call it."""
        if self.producers is None and cards:
            self.producers = {}  # where it fails, it is not tried again
            self.producers = find()

    def fields(
        self, report: NeuronReport, *, step: int
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Any], Picture | None]:
        """Return the content of a step's event: fields by layer, fields of the header, and the picture.

        Args:
            report: The report, with the cards as last made.
            step: The step that is logged at.
        """
        producers = self.producers or {}
        found: dict[str, dict[str, Any]] = {layer: {"of": list(names)} for layer, names in producers.items()}
        if not report.cards:
            return found, {}, None
        # an event that is written again at the same step takes the place of the one that had the crops
        if self._written is not None and self._written[0] is report.cards and self._written[1] != step:
            return found, {"exemplars_step": self._written[1]}, None
        self._written = report.cards, step
        made, picture = exemplar_tab(report.cards, lambda card: crop_pictures(card, report.display))
        for layer, field in made.items():
            exemplars = report.layers[layer].exemplars if layer in report.layers else None
            if exemplars is not None:
                for unit in field["units"]:
                    unit.update(_over_time(exemplars, unit["unit"]))
            found[layer] = {**found.get(layer, {}), "exemplars": field}
        return found, {}, picture


def _over_time(exemplars: LayerExemplars, unit: int) -> dict[str, Any]:
    """Return a unit's purity, the share of exemplars that stayed, and the epoch since which they have."""
    shares = {"purity": float(exemplars.purity[unit]), "stayed": float(exemplars.stayed[unit])}
    return {**{name: rounded(share) for name, share in shares.items()}, "settled": int(exemplars.settled[unit])}


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


def _named(word: str) -> tuple[str, float]:
    """Split the words of a feature into its name and what it adds.

    Example:
        >>> _named("petal length = 5.1 (+0.42)"), _named("C 3 -1.5")
        (('petal length = 5.1', 0.42), ('C 3', -1.5))
    """
    found = re.fullmatch(r"(.*?)\s*\(?([-+]\d[\d.e+-]*)\)?", word)
    return (word, 0.0) if found is None else (found[1], float(found[2]))


def _tokens(one: Exemplar) -> dict[str, Any]:
    """Return the passage of an exemplar in which most happens, word by word."""
    words, values = list(one.words), one.heatmap
    middle = 0 if values is None else int(values.abs().argmax())
    start = max(0, min(middle - MOST_NUMBERS // 2, len(words) - MOST_NUMBERS))
    part = slice(start, start + MOST_NUMBERS)
    said = {"words": [shortened(word, LONGEST) for word in words[part]]}
    return said if values is None else {**said, "values": [rounded(value, 3) for value in values[part].tolist()]}


def _signal(one: Exemplar) -> dict[str, Any]:
    """Return the mean of an exemplar's channels over time, and what excites the unit."""
    line = one.crop.float()
    n_steps = one.box[0][1] - one.box[0][0] if one.box else line.shape[-1]
    line = line if line.ndim == 1 else line.mean(0 if line.shape[-1] == n_steps else -1)
    return {"inputs": _numbers(line), **({} if one.heatmap is None else {"values": _numbers(one.heatmap)})}


def _features(one: Exemplar) -> dict[str, Any]:
    named = [_named(word) for word in one.words[:MOST_FEATURES]]
    return {"words": [shortened(name, LONGEST) for name, _ in named], "values": [value for _, value in named]}


IN_NUMBERS: dict[str | None, Callable[[Exemplar], dict[str, Any]]] = {"tokens": _tokens, "signal": _signal}
"""Fields of an exemplar of a form that is no picture; of other forms its strongest features."""


def _unit(card: UnitCard, crops_of: Crops) -> _Unit:
    pictures = crops_of(card) if card.form == "image" else []
    unit = _Unit({}, [], [])
    shown: list[dict[str, Any]] = []
    for place, one in enumerate(card.exemplars):
        entry = {"sample": one.sample, "label": one.label, "value": rounded(one.value, 3)}
        if place >= len(pictures):
            shown.append(entry | IN_NUMBERS.get(card.form, _features)(one))
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
            _scaled(field["units"], sprite.scales)
    return fields, _in_one_picture(bands) if bands else None


def _scaled(units: list[dict[str, Any]], scales: Sequence[float]) -> None:
    """Note each heatmap's scale, and each unit's full colour: the largest value of its heatmaps as they are shown."""
    for unit in units:
        shown = [entry for entry in unit["shown"] if "heat" in entry]
        for entry in shown:
            entry["heat_scale"] = scales[entry["heat"]]
        unit["scale"] = max((entry["heat_scale"] for entry in shown), default=unit["scale"])


def _in_one_picture(bands: list[tuple[dict[str, Any], str, Sprite]]) -> Picture:
    """Set crops, in few colours, over heatmaps, whose bytes are numbers; note in the fields where each begins."""
    bands = sorted(bands, key=lambda band: band[1])
    picture, tops = stacked([sprite for _, _, sprite in bands])
    for (field, kind, sprite), top in zip(bands, tops, strict=True):
        field[f"{kind}tile"], field[f"{kind}top"] = list(sprite.tile), top
    n_rows = sum(sprite.picture.shape[0] for _, kind, sprite in bands if not kind)
    picture[:n_rows] = few_colours(picture[:n_rows])
    return picture
