"""Layout of a path graph: the same place for the same unit from one picture to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_explain.paths import PathGraph, PathNode
from lightning_explain.paths.path_graph import AGAINST, FOR

WIDTH = 680
ROW = 38
TOP = 46
INPUT_WIDTH = 120
OUTPUT_WIDTH = 92

BUNDLES = (FOR, AGAINST)

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
    """Middle of every node, by id, and the size of the whole; in pixels.

    Attributes:
        places: Node id -> (x, y).
        columns: x of each layer.
        width: Of the picture.
        height: Of the picture, without title.
    """

    places: dict[str, tuple[int, int]]
    columns: dict[str, int]
    width: int
    height: int


def laid_out(graph: PathGraph, slots: Slots, *, n_rows: int) -> Layout:
    """Set the layers in columns, inputs left, the output right.

    Args:
        graph: What will be drawn.
        slots: As `sticky_slots` gives them.
        n_rows: Height of the picture in nodes; the same for all pictures of a series.
    """
    inputs = [layer for layer in graph.layers if layer.startswith("input")]
    others = [layer for layer in graph.layers if layer not in inputs]
    left, right = INPUT_WIDTH + 28, WIDTH - OUTPUT_WIDTH // 2
    step = (right - left) / max(1, len(others))
    columns = dict.fromkeys(inputs, left)
    columns |= {layer: round(left + step * (place + 1)) for place, layer in enumerate(others)}
    height = TOP + n_rows * ROW
    places: dict[str, tuple[int, int]] = {}
    for layer in others:
        places |= _spread(_rows(graph, layer, slots[layer], n_rows), columns[layer], n_rows)
    places |= _spread([row for layer in inputs for row in _rows(graph, layer, slots[layer], n_rows)], left, n_rows)
    return Layout(places, columns, WIDTH, height)


def _rows(graph: PathGraph, layer: str, slots: Sequence[int | None], n_rows: int) -> list[str | None]:
    """Return the ids of a layer's nodes from the top; None where a place stays free.

    In a layer with bundles these are always the last two rows, whether both are there or not.
    """
    nodes = graph.of_layer(layer)
    singles = {node.unit: node.id for node in nodes if node.unit is not None}
    rows = [None if unit is None else singles[unit] for unit in slots]
    n_units = graph.n_units[graph.layers.index(layer)]
    if n_units <= n_rows:
        return rows
    rows += [None] * (n_rows - len(BUNDLES) - len(rows))
    bundles = {side: node.id for node in nodes for side in BUNDLES if node.unit is None and node.label.endswith(side)}
    return [*rows, *(bundles.get(side) for side in BUNDLES)]


def _spread(rows: Sequence[str | None], x: int, n_rows: int) -> dict[str, tuple[int, int]]:
    """Spread rows evenly over the height, and leave out the free ones."""
    pitch = n_rows * ROW / max(1, len(rows))
    return {node: (x, round(TOP + pitch * (place + 0.5))) for place, node in enumerate(rows) if node is not None}
