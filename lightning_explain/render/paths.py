"""The decision path as a picture: what was put in, the units it passes, the class that comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from lightning_explain.paths import PathEdge, PathGraph, PathNode
from lightning_explain.render.canvas import below, framed, paragraph
from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.path_layout import INPUT_WIDTH, OUTPUT_WIDTH, TOP, Layout, Slots, laid_out, sticky_slots
from lightning_explain.render.sheet import GREY, INK, Colour, Sheet, few_colours, fitting, ink_on, pale, sign_colour

RADIUS = 11
THICKEST = 9.0
SOFT = (110, 110, 110)
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class InputPicture:
    """What stands at the left of the graph.

    Attributes:
        image: The sample as uint8 [height, width, 3]; None for tabular data.
        boxes: Place of each patch in it: top, left, height, width, in pixels.
        values: For tabular data: what each feature's value is, written behind its name; empty for nothing.
    """

    image: Picture | None = None
    boxes: Sequence[Box] = ()
    values: Sequence[str] = field(default=())


def _half_width(node: PathNode) -> int:
    return RADIUS if node.unit is not None else 17


def _gap_of(edge: PathEdge) -> tuple[str, str]:
    return edge.source.layer, edge.target.layer


def _widest(graph: PathGraph) -> dict[tuple[str, str], float]:
    """Return the share of the strongest edge between single units in each gap between layers."""
    found: dict[tuple[str, str], float] = {}
    for edge in graph.edges:
        if edge.is_single:
            found[_gap_of(edge)] = max(found.get(_gap_of(edge), 0.0), edge.share)
    return found


def _draw_edges(sheet: Sheet, graph: PathGraph, layout: Layout) -> None:
    """Draw bundles pale and first, then single units' edges from the weakest to the strongest."""
    widest = _widest(graph)
    for edge in sorted(graph.edges, key=lambda edge: (edge.is_single, edge.share)):
        scale = widest.get(_gap_of(edge), edge.share) or 1.0
        thickness = THICKEST * min(1.0, edge.share / scale)
        (x0, y0), (x1, y1) = layout.places[edge.source.id], layout.places[edge.target.id]
        colour = sign_colour(edge.contribution)
        # a weak line in full colour would look stronger than it is
        strength = 0.18 if not edge.is_single else 0.45 + 0.4 * min(1.0, edge.share / scale)
        start, end = (x0 + _half_width(edge.source) - 2, y0), (x1 - _half_width(edge.target) + 2, y1)
        sheet.ribbon(start, end, pale(colour, strength), max(0.7, thickness))


def _fills(nodes: Sequence[PathNode]) -> list[Colour]:
    """Colour nodes by contribution, relative to the largest single unit of their layer."""
    values = [node.contribution for node in nodes]
    scale = max((abs(node.contribution) for node in nodes if node.unit is not None), default=0.0)
    coloured = signed_colours(torch.tensor(values), scale * 1.4)
    return [(int(red), int(green), int(blue)) for red, green, blue in coloured]


def _draw_neurons(sheet: Sheet, graph: PathGraph, layout: Layout, on_path: set[str]) -> None:
    for layer in graph.layers[:-1]:
        nodes = graph.of_layer(layer)
        if layer.startswith("input"):
            continue
        for node, fill in zip(nodes, _fills(nodes), strict=True):
            x, y = layout.places[node.id]
            if node.unit is None:
                sheet.block(x, y, (17, 8), fill, GREY, 1)
            else:
                ring, width = (INK, 2) if node.id in on_path else (GREY, 1)
                sheet.circle(x, y, RADIUS, fill, ring, width)


def _write_neurons(sheet: Sheet, graph: PathGraph, layout: Layout) -> None:
    for layer in graph.layers[:-1]:
        nodes = graph.of_layer(layer)
        if layer.startswith("input"):
            continue
        for node, fill in zip(nodes, _fills(nodes), strict=True):
            x, y = layout.places[node.id]
            words = str(node.unit) if node.unit is not None else f"+{node.n_units}"
            sheet.write(x, y, words, size=10 if len(words) < 4 else 9, fill=ink_on(fill))


