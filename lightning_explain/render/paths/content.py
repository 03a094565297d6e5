"""Content of a path picture as plain values: pictures of equal content look the same, so that one of them is enough."""

from collections.abc import Mapping, Sequence

from lightning_explain.paths import PathEdge, PathGraph, PathNode
from lightning_explain.render.paths.node_labels import percent, short_number
from lightning_explain.render.paths.ranked import first_ranked
from lightning_explain.render.paths.scene import THICKEST


def picture_content(
    graph: PathGraph,
    *,
    title: str,
    output_lines: Sequence[str],
    slots: Mapping[str, Sequence[int | None]] | None = None,
) -> str:
    """Return the content of a path picture beside the input, numbers as they are written or drawn.

    Widths of lines count in whole pixels, colours by sign.

    Args:
        graph: As in `path_picture`, like the others.
        title: Without the moment at which the graph was made.
        output_lines: What stands in the box of the output.
        slots: Places of the units.
    """
    if graph.is_spread:
        graph, slots = first_ranked(graph), None
    size, total = (dict(zip(graph.layers, of, strict=True)) for of in (graph.n_units, graph.totals))
    blocks = [
        (
            block.name, block.layers, graph.kind_of(block), sum(size[layer] for layer in block.layers),
            short_number(sum(total[layer] for layer in block.layers)),
        )
        for block in graph.blocks
    ]  # fmt: skip
    edges = [edge for edge in graph.edges if edge.is_single]
    widest = max((edge.share for edge in edges), default=0.0)
    lines = sorted(_line(edge, widest) for edge in edges)
    nodes = [_node(node, is_ranked=graph.is_spread) for node in graph.nodes]
    places = sorted((layer, list(units)) for layer, units in (slots or {}).items())
    ends = (percent(widest), percent(graph.threshold)) if widest > 0 else ()
    return repr((title, list(output_lines), graph.is_spread, blocks, nodes, lines, ends, places))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _line(edge: PathEdge, widest: float) -> tuple[str, str, int, int]:
    return *edge.ends, _sign(edge.contribution), round(THICKEST * edge.share / widest) if widest > 0 else 0


def _node(node: PathNode, *, is_ranked: bool) -> tuple[str, str, int, str]:
    """Return a node as it is drawn; where units are ranked, with the share that its bar shows."""
    return node.id, node.label, _sign(node.contribution), percent(node.share) if is_ranked else ""
