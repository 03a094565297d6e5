"""Section of a path monitor: the way to each class as a graph, now and at first."""

import math
from dataclasses import dataclass
from typing import Any

from lightning_explain.report.checked import items, mapping, number, whole, words
from lightning_explain.report.markup import Child, Markup, clean, el, figure, join, percent, table
from lightning_explain.report.reading import MonitorEvent, Series

MOST_GRAPHS, MOST_NODES, MOST_EDGES = 30, 400, 2000
COLUMN, ROW = 132, 34
LEFT, RIGHT, TOP = 150, 40, 34

Edge = tuple[str, str, float, float]


@dataclass(frozen=True)
class Graph:
    """One decision path.

    Attributes:
        title: What it is of.
        nodes: By id: layer, unit (-1 for the rest of a layer), label, contribution; the input layer first.
        edges: Source, target, share and contribution.
        output: The explained output.
        shown_share: Share of it that the drawn single units carry.
    """

    title: str
    nodes: dict[str, tuple[str, int, str, float]]
    edges: list[Edge]
    output: float
    shown_share: float

    @classmethod
    def of(cls, value: Any) -> "Graph":
        """Read a graph out of a header."""
        graph = mapping(value)
        nodes: dict[str, tuple[str, int, str, float]] = {}
        for entry in items(graph.get("nodes"))[:MOST_NODES]:
            node = mapping(entry)
            key, label = words(node.get("id")), words(node.get("label"))
            unit = whole(node.get("unit"))
            nodes[key] = (words(node.get("layer")), unit, label or key, number(node.get("contribution")))
        edges: list[Edge] = []
        for entry in items(graph.get("edges"))[:MOST_EDGES]:
            edge = mapping(entry)
            source, target = words(edge.get("source")), words(edge.get("target"))
            share = number(edge.get("share"))
            if source in nodes and target in nodes and not math.isnan(share):
                edges.append((source, target, share, number(edge.get("contribution"))))
        title = words(graph.get("title")) or "path"
        return cls(title, nodes, edges, number(graph.get("output")), number(graph.get("shown_share")))

    def key(self, node: str) -> str:
        """Name a node over time: what bundles the rest of a layer is the same, however many units that are."""
        layer, unit, _, contribution = self.nodes[node]
        return node if unit >= 0 else f"{layer}\0{'-' if contribution < 0 else '+'}"

    def ways(self) -> set[tuple[str, str]]:
        """Return its edges as pairs that compare over time."""
        return {(self.key(source), self.key(target)) for source, target, _, _ in self.edges}


def _graphs(event: MonitorEvent) -> list[Graph]:
    return [Graph.of(graph) for graph in items(event.header.get("graphs"))[:MOST_GRAPHS]]


def path_blocks(series: Series) -> Markup:
    """Draw the graphs of the last step; those of the first are folded away."""
    first, last = series.events[0], series.events[-1]
    before = {graph.title: graph for graph in _graphs(first)} if first.step != last.step else {}
    return join(*(_block(graph, before.get(graph.title), first.step, last.step) for graph in _graphs(last)))


def _block(graph: Graph, before: Graph | None, first: int, last: int) -> Markup:
    won = graph.ways() - before.ways() if before else set[tuple[str, str]]()
    carried = percent(graph.shown_share)
    said = f"Output {figure(graph.output)} at step {last:,}; single units drawn carry {carried} of it."
    if before:
        said += f" {len(won)} of {len(graph.ways())} edges were not there at step {first:,}: they are dashed."
    title = clean(graph.title, 60)
    parts: list[Child] = [
        el("summary", el("bdi", title), el("small", f" {carried} in single units")),
        el("p", said, class_="note"),
        el("div", _drawing(graph, won), class_="scroll", tabindex="0", role="region", aria_label=f"Path: {title}"),
    ]
    if before:
        drawn = el("div", _drawing(before, set()), class_="scroll", tabindex="0", role="region", aria_label=title)
        parts.append(el("details", el("summary", f"The same at step {first:,}"), drawn))
    return el("details", *parts, _edge_table(graph, title), class_="path-block", open=True)


