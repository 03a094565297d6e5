"""The decision path as a picture: what was put in, the units it passes, the class that comes out."""

from collections.abc import Mapping, Sequence

from lightning_explain.paths import PathGraph
from lightning_explain.render.colour import Picture
from lightning_explain.render.layout import below, framed
from lightning_explain.render.paths.inputs import draw_inputs, write_inputs
from lightning_explain.render.paths.node_places import OUTPUT_WIDTH
from lightning_explain.render.paths.scene import InputPicture, Scene, draw_edges, draw_node, scene_of, write_node
from lightning_explain.render.sheet import SOFT, Sheet, few_colours
from lightning_explain.render.text import INK, fitting, wrapped

PAPER = (245, 245, 245)
TITLE_SIZE, TITLE_PITCH = 12, 16


def _short(value: float) -> str:
    return f"{value:+.2g}" if abs(value) < 10 else f"{value:+.0f}"


def percent(share: float) -> str:
    """Write a share with two digits.

    Example:
        >>> percent(0.416), percent(0.0312), percent(0.000104)
        ('42 %', '3.1 %', '0.01 %')
    """
    value = share * 100
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def _title(words: str, width: int) -> Picture:
    lines = [fitting(line, width, TITLE_SIZE) for line in wrapped(words, width, TITLE_SIZE)]
    sheet = Sheet(width, TITLE_PITCH * len(lines))
    for place, line in enumerate(lines):
        sheet.write(0, TITLE_PITCH * place + TITLE_PITCH // 2, line, size=TITLE_SIZE, anchor="lm")
    return sheet.done()


def _write_captions(sheet: Sheet, scene: Scene) -> None:
    """Write over each layer its name, its size and what its units contribute together."""
    graph, columns = scene.graph, scene.layout.columns
    what = "features" if scene.shown.image is None else "patches"
    n_columns = len(scene.hidden) + 1
    room = (columns[graph.layers[-1]] - columns[graph.layers[0]]) // n_columns - 6
    for layer, total, n_units in zip(graph.layers, graph.totals, graph.n_units, strict=True):
        if layer == scene.inputs[0]:
            sheet.write(0, 8, "input", size=12, anchor="lm")
            sheet.write(0, 24, f"{n_units} {what}, {_short(total)} in all", size=10, anchor="lm", fill=SOFT)
        elif layer in scene.hidden:
            sheet.write(columns[layer], 8, fitting(layer, room, 12), size=12)
            sheet.write(columns[layer], 24, f"{n_units} units, {_short(total)}", size=10, fill=SOFT)


def _write_scales(sheet: Sheet, scene: Scene) -> None:
    """Write below each gap between neighbouring layers what its widest line carries."""
    columns = scene.layout.columns
    order = sorted(set(columns.values()))
    for (source, target), share in scene.widest.items():
        if order.index(columns[target]) - order.index(columns[source]) == 1 and share > 0:
            x = (columns[source] + columns[target]) / 2
            sheet.write(x, scene.layout.height + 7, f"widest {percent(share)}", size=9, fill=SOFT)


def _output_place(scene: Scene) -> tuple[int, int]:
    return scene.place(scene.graph.of_layer(scene.graph.layers[-1])[0])


def _write_output(sheet: Sheet, scene: Scene, lines: Sequence[str]) -> None:
    x, y = _output_place(scene)
    for place, words in enumerate(lines):
        size = 15 if place == 0 else 11
        sheet.write(x, y + 17 * (place - (len(lines) - 1) / 2), fitting(words, OUTPUT_WIDTH - 10, size), size=size)


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
    (which is written below it). Circles are single units with their number, boxes bundle the others, with pale lines.

    Args:
        graph: What is drawn.
        title: What the picture shows.
        output_lines: What stands in the box of the output: name first, then figures.
        shown: The image, or the values of the features; by default only the features' names.
        slots: Places of the units, from `sticky_slots`; by default in the order of their numbers.
        n_rows: Height in nodes: the `n_units` of the graph.

    Returns:
        uint8 [height, width, 3].

    Cost: a few hundredths of a second.
    """
    scene = scene_of(graph, shown or InputPicture(), slots, n_rows=n_rows)
    sheet = Sheet(scene.layout.width, scene.layout.height + 16)
    draw_edges(sheet, scene)
    neurons = [node for layer in scene.hidden for node in graph.of_layer(layer)]
    for node in neurons:
        draw_node(sheet, scene, node)
    draw_inputs(sheet, scene)
    sheet.block(*_output_place(scene), (OUTPUT_WIDTH // 2 - 2, 9 * len(output_lines) + 5), PAPER, INK, 1.5)
    # words last: they are written in the picture's own size
    _write_captions(sheet, scene)
    _write_scales(sheet, scene)
    for node in neurons:
        write_node(sheet, scene, node)
    write_inputs(sheet, scene)
    _write_output(sheet, scene, output_lines)
    return few_colours(framed(below([_title(title, scene.layout.width), sheet.done()], gap=8)))
