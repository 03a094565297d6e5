"""Sets and graphs of entities (atoms and bonds, players of a team): a bar for each entity, the graph beside them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_explain.entity_names import is_looked_up
from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.path_units import InputUnits
from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.graph import graph_picture, places_of
from lightning_explain.render.layout import below, beside, grid
from lightning_explain.render.modality import (
    Annotations,
    Modality,
    Named,
    Shown,
    film_rows,
    rounded,
    spread_rows,
    top_places,
    unpadded,
    without_padding,
)
from lightning_explain.render.page_layout import Panel, colour_scale, in_words, legend, sign_words, titled
from lightning_explain.render.sheet import BLUE, GREY, RED
from lightning_explain.render.sprites import Sprite
from lightning_explain.render.text import shortened, text, text_width
from lightning_explain.render.words import markdown_safe

MOST_SAMPLES, MOST_BARS, FILM_BARS = 24, 14, 8
MOST_ENTITIES = 512
"""Entities of a sample in the Explain tab."""

ROW, TRACK, NUMBER, LONGEST_NAME, FILM_CELL = 15, 110, 52, 24, 40
WIDEST = 700
MOST_NODES = 60
"""Entities of the largest graph that is drawn."""


def is_of_edges(shown: Shown) -> bool:
    """Return True for the adjacency matrix of a graph."""
    return shown.index == shown.display.edges and shown.inputs.ndim == 3


def _is_directed(adjacency: Tensor) -> bool:
    return not torch.equal(adjacency, adjacency.transpose(1, 2))


def pairs_of(adjacency: Tensor) -> Tensor:
    """List the edges [pairs, 2] that any of the graphs [batch, entities, entities] has; each once if undirected."""
    linked = (adjacency != 0).any(0)
    return (linked if _is_directed(adjacency) else linked.triu()).nonzero()


def by_entity(shown: Shown, values: Tensor) -> Tensor:
    """Add up attributions by entity, or of an adjacency matrix by edge: [batch, positions]."""
    if not is_of_edges(shown):
        return values.flatten(2).sum(2) if values.ndim > 2 else values
    start, end = pairs_of(shown.inputs).T
    found = values[:, start, end]
    # an undirected edge stands in the matrix twice, but a loop once
    return found if _is_directed(shown.inputs) else found + values[:, end, start] * (start != end)


def names_at(shown: Shown, row: int) -> list[str]:
    """Name a sample's positions; entities of the same name are told apart by their place."""
    n_entities = shown.inputs.shape[1]
    given = list(shown.position_names[row])[:n_entities] if shown.position_names else []
    if not given and shown.inputs.ndim == 2 and shown.display.tokens is not None:
        given = [shown.display.word(int(token)) for token in shown.inputs[row].tolist()]
    counts = Counter(given)
    seen = ["".join(letter if letter.isprintable() else " " for letter in name) for name in given]
    names = [name if counts[own] == 1 else f"{name} {i}" for i, (own, name) in enumerate(zip(given, seen, strict=True))]
    names += [f"{shown.display.entity} {i}" for i in range(len(given), n_entities)]
    names = [shortened(name, LONGEST_NAME) or "·" for name in names]
    if not is_of_edges(shown):
        return names
    link = "→" if _is_directed(shown.inputs) else "-"
    return [f"{names[start]} {link} {names[end]}" for start, end in pairs_of(shown.inputs).tolist()]


def edges_at(shown: Shown, row: int) -> list[tuple[int, int]]:
    """List a sample's edges between different entities; none where no input says what is connected."""
    place = shown.display.edges
    if place is None or place >= len(shown.parts) or shown.parts[place].ndim != 3:
        return []
    linked = shown.parts[place][row] != 0
    return [(start, end) for start, end in (linked | linked.T).triu(1).nonzero().tolist()]


def _bar(value: float, scale: float) -> Picture:
    track = np.full((ROW, TRACK, 3), 255, dtype=np.uint8)
    middle = TRACK // 2
    length = round(min(1.0, abs(value) / scale if scale > 0 else 0.0) * (middle - 1))
    left = middle if value > 0 else middle - length
    track[3:-3, left : left + length] = RED if value > 0 else BLUE
    track[:, middle] = GREY
    return track


def _width(names: Sequence[str]) -> int:
    return min(LONGEST_NAME * 6, max((text_width(name, 10) for name in names), default=0) + 4)


def _number(value: float) -> Picture:
    return text(f"{value:+.2g}", width=NUMBER, height=ROW, size=10, align="right")


