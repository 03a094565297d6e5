"""Scene of a path graph: places, names, colours, widths, and the input beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightning_explain.paths import LayerBlock, PathEdge, PathGraph, PathNode
from lightning_explain.render.colour import Picture
from lightning_explain.render.paths.node_labels import cut_at_front, name_in_block
from lightning_explain.render.paths.node_places import INPUT_WIDTH, TOP, Layout, Slots, is_input, laid_out, sticky_slots
from lightning_explain.render.sheet import WHITE, Sheet, pale, sign_colour
from lightning_explain.render.text import fitting, text_width

LETTERS = 11
HALF = 9
"""Half the height of a node."""

THICKEST = 10.0
PAPER = (238, 238, 238)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class InputPicture:
    """The input at the left of the graph.

    Attributes:
        image: The sample as uint8 [height, width, 3]; None for others.
        boxes: Place of each patch in it: top, left, height, width, in pixels.
        values: For tabular data: the value of each feature, written beside its name; empty for nothing.
        words: For texts: the word of each token in order, empty for padding; no words for other inputs.
    """

    image: Picture | None = None
    boxes: Sequence[Box] = ()
    values: Sequence[str] = field(default=())
    words: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Scene:
    """A path graph with places, names and colours.

    Attributes:
        graph: What is drawn.
        layout: Where the nodes stand.
        shown: The input.
        names: What is written into each node, by id.
        halves: Half the width of each node, by id.
        scale: Share of the widest line.
    """

    graph: PathGraph
    layout: Layout
    shown: InputPicture
    names: dict[str, str]
    halves: dict[str, int]
    scale: float

    @property
    def inputs(self) -> list[LayerBlock]:
        """The inputs."""
        return [block for block in self.graph.blocks if is_input(block)]

    @property
    def hidden(self) -> list[LayerBlock]:
        """The blocks between inputs and output."""
        return [block for block in self.graph.blocks[:-1] if not is_input(block)]

    def nodes_of(self, block: LayerBlock) -> list[PathNode]:
        """Return the nodes of a block."""
        return [node for layer in block.layers for node in self.graph.of_layer(layer)]

    def place(self, node: PathNode) -> tuple[int, int]:
        """Return the middle of a node."""
        return self.layout.places[node.id]

    def width_of(self, edge: PathEdge) -> float:
        """Return the width of an edge's line."""
        return max(0.8, THICKEST * edge.share / self.scale) if self.scale > 0 else 0.8


def scene_of(graph: PathGraph, shown: InputPicture, slots: Mapping[str, Sequence[int | None]] | None) -> Scene:
    """Decide places, names and sizes.

    Args:
        graph: What is drawn.
        shown: The input.
        slots: Places of the units, from `sticky_slots`; None for the order of their numbers.
    """
    known: Slots = sticky_slots(graph, {}) | dict(slots or {})
    layout = laid_out(graph, known, n_input_rows=len([word for word in shown.words if word]))
    names: dict[str, str] = {}
    halves: dict[str, int] = {}
    for block in graph.blocks[:-1]:
        for node in (node for layer in block.layers for node in graph.of_layer(layer)):
            room = INPUT_WIDTH - 12 if is_input(block) else layout.step - 30
            names[node.id] = _name(node, block, shown, room)
            halves[node.id] = max(HALF + 3, (text_width(names[node.id], LETTERS) + 12) // 2)
            if is_input(block):
                layout.places.update(_at_left(node, shown, layout, halves))
    scale = max((edge.share for edge in graph.edges if edge.is_single), default=0.0)
    return Scene(graph, layout, shown, names, halves, scale)


def _name(node: PathNode, block: LayerBlock, shown: InputPicture, room: int) -> str:
    if node.unit is None:
        return node.label
    if not is_input(block):
        return cut_at_front(name_in_block(node, block), room, LETTERS)
    if block.name in ("input", "input 0"):
        if shown.image is not None:
            return ""
        value = f": {shown.values[node.unit]}" if shown.values else ""
        label = shown.words[node.unit] or node.label if shown.words else node.label
        return f"{fitting(label, room - 12 - text_width(value, LETTERS), LETTERS)}{value}"
    return fitting(node.label, room - 12, LETTERS)


def _at_left(
    node: PathNode, shown: InputPicture, layout: Layout, halves: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Set a unit of the input flush with the others, a token at its place in the text."""
    y = layout.places[node.id][1]
    if shown.words and node.unit is not None and node.layer in ("input", "input 0"):
        y = row_of_word(node.unit, shown, layout)
    return {node.id: (INPUT_WIDTH - halves[node.id], y)}


def row_of_word(place: int, shown: InputPicture, layout: Layout) -> int:
    """Return the height at which a token stands."""
    written = [at for at, word in enumerate(shown.words) if word or at == place]
    pitch = (layout.height - TOP) / len(written)
    return round(TOP + pitch * (written.index(place) + 0.5))


def draw_edges(sheet: Sheet, scene: Scene) -> None:
    """Draw the edges between single units, from the weakest to the strongest."""
    column = {layer: scene.layout.columns[block.name] for block in scene.graph.blocks for layer in block.layers}
    for edge in sorted((edge for edge in scene.graph.edges if edge.is_single), key=lambda edge: edge.share):
        (x0, y0), (x1, y1) = scene.place(edge.source), scene.place(edge.target)
        # a weak line in full colour would look stronger than it is
        colour = pale(sign_colour(edge.contribution), 0.4 + 0.45 * edge.share / scene.scale)
        start = (x0 + scene.halves[edge.source.id], y0)
        if column[edge.source.layer] == column[edge.target.layer]:
            sheet.bow(start, (x1 + scene.halves[edge.target.id], y1), colour, scene.width_of(edge))
        else:
            end = (x1 - scene.halves.get(edge.target.id, 0), y1)
            sheet.ribbon(start, end, colour, scene.width_of(edge))


def draw_node(sheet: Sheet, scene: Scene, node: PathNode) -> None:
    """Draw a box for a unit, pale without a frame for a bundle."""
    x, y = scene.place(node)
    colour = sign_colour(node.contribution)
    is_single = node.unit is not None
    fill = WHITE if is_single else PAPER
    sheet.block(x, y, (scene.halves[node.id], HALF), fill, colour if is_single else fill, 1.5)


def write_node(sheet: Sheet, scene: Scene, node: PathNode) -> None:
    """Write a unit's name into its box, or how many a bundle stands for."""
    sheet.write(*scene.place(node), scene.names[node.id], size=LETTERS)