def _places(graph: Graph) -> tuple[dict[str, tuple[float, float]], list[tuple[str, float]], int]:
    columns: dict[str, list[str]] = {}
    for key, (layer, *_) in graph.nodes.items():
        columns.setdefault(layer, []).append(key)
    tallest = max((len(column) for column in columns.values()), default=1)
    places: dict[str, tuple[float, float]] = {}
    heads: list[tuple[str, float]] = []
    for x, (layer, column) in enumerate(columns.items()):
        heads.append((layer, LEFT + x * COLUMN))
        for y, key in enumerate(column):
            places[key] = (LEFT + x * COLUMN, TOP + ROW * (y + (tallest - len(column)) / 2) + ROW / 2)
    return places, heads, tallest


def _drawing(graph: Graph, won: set[tuple[str, str]]) -> Markup:
    places, heads, tallest = _places(graph)
    full = max([abs(share) for _, _, share, _ in graph.edges], default=1.0) or 1.0
    width, height = LEFT + RIGHT + COLUMN * max(0, len(heads) - 1), TOP + ROW * tallest + 10
    edges = [_edge(graph, edge, places, full, won) for edge in sorted(graph.edges, key=lambda edge: abs(edge[2]))]
    nodes = [_node(node, places[key], is_input=places[key][0] == LEFT) for key, node in graph.nodes.items()]
    names = [el("text", clean(layer, 18), x=x, y=14, text_anchor="middle", class_="layer") for layer, x in heads]
    return el(
        "svg", *names, *edges, *nodes, view_box=f"0 0 {width} {height}", role="img", class_="path",
        aria_label=f"Decision path, {clean(graph.title, 60)}; its edges are in the table below",
    )  # fmt: skip


def _edge(
    graph: Graph, edge: Edge, places: dict[str, tuple[float, float]], full: float, won: set[tuple[str, str]]
) -> Markup:
    source, target, share, contribution = edge
    (x1, y1), (x2, y2) = places[source], places[target]
    middle = (x1 + x2) / 2
    names = f"{clean(graph.nodes[source][2], 40)} to {clean(graph.nodes[target][2], 40)}"
    return el(
        "path",
        el("title", f"{names}: share {percent(share)}, contribution {figure(contribution)}"),
        d=f"M{x1:.0f} {y1:.1f}C{middle:.0f} {y1:.1f} {middle:.0f} {y2:.1f} {x2:.0f} {y2:.1f}",
        class_=f"edge {'against' if contribution < 0 else 'for'}",
        stroke_width=round(1 + 8 * min(1.0, abs(share) / full), 1),
        stroke_dasharray="7 4" if (graph.key(source), graph.key(target)) in won else None,
    )


def _node(node: tuple[str, int, str, float], place: tuple[float, float], *, is_input: bool) -> Markup:
    _, _, label, contribution = node
    (x, y), shown = place, clean(label, 24 if is_input else 17)
    return el(
        "g",
        el("title", f"{clean(label)}: contribution {figure(contribution)}"),
        el("circle", cx=x, cy=y, r=5),
        el("text", shown, x=x - 10 if is_input else x, y=y + 4 if is_input else y - 8,
           text_anchor="end" if is_input else "middle"),
        class_=f"node {'against' if contribution < 0 else 'for'}",
    )  # fmt: skip


def _edge_table(graph: Graph, title: str) -> Markup:
    strongest = sorted(graph.edges, key=lambda edge: -abs(edge[2]))[:30]
    rows: list[list[Child]] = [
        [
            el("bdi", clean(graph.nodes[source][2], 40)), el("bdi", clean(graph.nodes[target][2], 40)),
            percent(share), figure(contribution),
        ]
        for source, target, share, contribution in strongest
    ]  # fmt: skip
    made = table(["from", "to", "share", "contribution"], rows, caption=f"Strongest edges: {title}")
    return el("details", el("summary", "The edges as a table"), made)
