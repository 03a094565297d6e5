"""The event of a path monitor for the Explain tab: graphs in few bytes, and the images that they begin at."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from lightning_explain.callbacks.paths.explanation import MOST_CLASSES, ClassPath, PathExplanation
from lightning_explain.callbacks.paths.path_options import Show
from lightning_explain.callbacks.paths.record import graph_titles, parts_of_classes
from lightning_explain.callbacks.paths.shown_input import shown_input
from lightning_explain.paths import PathEdge, PathGraph, PathNode
from lightning_explain.probe import Probe
from lightning_explain.render.colour import Picture
from lightning_explain.render.paths import InputPicture

VERSION = 2
"""Of the header: nodes and edges as rows of numbers, which readers of version 1 would take for nothing."""

SIDE = 56
"""Longer side of an image in pixels."""

DIGITS = 3


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _label(node: PathNode, shown: InputPicture, *, is_first: bool) -> str:
    """Write a node's name; nothing where it is the layer's with its number."""
    if node.unit is None or not is_first:
        return "" if node.unit is None or node.label == f"{node.layer} {node.unit}" else node.label
    words = (shown.words[node.unit] if shown.words else "") or node.label
    return f"{words}: {shown.values[node.unit]}" if shown.values else words


def _columns(graph: PathGraph) -> list[dict[str, Any]]:
    size = dict(zip(graph.layers, zip(graph.n_units, graph.totals, strict=True), strict=True))
    return [
        {
            "name": block.name,
            "layers": list(block.layers),
            "kind": graph.kind_of(block),
            "n_units": sum(size[layer][0] for layer in block.layers),
            "contribution": _short(sum(size[layer][1] for layer in block.layers)),
        }
        for block in graph.blocks
    ]


def tab_graph(graph: PathGraph, shown: InputPicture) -> dict[str, Any]:
    """Return a graph as plain values in few bytes: nodes and edges are rows, as docs/tab.md has them."""
    layers = [layer for block in graph.blocks for layer in block.layers]
    number = {node.id: place for place, node in enumerate(graph.nodes)}

    def row(edge: PathEdge) -> list[float]:
        return [number[edge.source.id], number[edge.target.id], _short(edge.share), _short(edge.contribution)]

    edges = () if graph.is_spread else (*graph.edges, *graph.hidden_edges)
    is_first = {layer: place == 0 for place, layer in enumerate(layers)}
    return {
        "output": _short(graph.output),
        "shown_share": _short(graph.shown_share),
        "absorbed_share": _short(graph.absorbed_share),
        "threshold": _short(0.995 * graph.threshold),  # below the shares that are rounded likewise
        "n_layers": len(graph.layers),
        "is_spread": graph.is_spread,
        "columns": _columns(graph),
        "nodes": [
            [
                layers.index(node.layer),
                -1 if node.unit is None else node.unit,
                _label(node, shown, is_first=is_first[node.layer]),
                _short(node.contribution),
                _short(node.share),
                node.n_units,
            ]
            for node in graph.nodes
        ],
        "edges": [row(edge) for edge in edges if edge.is_single],
    }


def _tile(image: Picture) -> Picture:
    scale = SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _boxes(graph: PathGraph, shown: InputPicture) -> dict[str, list[float]]:
    """Return the places of the drawn patches, as shares of the image: unit -> top, left, height, width."""
    if shown.image is None:
        return {}
    height, width = shown.image.shape[:2]
    drawn = [node.unit for node in graph.of_layer(graph.layers[0]) if node.unit is not None]
    return {
        str(unit): [round(side / of, 4) for side, of in zip(shown.boxes[unit], (height, width) * 2, strict=True)]
        for unit in drawn
    }


def _ablation(found: ClassPath) -> dict[str, float]:
    ablation = found.ablation
    return {} if ablation is None else {"ablation": _short(ablation.drawn), "ablation_random": _short(ablation.random)}


def tab_event(
    explanation: PathExplanation, probe: Probe, show: Show, pictures: Mapping[str, int | None] | None = None
) -> tuple[dict[str, Any], Picture | None]:
    """Return an explanation for the Explain tab: fields of its header, and the images side by side or None.

    Args:
        explanation: The explanation.
        probe: The probe.
        show: As in `PathOptions`.
        pictures: Step of the picture that shows a class's graph, by the part of its tag.
    """
    parts, known = parts_of_classes(explanation), pictures or {}
    graphs: list[dict[str, Any]] = []
    tiles: list[Picture] = []
    for part, found in zip(parts[:MOST_CLASSES], explanation.classes, strict=False):
        graphs_of_class = graph_titles(explanation, found, show)
        if not probe.parts[0].is_floating_point():
            graphs_of_class = graphs_of_class[-1:]  # the mean over texts has no words
        for title, graph, rows in graphs_of_class:
            shown = shown_input(explanation, probe, rows)
            entry = {**title, **tab_graph(graph, shown), **_ablation(found)}
            since = known.get(part)
            if since is not None and since < explanation.step and graph is explanation.drawn(found, show)[0]:
                entry["picture"] = since
            if shown.words:
                entry["words"] = list(shown.words)
            if shown.image is not None:
                entry |= {"tile": len(tiles), "boxes": _boxes(graph, shown)}
                tiles.append(_tile(shown.image))
            graphs.append(entry)
    header: dict[str, Any] = {"v": VERSION, "kind": "paths", "probe": probe.fingerprint, "graphs": graphs}
    if tiles:
        header["tile"] = list(tiles[0].shape[:2])
    return header, _beside(tiles)


def _beside(tiles: Sequence[Picture]) -> Picture | None:
    """Set tiles in rows of eight."""
    if not tiles:
        return None
    height, width, _ = tiles[0].shape
    n_columns = min(8, len(tiles))
    sheet = np.zeros((-(-len(tiles) // n_columns) * height, n_columns * width, 3), dtype=np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // n_columns * height, place % n_columns * width
        sheet[top : top + height, left : left + width] = tile
    return sheet
