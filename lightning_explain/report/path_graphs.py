"""Decision paths out of the events of a path monitor, in both forms that these have had."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lightning_explain.report.checked import items, mapping, number, numbers, whole, words
from lightning_explain.report.reading import MonitorEvent

MOST_GRAPHS, MOST_NODES, MOST_EDGES, MOST_DRAWN = 30, 400, 2000, 60
NAN = math.nan


@dataclass(frozen=True)
class Node:
    """A unit, or a bundle of units, of a path.

    Attributes:
        key: Its name over time: a bundle's is the same, however many units it holds.
        layer: The name of its layer.
        column: Number of the column that it stands in.
        unit: Its number; negative for a bundle.
        label: What it is called.
        contribution: Signed.
        share: Share of what comes from the input that passes it; NaN in the first form.
        box: Of a patch: top, left, height and width as shares of the image; empty for others.
    """

    key: str
    layer: str
    column: int
    unit: int
    label: str
    contribution: float
    share: float = NAN
    box: tuple[float, ...] = ()


@dataclass(frozen=True)
class Edge:
    """The flow from one node to another."""

    source: Node
    target: Node
    share: float
    contribution: float

    @property
    def way(self) -> tuple[str, str]:
        """The keys of both ends, by which an edge is compared over time."""
        return self.source.key, self.target.key


@dataclass(frozen=True)
class Graph:
    """One decision path.

    Attributes:
        title: What it is of.
        nodes: The input layer first.
        edges: Between them, those that are drawn.
        columns: Names of the columns.
        output: The explained output.
        shown_share: Share of what comes from the input that the ways drawn carry.
        absorbed_share: Share of the decision that comes from biases.
        is_spread: Units are ranked, since no drawing carries much.
        sample: Number of the sample that it is of; negative for a mean.
        ablation: Share of the score lost without the units drawn, and without as many random ones; NaN if not measured.
        words: The words of the text; empty for other inputs.
        tile: Number of its image in the picture of the event; negative for none.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    columns: tuple[str, ...]
    output: float
    shown_share: float
    absorbed_share: float = NAN
    is_spread: bool = False
    sample: int = -1
    ablation: tuple[float, float] = (NAN, NAN)
    words: tuple[str, ...] = field(default=())
    tile: int = -1

    @cached_property
    def written(self) -> list[int]:
        """The places of the text that are written: all but padding."""
        drawn = {node.unit for node in self.nodes if node.column == 0}
        return [place for place, word in enumerate(self.words) if word or place in drawn]

    @cached_property
    def ways(self) -> set[tuple[str, str]]:
        """Its edges as pairs that compare over time."""
        return {edge.way for edge in self.edges}

    def of_column(self, column: int) -> list[Node]:
        """Return the nodes of a column."""
        return [node for node in self.nodes if node.column == column]


def _key(layer: str, unit: int, contribution: float, name: str = "") -> str:
    return (name or f"{layer}:{unit}") if unit >= 0 else f"{layer}\0{'-' if contribution < 0 else '+'}"


def _objects(graph: dict[str, Any]) -> tuple[dict[Any, Node], list[tuple[Any, Any, float, float]], list[str]]:
    """Read nodes and edges of the first form: a column is a layer."""
    columns: dict[str, int] = {}
    nodes: dict[Any, Node] = {}
    for entry in map(mapping, items(graph.get("nodes"))[:MOST_NODES]):
        name, layer, unit = words(entry.get("id")), words(entry.get("layer")), whole(entry.get("unit"))
        column = columns.setdefault(layer, len(columns))
        contribution = number(entry.get("contribution"))
        label = words(entry.get("label")) or name
        nodes[name] = Node(_key(layer, unit, contribution, name), layer, column, unit, label, contribution)
    edges = [
        (words(e.get("source")), words(e.get("target")), number(e.get("share")), number(e.get("contribution")))
        for e in map(mapping, items(graph.get("edges"))[:MOST_EDGES])
    ]
    return nodes, edges, list(columns)


def _rows(graph: dict[str, Any]) -> tuple[dict[Any, Node], list[tuple[Any, Any, float, float]], list[str]]:
    """Read nodes and edges that are rows of numbers."""
    columns = [mapping(column) for column in items(graph.get("columns"))[:100]]
    layers = [(words(layer), n) for n, column in enumerate(columns) for layer in items(column.get("layers"))[:200]]
    boxes = mapping(graph.get("boxes"))
    nodes: dict[Any, Node] = {}
    for place, entry in enumerate(map(items, items(graph.get("nodes"))[:MOST_NODES])):
        of, unit, label, contribution, share, size = (*entry, *[None] * 6)[:6]
        if not 0 <= whole(of) < len(layers):
            continue
        (layer, column), unit, contribution = layers[whole(of)], whole(unit), number(contribution)
        n_others = whole(size, 1)
        others = f"{n_others} other{'s' * (n_others > 1)} {'against' if contribution < 0 else 'for'}"
        named = words(label) or (others if unit < 0 else f"{layer} {unit}")
        box = tuple(side for side in numbers(boxes.get(str(unit))) if 0 <= side <= 1) if column == 0 else ()
        key = _key(layer, unit, contribution)
        nodes[place] = Node(key, layer, column, unit, named, contribution, number(share), box if len(box) == 4 else ())
    least = number(graph.get("threshold"))
    edges = [
        (whole(row[0]), whole(row[1]), number(row[2]), number(row[3]))
        for row in map(items, items(graph.get("edges"))[:MOST_EDGES])
        if len(row) == 4 and not number(row[2]) < least * (1 - 1e-3)
    ]
    return nodes, edges, [words(column.get("name")) for column in columns]


def graph_of(value: Any) -> Graph:
    """Read a graph out of a header."""
    graph = mapping(value)
    nodes, edges, columns = (_rows if isinstance(graph.get("columns"), list) else _objects)(graph)
    known = [
        Edge(nodes[source], nodes[target], share, contribution)
        for source, target, share, contribution in edges
        if source in nodes and target in nodes and not math.isnan(share)
    ]
    return Graph(
        title=words(graph.get("title")) or "path",
        nodes=tuple(nodes.values()),
        edges=tuple(sorted(known, key=lambda edge: -abs(edge.share))[:MOST_DRAWN]),
        columns=tuple(columns),
        output=number(graph.get("output")),
        shown_share=number(graph.get("shown_share")),
        absorbed_share=number(graph.get("absorbed_share")),
        is_spread=graph.get("is_spread") is True,
        sample=whole(graph.get("sample")),
        ablation=(number(graph.get("ablation")), number(graph.get("ablation_random"))),
        words=tuple(words(word) for word in items(graph.get("words"))[:512]),
        tile=whole(graph.get("tile")),
    )


def graphs_of(event: MonitorEvent) -> list[Graph]:
    """Read the graphs of an event."""
    return [graph_of(graph) for graph in items(event.header.get("graphs"))[:MOST_GRAPHS]]


def by_column(graph: Graph) -> dict[int, list[Node]]:
    """Return the nodes by column, ranked: units by their share, then bundles."""
    found: dict[int, list[Node]] = defaultdict(list)
    for node in sorted(graph.nodes, key=lambda node: (node.unit < 0, -node.share)):
        found[node.column].append(node)
    return found