class Entities(Modality):
    """Sets and graphs [batch, entities, features], or ids [batch, entities]: a bar for each entity of each sample."""

    layout = "lists"
    is_grid = False
    shapes: ClassVar[Mapping[int, str]] = {2: "[batch, entities] of ids", 3: "[batch, entities, features]"}

    def check(self, shown: Shown) -> None:
        """Refuse names that are no names of these entities, and edges between others."""
        super().check(shown)
        n_entities, edges = shown.inputs.shape[1], shown.display.edges
        if is_looked_up(shown.display.entity_names) and not shown.position_names:
            raise ConfigurationError(
                f"Display(entity_names={shown.display.entity_names!r}) names a place in batches, but this probe was "
                "given as tensors. Give Probe(entity_names=[...]) a list of names for each sample."
            )
        longest = max((len(names) for names in shown.position_names), default=0)
        if longest > n_entities:
            raise ConfigurationError(
                f"entity_names has {longest} names for a sample of {n_entities} entities; expected one for each, in "
                "the order of the input."
            )
        if edges is not None and not 0 <= edges < len(shown.parts):
            raise ConfigurationError(f"Display(edges={edges}) is no input: the probe has {len(shown.parts)}.")
        if edges is not None and shown.parts[edges].shape[1:] != (n_entities, n_entities):
            raise ConfigurationError(
                f"Display(edges={edges}) names an input of shape {list(shown.parts[edges].shape)}; expected an "
                f"adjacency matrix [batch, {n_entities}, {n_entities}] for {n_entities} entities."
            )

    def kept(self, shown: Shown, masks: Sequence[Tensor]) -> Tensor | None:
        """Return which entities are no padding, by a mask [batch, entities]; of edges those that a sample has."""
        if not is_of_edges(shown):
            return unpadded(shown, masks)
        start, end = pairs_of(shown.inputs).T
        return (shown.inputs[:, start, end] != 0) | (shown.inputs[:, end, start] != 0)

    def scale(self, shown: Shown, values: Tensor) -> float:
        """Return the largest absolute value of an entity that is shown: bars are not cut off."""
        found = by_entity(shown, values.detach()).abs()
        return float((found if shown.kept is None else found * shown.kept).max()) if found.numel() else 0.0

    def frame(self, shown: Shown, values: Tensor, labels: Tensor | None) -> Tensor:
        """Return the sums by entity of the film's samples [rows, entities]."""
        return super().frame(shown, by_entity(shown, values), labels)

    def _listed(self, shown: Shown, sizes: Tensor, row: int, most: int) -> list[int]:
        """Choose the entities of a sample that are listed: the strongest, in their order."""
        places = torch.tensor(shown.places(row), dtype=torch.long)
        top = sizes[places].topk(min(most, len(places))).indices.sort().values
        return places[top].tolist()

    def picture(self, shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
        """Draw a list of bars for each sample, a column for each method, and the graph where there is one."""
        values = [by_entity(shown, panel.values.detach().cpu().float()) for panel in panels]
        sizes = torch.stack([v.abs() / max(p.scale, 1e-30) for v, p in zip(values, panels, strict=True)]).amax(0)
        rows = spread_rows(words.labels, len(shown.inputs), MOST_SAMPLES)
        names = {row: names_at(shown, row) for row in rows}
        listed = {row: self._listed(shown, sizes[row], row, MOST_BARS) for row in rows}
        width = _width([names[row][place] for row in rows for place in listed[row]])
        cells: list[Picture] = []
        for row in rows:
            lines = [self._heads(panels, width)] if len(panels) > 1 else []
            for place in listed[row]:
                cell = [text(names[row][place], width=width, height=ROW, size=10, align="right")]
                for panel, found in zip(panels, values, strict=True):
                    value = float(found[row, place])
                    cell += [_bar(value, panel.scale), _number(value)]
                lines.append(beside(cell, gap=2))
            body = [below(lines)] if lines else []
            body = [*self._graph(shown, row, values[0][row], panels[0].scale), *body]
            list_picture = beside(body, gap=6) if body else text("nothing to show", width=120)
            caption = text(words.captions[row], width=list_picture.shape[1])
            cells.append(below([caption, list_picture], gap=2))
        across = max(1, min(3, WIDEST // (max(cell.shape[1] for cell in cells) + 16)))
        said = [words.title, self._left_out(shown, len(rows), any(len(p) == MOST_BARS for p in listed.values()))]
        return titled(grid(cells, across, gap=16), " ".join(filter(None, said)), self._legend(panels, words.unit))

    def _graph(self, shown: Shown, row: int, values: Tensor, scale: float) -> list[Picture]:
        nodes, edges = self._nodes_and_edges(shown, row)
        names = names_at(shown, row)
        return [graph_picture([names[place] for place in nodes], edges, values[nodes], scale)] if edges else []

    def _nodes_and_edges(self, shown: Shown, row: int) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the entities of a sample's graph, and its edges between their places in that list; no large graph."""
        nodes, edges = shown.places(row), [] if is_of_edges(shown) else edges_at(shown, row)
        if not edges or len(nodes) > MOST_NODES:
            return [], []
        node_at = {place: node for node, place in enumerate(nodes)}
        return nodes, [(node_at[start], node_at[end]) for start, end in edges if start in node_at and end in node_at]

    def _heads(self, panels: Sequence[Panel], width: int) -> Picture:
        heads = [text(shortened(in_words(p.name), 26), width=TRACK + NUMBER + 2, height=ROW, size=10) for p in panels]
        return beside([text("", width=width, height=ROW), *heads], gap=2)

    def _left_out(self, shown: Shown, n_rows: int, is_cut: bool) -> str:
        words = [f"{n_rows} of {len(shown.inputs)} samples."] if n_rows < len(shown.inputs) else []
        if is_cut:
            what = "edges" if is_of_edges(shown) else "entities"
            words.append(f"At most the {MOST_BARS} strongest {what} of each sample, in their order.")
        return " ".join(words)

    def _legend(self, panels: Sequence[Panel], unit: str) -> Picture:
        low, high = sign_words(unit)
        full = ", ".join(f"{f'{p.name}: ' if len(panels) > 1 else ''}{p.scale:.3g} {unit}" for p in panels)
        words = f"Bars to the left (blue): {low}; to the right (red): {high}. A full bar is {full}."
        return text(words, width=text_width(words) + 2)

    def film(self, shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
        """Draw the strongest entities of each sample down, explanations across."""
        stacked = torch.stack([film.float() for film in films])
        scale = colour_scale(stacked)
        cells: list[Picture] = []
        for position, row in enumerate(film_rows(words.labels, len(shown.inputs))):
            names = names_at(shown, row)
            listed = self._listed(shown, stacked[:, position].abs().amax(0), row, FILM_BARS)
            width = max(44, _width([names[place] for place in listed]))
            columns = [text(name, width=FILM_CELL, size=10) for name in words.column_names]
            lines = [beside([text(words.captions[row], width=width), *columns], gap=2)]
            for place in listed:
                colours = signed_colours(stacked[:, position, place], scale)
                boxes = [np.full((ROW - 1, FILM_CELL, 3), colour, dtype=np.uint8) for colour in colours]
                name = text(names[place], width=width, height=ROW - 1, size=10, align="right")
                lines.append(beside([name, *boxes], gap=2))
            cells.append(below(lines, gap=1))
        what = "edges" if is_of_edges(shown) else "entities"
        title = f"{words.title} The {FILM_BARS} strongest {what} of each sample, in their order."
        across = max(1, min(2, WIDEST // (max(cell.shape[1] for cell in cells) + 20)))
        return titled(grid(cells, across, gap=20), title, legend(scale, words.unit))

    def markdown(self, shown: Shown, values: Tensor, words: Annotations) -> str:
        """Return the strongest entities of each sample."""
        lines = ["| sample | strongest |", "|---|---|"]
        for row in spread_rows(words.labels, len(values), MOST_SAMPLES):
            named = [
                f"{'**' if value > 0 else '*'}{markdown_safe(name)}{'**' if value > 0 else '*'} {value:+.3g}"
                for _, name, value in self.top_features(shown, values, row)
            ]
            lines.append(f"| {markdown_safe(words.captions[row])} | {', '.join(named)} |")
        return "\n".join(lines)

    def top_features(self, shown: Shown, values: Tensor, row: int) -> Named:
        """Return [place, name, value] of the strongest entities; places count from 0, padding included."""
        places, names = shown.places(row), names_at(shown, row)
        found = by_entity(shown, values[row : row + 1])[0]
        chosen = [places[i] for i in top_places(found[places])]
        return [[place, names[place], rounded(float(found[place]))] for place in chosen]

    def place_names(self, shown: Shown, row: int) -> Sequence[str]:
        """Return the names of the entities as they were given; none where there are none, and none of edges."""
        given = list(shown.position_names[row]) if shown.position_names and not is_of_edges(shown) else []
        return given and given + [shown.display.entity] * (shown.inputs.shape[1] - len(given))

    def units(self, shown: Shown) -> InputUnits | None:
        """Return a unit for each entity, by its place: the names differ from sample to sample."""
        n_entities = shown.inputs.shape[1]
        if is_of_edges(shown):
            return None
        labels = torch.arange(n_entities).reshape(-1, *[1] * (shown.inputs.ndim - 2)).expand(shown.inputs.shape[1:])
        return InputUnits(labels.contiguous(), tuple(f"{shown.display.entity} {place}" for place in range(n_entities)))

    def tab_inputs(self, shown: Shown, rows: Sequence[int]) -> tuple[dict[str, Any], Sprite | None]:
        """Return the names of each sample's entities by place, None for padding, and its graph where there is one."""
        names: list[list[str | None]] = []
        graphs: list[dict[str, Any]] = []
        for row in rows:
            places = set(shown.places(row))
            own = names_at(shown, row)[:MOST_ENTITIES]
            names.append([name if place in places else None for place, name in enumerate(own)])
            nodes, edges = self._nodes_and_edges(shown, row)
            at = [[round(100 * x), round(100 * y)] for x, y in places_of(len(nodes), edges)]
            graphs.append({"nodes": nodes, "at": at, "edges": [list(edge) for edge in edges]})
        return {"names": names, **({"graphs": graphs} if any(graph["edges"] for graph in graphs) else {})}, None

    def tab_maps(self, shown: Shown, values: Tensor, rows: Sequence[int]) -> Tensor:
        """Return a row for each sample."""
        return without_padding(shown, by_entity(shown, values), rows)[:, None, :MOST_ENTITIES]


MODALITY = Entities()