def _image_box(image: Picture, layout: Layout) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the input image."""
    side = INPUT_WIDTH - 16
    scale = side / max(image.shape[:2])
    width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return 0, TOP + (layout.height - TOP - height) // 2, width, height


def _draw_image(sheet: Sheet, graph: PathGraph, layout: Layout, shown: InputPicture, on_path: set[str]) -> None:
    """Draw the image with the patches outlined, a copy of each patch as a node, and a thin line between the two."""
    assert shown.image is not None
    left, top, width, height = _image_box(shown.image, layout)
    sheet.picture(shown.image, left, top, width, height)
    scale = width / shown.image.shape[1]
    for node in graph.of_layer("input"):
        if node.unit is None:
            continue
        y0, x0, h, w = shown.boxes[node.unit]
        frame = (left + x0 * scale, top + y0 * scale, left + (x0 + w) * scale - 1, top + (y0 + h) * scale - 1)
        x, y = layout.places[node.id]
        sheet.line([(frame[2], (frame[1] + frame[3]) / 2), (x - RADIUS, y)], GREY, 0.5)
    for node in graph.of_layer("input"):
        if node.unit is None:
            continue
        y0, x0, h, w = shown.boxes[node.unit]
        frame = (left + x0 * scale, top + y0 * scale, left + (x0 + w) * scale - 1, top + (y0 + h) * scale - 1)
        colour = sign_colour(node.contribution)
        sheet.frame(frame, colour, 2)
        x, y = layout.places[node.id]
        sheet.picture(shown.image[y0 : y0 + h, x0 : x0 + w], x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS)
        if node.id in on_path:
            sheet.frame((x - RADIUS - 4, y - RADIUS - 4, x + RADIUS + 3, y + RADIUS + 3), INK, 2)
        sheet.frame((x - RADIUS - 2, y - RADIUS - 2, x + RADIUS + 1, y + RADIUS + 1), colour, 2)


def _draw_inputs(sheet: Sheet, graph: PathGraph, layout: Layout, shown: InputPicture, on_path: set[str]) -> None:
    if shown.image is not None:
        _draw_image(sheet, graph, layout, shown, on_path)
    for layer in (name for name in graph.layers if name.startswith("input")):
        nodes = graph.of_layer(layer)
        for node, fill in zip(nodes, _fills(nodes), strict=True):
            x, y = layout.places[node.id]
            if node.unit is None:
                sheet.block(x, y, (17, 8), fill, GREY, 1)
            elif shown.image is None:
                ring, width = (INK, 2) if node.id in on_path else (GREY, 1)
                sheet.circle(x, y, RADIUS, fill, ring, width)


def _write_inputs(sheet: Sheet, graph: PathGraph, layout: Layout, shown: InputPicture) -> None:
    for layer in (name for name in graph.layers if name.startswith("input")):
        nodes = graph.of_layer(layer)
        for node, fill in zip(nodes, _fills(nodes), strict=True):
            x, y = layout.places[node.id]
            if node.unit is None:
                sheet.write(x, y, f"+{node.n_units}", size=10, fill=ink_on(fill))
            elif shown.image is None:
                value = shown.values[node.unit] if shown.values and layer in ("input", "input 0") else ""
                words = fitting(node.label, x - RADIUS - 6, 11)
                sheet.write(x - RADIUS - 5, y - (6 if value else 0), words, anchor="rm")
                if value:
                    sheet.write(x - RADIUS - 5, y + 7, value, anchor="rm", size=10, fill=SOFT)


def _short(value: float) -> str:
    return f"{value:+.2g}" if abs(value) < 10 else f"{value:+.0f}"


def _percent(share: float) -> str:
    percent = share * 100
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _write_captions(sheet: Sheet, graph: PathGraph, layout: Layout) -> None:
    step = (layout.columns[graph.layers[-1]] - min(layout.columns.values())) // max(1, len(set(layout.columns.values())) - 1)
    for layer, total, n_units in zip(graph.layers, graph.totals, graph.n_units, strict=True):
        x = layout.columns[layer]
        if layer == graph.layers[-1]:
            continue
        if layer == "input" or layer == "input 0":
            sheet.write(0, 8, "input", size=12, anchor="lm")
            sheet.write(0, 24, f"{n_units} units: {_short(total)}", size=10, anchor="lm", fill=SOFT)
        elif not layer.startswith("input"):
            sheet.write(x, 8, fitting(layer, step - 6, 12), size=12)
            sheet.write(x, 24, f"{n_units}: {_short(total)}", size=10, fill=SOFT)
    for (source, target), share in _widest(graph).items():
        x = (layout.columns[source] + layout.columns[target]) / 2
        if abs(graph.layers.index(target) - graph.layers.index(source)) == 1 and share > 0:
            sheet.write(x, layout.height + 7, f"widest {_percent(share)}", size=9, fill=SOFT)


def _draw_output(sheet: Sheet, graph: PathGraph, layout: Layout, lines: Sequence[str]) -> None:
    x, y = layout.places[graph.of_layer(graph.layers[-1])[0].id]
    sheet.block(x, y, (OUTPUT_WIDTH // 2 - 2, 9 * len(lines) + 5), (245, 245, 245), INK, 1.5)


def _write_output(sheet: Sheet, graph: PathGraph, layout: Layout, lines: Sequence[str]) -> None:
    x, y = layout.places[graph.of_layer(graph.layers[-1])[0].id]
    for place, words in enumerate(lines):
        size = 15 if place == 0 else 11
        sheet.write(x, y + 17 * (place - (len(lines) - 1) / 2), fitting(words, OUTPUT_WIDTH - 10, size), size=size)


def _on_path(graph: PathGraph) -> set[str]:
    """Return the ids of the units on the strongest single path."""
    best = graph.paths.paths[:1]
    return {f"{graph.layers[layer]}:{unit}" for path in best for layer, unit in path.units}


def path_picture(
    graph: PathGraph,
    *,
    title: str,
    output_lines: Sequence[str],
    shown: InputPicture | None = None,
    slots: Mapping[str, Sequence[int | None]] | None = None,
    n_rows: int = 8,
) -> Picture:
    """Draw a path graph: inputs at the left, the output at the right, red for it and blue against it.

    A line is as wide as its share of the decision, relative to the widest line between single units in the same gap
    (which is written below it). Units drawn as circles are single ones with their number, boxes bundle the others.

    Args:
        graph: What is drawn.
        title: What the picture shows.
        output_lines: What stands in the box of the output: name first, then figures.
        shown: The image, or the values of the features; by default only the features' names.
        slots: Places of the units, from `sticky_slots`; by default in the order of their numbers.
        n_rows: Height in nodes; the same for all pictures that are to be compared.

    Returns:
        uint8 [height, width, 3].

    Cost: about ten milliseconds.
    """
    shown = shown or InputPicture()
    known: Slots = sticky_slots(graph, {}) if slots is None else slots
    layout = laid_out(graph, known, n_rows=n_rows)
    on_path = _on_path(graph)
    sheet = Sheet(layout.width, layout.height + 16)
    _draw_edges(sheet, graph, layout)
    _draw_neurons(sheet, graph, layout, on_path)
    _draw_inputs(sheet, graph, layout, shown, on_path)
    _draw_output(sheet, graph, layout, output_lines)
    # words last: they are written in the picture's own size
    _write_captions(sheet, graph, layout)
    _write_neurons(sheet, graph, layout)
    _write_inputs(sheet, graph, layout, shown)
    _write_output(sheet, graph, layout, output_lines)
    return few_colours(framed(below([paragraph(title, width=layout.width), sheet.done()], gap=8)))
