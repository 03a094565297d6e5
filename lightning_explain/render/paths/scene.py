"""Scene of a path graph: places, colours, widths, and the input beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from lightning_explain.paths import PathEdge, PathGraph, PathNode
from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.paths.node_places import TOP, Layout, Slots, laid_out, sticky_slots
from lightning_explain.render.sheet import GREY, Colour, Sheet, ink_on, pale, sign_colour
from lightning_explain.render.text import INK

RADIUS = 11
BUNDLE = (22, 8)
"""Half the width and height of the box of a bundle."""

THICKEST = 9.0
PALER = 1.4
"""Node colours stay short of the darkest by this factor, so that numbers on them can be read."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class InputPicture:
    """The input at the left of the graph.

    Attributes:
        image: The sample as uint8 [height, width, 3]; None for tabular data.
        boxes: Place of each patch in it: top, left, height, width, in pixels.
        values: For tabular data: the value of each feature, written below its name; empty for nothing.
    """

    image: Picture | None = None
    boxes: Sequence[Box] = ()
    values: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Scene:
    """A path graph with places and colours.

    Attributes:
        graph: What is drawn.
        layout: Where the nodes stand.
        shown: The input.
        fills: Colour of each node, by id.
        widest: Share of the strongest edge between single units, for each gap between two layers.
        ringed: Ids of the units on the strongest single path.
    """

    graph: PathGraph
    layout: Layout
    shown: InputPicture
    fills: dict[str, Colour]
    widest: dict[tuple[str, str], float]
    ringed: frozenset[str]

    @property
    def inputs(self) -> list[str]:
        """Names of the input layers."""
        return [layer for layer in self.graph.layers if layer == "input" or layer.startswith("input ")]

    @property
    def hidden(self) -> list[str]:
        """Names of the layers between inputs and output."""
        return [layer for layer in self.graph.layers[:-1] if layer not in self.inputs]

    def place(self, node: PathNode) -> tuple[int, int]:
        """Return the middle of a node."""
        return self.layout.places[node.id]


def _fills(nodes: Sequence[PathNode]) -> dict[str, Colour]:
    """Colour nodes by contribution, relative to the largest single unit of their layer."""
    scale = max((abs(node.contribution) for node in nodes if node.unit is not None), default=0.0)
    coloured = signed_colours(torch.tensor([node.contribution for node in nodes]), scale * PALER)
    colours = [(int(red), int(green), int(blue)) for red, green, blue in coloured]
    singles = {node.id: colour for node, colour in zip(nodes, colours, strict=True)}
    # a bundle's sum goes beyond the scale of single units
    bundles = {node.id: pale(sign_colour(node.contribution), 0.35) for node in nodes if node.unit is None}
    return singles | bundles


def gap_of(edge: PathEdge) -> tuple[str, str]:
    """Name the gap between layers that an edge crosses."""
    return edge.source.layer, edge.target.layer


def _widest(graph: PathGraph) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for edge in graph.edges:
        if edge.is_single:
            found[gap_of(edge)] = max(found.get(gap_of(edge), 0.0), edge.share)
    return found


def scene_of(
    graph: PathGraph, shown: InputPicture, slots: Mapping[str, Sequence[int | None]] | None, *, n_rows: int
) -> Scene:
    """Decide places and colours.

    Args:
        graph: What is drawn.
        shown: The input.
        slots: Places of the units, from `sticky_slots`; None for the order of their numbers.
        n_rows: Height in nodes.
    """
    known: Slots = sticky_slots(graph, {}) if slots is None else slots
    fills: dict[str, Colour] = {}
    for layer in graph.layers:
        fills |= _fills(graph.of_layer(layer))
    best = graph.paths.paths[:1]
    ringed = frozenset(f"{graph.layers[layer]}:{unit}" for path in best for layer, unit in path.units)
    return Scene(graph, laid_out(graph, known, n_rows=n_rows), shown, fills, _widest(graph), ringed)


def _half_width(node: PathNode) -> int:
    return RADIUS if node.unit is not None else BUNDLE[0]


def draw_edges(sheet: Sheet, scene: Scene) -> None:
    """Draw bundles' edges pale and first, then single units' from the weakest to the strongest."""
    for edge in sorted(scene.graph.edges, key=lambda edge: (edge.is_single, edge.share)):
        relative = min(1.0, edge.share / (scene.widest.get(gap_of(edge)) or edge.share or 1.0))
        # a weak line in full colour would look stronger than it is
        strength = 0.45 + 0.4 * relative if edge.is_single else 0.18
        (x0, y0), (x1, y1) = scene.place(edge.source), scene.place(edge.target)
        start, end = (x0 + _half_width(edge.source) - 2, y0), (x1 - _half_width(edge.target) + 2, y1)
        sheet.ribbon(start, end, pale(sign_colour(edge.contribution), strength), max(0.7, THICKEST * relative))


def draw_node(sheet: Sheet, scene: Scene, node: PathNode) -> None:
    """Draw a circle for a unit, a box for a bundle."""
    x, y = scene.place(node)
    if node.unit is None:
        sheet.block(x, y, BUNDLE, scene.fills[node.id], GREY, 1)
    else:
        ring, width = (INK, 2) if node.id in scene.ringed else (GREY, 1)
        sheet.circle(x, y, RADIUS, scene.fills[node.id], ring, width)


def write_node(sheet: Sheet, scene: Scene, node: PathNode) -> None:
    """Write a unit's number into its circle, or how many a bundle stands for."""
    words = f"{node.n_units} more" if node.unit is None else str(node.unit)
    sheet.write(*scene.place(node), words, size=10 if len(words) < 4 else 9, fill=ink_on(scene.fills[node.id]))


def middle_of_image(scene: Scene, height: int) -> int:
    """Return the top of an image of this height that stands in the middle of the graph."""
    return TOP + (scene.layout.height - TOP - height) // 2
