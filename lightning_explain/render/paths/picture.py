"""The decision path as a picture: what was put in, the units it passes, the class that comes out."""

from collections.abc import Mapping, Sequence

from lightning_explain.paths import PathGraph
from lightning_explain.render.colour import Picture
from lightning_explain.render.layout import below, framed
from lightning_explain.render.paths.inputs import draw_inputs, write_inputs
from lightning_explain.render.paths.node_labels import percent, short_names, short_number
from lightning_explain.render.paths.node_places import OUTPUT_WIDTH, TOP
from lightning_explain.render.paths.ranked import draw_ranked, first_ranked, write_ranked
from lightning_explain.render.paths.scene import (
    THICKEST,
    InputPicture,
    Scene,
    draw_edges,
    draw_node,
    scene_of,
    write_node,
)
from lightning_explain.render.sheet import GREY, SOFT, Sheet, few_colours
from lightning_explain.render.text import INK, fitting, wrapped

PAPER = (245, 245, 245)
TITLE_SIZE, TITLE_PITCH = 12, 16
FOOT = 20

N_COLOURS = 20
"""Enough for lines in two colours; with more a picture takes twice the bytes."""


def _title(words: str, width: int) -> Picture:
    lines = [fitting(line, width, TITLE_SIZE) for line in wrapped(words, width, TITLE_SIZE)]
    sheet = Sheet(width, TITLE_PITCH * len(lines))
    for place, line in enumerate(lines):
        sheet.write(0, TITLE_PITCH * place + TITLE_PITCH // 2, line, size=TITLE_SIZE, anchor="lm")
    return sheet.done()


def _kind_of_inputs(shown: InputPicture) -> str:
    return "patches" if shown.image is not None else "tokens" if shown.words else "features"


def _write_captions(sheet: Sheet, scene: Scene) -> None:
    """Write over each block its name, its size and what its units contribute together."""
    graph, layout = scene.graph, scene.layout
    size = dict(zip(graph.layers, graph.n_units, strict=True))
    total = dict(zip(graph.layers, graph.totals, strict=True))
    for block in scene.inputs[:1]:
        what = f"{size[block.name]} {_kind_of_inputs(scene.shown)}, {short_number(total[block.name])} in all"
        sheet.write(0, 10, "input", size=12, anchor="lm")
        sheet.write(0, 26, what, anchor="lm", fill=SOFT)
    names = short_names([block.name for block in scene.hidden], layout.step - 12, 12)
    for block, name in zip(scene.hidden, names, strict=True):
        n_units, contribution = (sum(of[layer] for layer in block.layers) for of in (size, total))
        sheet.write(layout.columns[block.name], 10, name, size=12)
        words = fitting(f"{n_units} {graph.kind_of(block)}, {short_number(contribution)}", layout.step - 4, 11)
        sheet.write(layout.columns[block.name], 26, words, fill=SOFT)


def _draw_graph(sheet: Sheet, scene: Scene) -> None:
    draw_edges(sheet, scene)
    for node in (node for block in scene.hidden for node in scene.nodes_of(block)):
        draw_node(sheet, scene, node)
    draw_inputs(sheet, scene)
    if scene.scale > 0:
        y = scene.layout.height + FOOT // 2
        sheet.ribbon((0, y), (40, y), GREY, THICKEST)


def _write_graph(sheet: Sheet, scene: Scene) -> None:
    for node in (node for block in scene.hidden for node in scene.nodes_of(block)):
        write_node(sheet, scene, node)
    write_inputs(sheet, scene)
    if scene.scale > 0:
        least = percent(scene.graph.threshold)
        words = f"{percent(scene.scale)} of what comes from the input; lines below {least} are hidden"
        sheet.write(48, scene.layout.height + FOOT // 2, words, anchor="lm", fill=SOFT)


def _output_place(scene: Scene) -> tuple[int, int]:
    return scene.layout.columns[scene.graph.blocks[-1].name], (TOP + scene.layout.height) // 2


def _write_output(sheet: Sheet, scene: Scene, lines: Sequence[str]) -> None:
    x, y = _output_place(scene)
    for place, words in enumerate(lines):
        size = 15 if place == 0 else 11
        sheet.write(x, y + 17 * (place - (len(lines) - 1) / 2), fitting(words, OUTPUT_WIDTH - 12, size), size=size)


def path_picture(
    graph: PathGraph,
    *,
    title: str,
    output_lines: Sequence[str],
    shown: InputPicture | None = None,
    slots: Mapping[str, Sequence[int | None]] | None = None,
) -> Picture:
    """Draw a path graph: inputs at the left, the output at the right, red for it and blue against it.

    A line is as wide as the share of what reaches the inputs that goes along it. Boxes with a frame are single units,
    pale ones without bundle the others. A graph of which no drawing carries much has no lines: its units are ranked,
    with a bar as long as each one's share.

    Args:
        graph: What is drawn.
        title: What the picture shows.
        output_lines: What stands in the box of the output: name first, then numbers.
        shown: The image, the values of the features or the words; by default only the features' names.
        slots: Places of the units, from `sticky_slots`; by default in the order of their numbers.

    Returns:
        uint8 [height, width, 3]; as high as the nodes need.

    Cost: about a hundredth of a second.
    """
    if graph.is_spread:
        graph, slots = first_ranked(graph), None
    scene = scene_of(graph, shown or InputPicture(), slots)
    sheet = Sheet(scene.layout.width, scene.layout.height + FOOT)
    draw = draw_ranked if graph.is_spread else _draw_graph
    draw(sheet, scene)
    sheet.block(*_output_place(scene), (OUTPUT_WIDTH // 2 - 2, 9 * len(output_lines) + 5), PAPER, INK, 1.5)
    # words last: they are written in the picture's own size
    _write_captions(sheet, scene)
    write = write_ranked if graph.is_spread else _write_graph
    write(sheet, scene)
    _write_output(sheet, scene, output_lines)
    return few_colours(framed(below([_title(title, scene.layout.width), sheet.done()], gap=8)), N_COLOURS)
