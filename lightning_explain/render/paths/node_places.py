"""Layout of a path graph: the same place for the same unit from one picture to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_explain.paths import LayerBlock, PathGraph, PathNode

WIDTH = 760
"""Of a picture with few columns; of more, each takes at least `NARROWEST`."""

NARROWEST = 130
ROW = 26
TOP = 50
INPUT_WIDTH = 176
OUTPUT_WIDTH = 100

Slots = Mapping[str, Sequence[int | None]]
"""Layer -> the unit in each of its places from the top; None for a free one."""


def sticky_slots(graph: PathGraph, earlier: Slots) -> dict[str, list[int | None]]:
    """Give every single unit a place: the one that it had, or a free one, or one that its unit has left.

    Args:
        graph: What will be drawn.
        earlier: The places in the picture before; empty for the first.

    Example:
        >>> from lightning_explain.paths import PathNode, Search
        >>> nodes = tuple(PathNode("fc", unit, "", 0.0, 0.0) for unit in (3, 7))
        >>> graph = PathGraph(0.0, ("fc",), (0.0,), (2,), nodes, (), Search((), 0), (), 0.0, 0.0)
        >>> sticky_slots(graph, {"fc": [7, 5]})
        {'fc': [7, 3]}
    """
    return {layer: _of_layer(graph.of_layer(layer), earlier.get(layer, ())) for layer in graph.layers}


def _of_layer(nodes: Sequence[PathNode], earlier: Sequence[int | None]) -> list[int | None]:
    units = [node.unit for node in nodes if node.unit is not None]
    slots: list[int | None] = [unit if unit in units else None for unit in earlier]
    slots += [None] * (len(units) - len(slots))
    new = iter(unit for unit in units if unit not in slots)
    return [next(new, None) if unit is None else unit for unit in slots]


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels.

    Attributes:
        places: Middle of every node, by its id.
        columns: Middle of each block's column, by the block's name.
        step: From one column to the next.
        width: Of the picture.
        height: Of the picture, without title: it grows with the longest column.
    """

    places: dict[str, tuple[int, int]]
    columns: dict[str, int]
    step: int
    width: int
    height: int


def is_input(block: LayerBlock) -> bool:
    """Return True if a block is an input."""
    return block.name == "input" or block.name.startswith("input ")


def _rows(graph: PathGraph, block: LayerBlock, slots: Slots) -> list[str | None]:
    """Return the ids of a block's nodes from the top, None where a place stays free; bundles are last."""
    nodes = [node for layer in block.layers for node in graph.of_layer(layer)]
    ids = {(node.layer, node.unit): node.id for node in nodes if node.unit is not None}
    rows = [ids.get((layer, unit)) if unit is not None else None for layer in block.layers for unit in slots[layer]]
    bundles: list[str | None] = [node.id for node in nodes if node.unit is None]
    if len(rows) > len(ids) and len(block.layers) > 1:
        rows = [row for row in rows if row is not None]  # free places of many layers would add up
    return rows + bundles


def laid_out(graph: PathGraph, slots: Slots, *, n_input_rows: int = 0) -> Layout:
    """Set the blocks in columns, inputs left, the output right.

    Args:
        graph: What will be drawn.
        slots: As `sticky_slots` gives them.
        n_input_rows: Rows that the first input needs at least, drawn or not: one for each token.
    """
    inputs = [block for block in graph.blocks if is_input(block)]
    others = [block for block in graph.blocks if not is_input(block)]
    step = max(NARROWEST, (WIDTH - INPUT_WIDTH - OUTPUT_WIDTH // 2) // max(1, len(others)))
    columns = {block.name: INPUT_WIDTH + step * (place + 1) for place, block in enumerate(others)}
    columns |= {block.name: INPUT_WIDTH for block in inputs}
    rows = {block.name: _rows(graph, block, slots) for block in others}
    first = [row for block in inputs for row in _rows(graph, block, slots)]
    n_rows = max([len(first), n_input_rows, *map(len, rows.values())])
    places = _spread(first, INPUT_WIDTH, n_rows)
    for block in others:
        places |= _spread(rows[block.name], columns[block.name], n_rows)
    width = INPUT_WIDTH + step * len(others) + OUTPUT_WIDTH // 2
    return Layout(places, columns, step, width, TOP + n_rows * ROW)


def _spread(rows: Sequence[str | None], x: int, n_rows: int) -> dict[str, tuple[int, int]]:
    """Spread rows evenly over the height, no further apart than twice a row's height, and leave out the free ones."""
    pitch = min(2.0 * ROW, n_rows * ROW / max(1, len(rows)))
    top = TOP + (n_rows * ROW - pitch * len(rows)) / 2
    return {node: (x, round(top + pitch * (place + 0.5))) for place, node in enumerate(rows) if node is not None}
