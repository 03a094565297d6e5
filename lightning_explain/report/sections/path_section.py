"""Section of a path monitor: the way to each class as a graph, now and at first."""

import math
from collections.abc import Sequence

from lightning_explain.report.checked import tile
from lightning_explain.report.markup import Child, Markup, clean, el, join, percent, png_address, short_number, table
from lightning_explain.report.path_graphs import Edge, Graph, Node, by_column, graphs_of
from lightning_explain.report.pictures import Bytes, cut, opened, plain_picture
from lightning_explain.report.reading import MonitorEvent, Series

COLUMN, ROW, HALF = 190, 26, 9
LEFT, RIGHT, TOP = 200, 70, 34
IMAGE, LETTER, BAR = 120, 6.6, 60

Place = tuple[float, float, float]
"""Middle of a node, and half its width."""


Width = tuple[float, float]
"""Share of the thickest edge, and of the longest bar."""


def path_blocks(series: Series, beside: Sequence[Series] = ()) -> Markup:
    """Draw the graphs of the last step; those of the first are folded away.

    Args:
        series: The monitor's events.
        beside: The same monitor of other runs, which share the widths of edges.
    """
    first, last = series.events[0], series.events[-1]
    before = {graph.title: graph for graph in graphs_of(first)} if first.step != last.step else {}
    widths = _widths([event for one in (series, *beside) for event in (one.events[0], one.events[-1])])
    return join(
        *(_block(graph, before.get(graph.title), first, last, widths[graph.title]) for graph in graphs_of(last))
    )


def _widths(events: Sequence[MonitorEvent]) -> dict[str, Width]:
    """Return the shares that get the thickest edge and the longest bar, by title of the path."""
    found: dict[str, Width] = {}
    for graph in (graph for event in events for graph in graphs_of(event)):
        edge = max([abs(edge.share) for edge in graph.edges], default=0.0)
        node = max([node.share for node in graph.nodes[:-1] if node.unit >= 0], default=0.0)
        known = found.get(graph.title, (0.0, 0.0))
        found[graph.title] = (max(known[0], edge), max(known[1], node))
    return {title: (edge or 1.0, node or 1.0) for title, (edge, node) in found.items()}


def _said(graph: Graph) -> str:
    """Say what the drawing carries."""
    carried = percent(graph.shown_share)
    if graph.is_spread:
        words = f"no few ways carry this decision (the strongest units: {carried}), so that units are ranked"
    else:
        words = f"the ways drawn carry {carried} of what comes from the input"
    if graph.absorbed_share >= 0.005:
        words += f"; {percent(graph.absorbed_share)} of the decision comes from biases"
    drawn, random = graph.ablation
    if not math.isnan(drawn):
        which = "drawn" if graph.sample < 0 else "of its class's mean path"
        words += f"; without the units {which} {percent(drawn)} of the score is lost, without as many random ones "
        words += percent(random)
    return words


def _block(graph: Graph, before: Graph | None, first: MonitorEvent, last: MonitorEvent, width: Width) -> Markup:
    is_compared = before is not None and not graph.is_spread and before.columns == graph.columns
    won = graph.ways - before.ways if before is not None and is_compared else set[tuple[str, str]]()
    said = f"Output {short_number(graph.output)} at step {last.step:,}; {_said(graph)}."
    if is_compared:
        said += f" {len(won)} of {len(graph.ways)} edges were not there at step {first.step:,}: they are dashed."
    title = clean(graph.title, 60)
    parts: list[Child] = [
        el("summary", el("bdi", title), el("small", f" {percent(graph.shown_share)} drawn")),
        el("p", said, class_="note"),
        _shown(graph, last, won, f"Path: {title}", width),
    ]
    if before:
        drawn = _shown(before, first, set(), f"Path at step {first.step:,}: {title}", width)
        parts.append(el("details", el("summary", f"The same at step {first.step:,}"), drawn))
    edges = None if graph.is_spread else _edge_table(graph, title)
    return el("details", *parts, edges, class_="path-block", open=True)


def _shown(graph: Graph, event: MonitorEvent, won: set[tuple[str, str]], words: str, width: Width) -> Markup:
    drawing = _ranking(graph, width[1]) if graph.is_spread else _drawing(graph, _image_of(graph, event), won, width[0])
    return el("div", drawing, class_="scroll", tabindex="0", role="region", aria_label=words)


def _image_of(graph: Graph, event: MonitorEvent) -> Bytes | None:
    size, sheet = tile(event.header.get("tile")), opened(event.picture) if event.picture else None
    return None if size is None or sheet is None else cut(sheet, size, graph.tile)


def _places(graph: Graph, *, has_image: bool) -> tuple[dict[str, Place], int]:
    """Return the place of each node by its key, and the number of rows."""
    columns = [[n for n in graph.of_column(c) if n.unit >= 0 or not graph.words] for c in range(len(graph.columns))]
    n_rows = max([len(column) for column in columns] + [len(graph.written), 3])
    places: dict[str, Place] = {}
    for x, column in enumerate(columns):
        for y, node in enumerate(column):
            half = 12.0 if has_image and node.box else LETTER * len(_name(graph, node)) / 2 + 7
            row = y + (n_rows - len(column)) / 2 + 0.5
            if node.unit in graph.written and x == 0:
                row = n_rows * (graph.written.index(node.unit) + 0.5) / len(graph.written)
            places[node.key] = (LEFT + x * COLUMN - (half if x == 0 else 0), TOP + ROW * row, half)
    return places, n_rows


def _name(graph: Graph, node: Node) -> str:
    """Write the name by which a unit is told apart in its column."""
    rest = node.label.removeprefix(graph.columns[node.column]).lstrip(". ")
    return clean(rest or node.label, 26 if node.column == 0 else 20)


def _drawing(graph: Graph, image: Bytes | None, won: set[tuple[str, str]], full: float) -> Markup:
    places, n_rows = _places(graph, has_image=image is not None)
    width, height = LEFT + RIGHT + COLUMN * max(0, len(graph.columns) - 1), TOP + ROW * n_rows + 10
    edges = [_edge(edge, places, full, edge.way in won) for edge in reversed(graph.edges)]
    nodes = [_node(graph, node, places[node.key], image) for node in graph.nodes if node.key in places]
    names = [
        el("text", clean(name[-26:], 26), x=LEFT + x * COLUMN if x else 0, y=14, class_="layer",
           text_anchor="middle" if x else "start")
        for x, name in enumerate(graph.columns)
    ]  # fmt: skip
    return el(
        "svg", *names, *_input(graph, image, places, n_rows), *edges, *nodes, view_box=f"0 0 {width} {height}",
        width=width, height=height, role="img", class_="path",
        aria_label=f"Decision path, {clean(graph.title, 60)}; its edges are in the table below",
    )  # fmt: skip


def _input(graph: Graph, image: Bytes | None, places: dict[str, Place], n_rows: int) -> list[Markup]:
    """Draw the image with its patches outlined, or the words of a text that no way begins at."""
    if image is None:
        drawn = {node.unit for node in graph.of_column(0)}
        pitch = n_rows * ROW / max(1, len(graph.written))
        return [
            el("text", clean(graph.words[place], 24), x=LEFT - 7, y=TOP + pitch * (n + 0.5) + 4, text_anchor="end",
               class_="word")
            for n, place in enumerate(graph.written)
            if place not in drawn
        ]  # fmt: skip
    scale = IMAGE / max(image.shape[:2])
    width, height = image.shape[1] * scale, image.shape[0] * scale
    top = TOP + (n_rows * ROW - height) / 2
    parts = [
        el("image", href=png_address(plain_picture(image)), x=0, y=top, width=width, height=height, class_="pixels")
    ]
    for node in graph.of_column(0):
        if node.box and node.key in places:
            y, x, tall, wide = node.box
            (place, row, half), side = places[node.key], x * width + wide * width
            sign = "against" if node.contribution < 0 else "for"
            parts.append(
                el("rect", x=x * width, y=top + y * height, width=wide * width, height=tall * height,
                   class_=f"outline {sign}")
            )  # fmt: skip
            middle = top + (y + tall / 2) * height
            parts.append(el("line", x1=side, y1=middle, x2=place - half, y2=row, class_="lead"))
    return parts


def _edge(edge: Edge, places: dict[str, Place], full: float, is_new: bool) -> Markup:
    (x1, y1, half), (x2, y2, other) = places[edge.source.key], places[edge.target.key]
    start, end = x1 + half, x2 - other
    middle = (start + end) / 2
    names = f"{clean(edge.source.label, 40)} to {clean(edge.target.label, 40)}"
    if edge.source.column == edge.target.column:
        start, end, middle = x1 + half, x2 + other, max(x1 + half, x2 + other) + 14 + abs(y2 - y1) / 5
    return el(
        "path",
        el("title", f"{names}: share {percent(edge.share)}, contribution {short_number(edge.contribution)}"),
        d=f"M{start:.0f} {y1:.1f}C{middle:.0f} {y1:.1f} {middle:.0f} {y2:.1f} {end:.0f} {y2:.1f}",
        class_=f"edge {'against' if edge.contribution < 0 else 'for'}",
        stroke_width=round(1 + 8 * min(1.0, abs(edge.share) / full), 1),
        stroke_dasharray="7 4" if is_new else None,
    )


def _node(graph: Graph, node: Node, place: Place, image: Bytes | None) -> Markup:
    (x, y, half), sign = place, "against" if node.contribution < 0 else "for"
    title = el("title", f"{clean(node.label)}: contribution {short_number(node.contribution)}")
    box = el("rect", x=x - half, y=y - HALF, width=2 * half, height=2 * HALF, rx=4)
    kind = "node bundle" if node.unit < 0 else "node"
    if image is not None and node.box:
        top, left, tall, wide = (
            round(side * of) for side, of in zip(node.box, (*image.shape[:2], *image.shape[:2]), strict=True)
        )
        patch = image[top : top + max(1, tall), left : left + max(1, wide)]
        picture = el(
            "image", href=png_address(plain_picture(patch)), x=x - half, y=y - 12, width=24, height=24, class_="pixels",
            preserveAspectRatio="none",
        )  # fmt: skip
        return el("g", title, picture, el("rect", x=x - half, y=y - 12, width=24, height=24), class_=f"{kind} {sign}")
    return el("g", title, box, el("text", _name(graph, node), x=x, y=y + 4, text_anchor="middle"),
              class_=f"{kind} {sign}")  # fmt: skip


def _ranking(graph: Graph, full: float) -> Markup:
    """List the units of each column with a bar as long as each one's share."""
    columns = by_column(graph)
    n_rows = max((len(column) for column in columns.values()), default=0)
    parts: list[Markup] = []
    for x, name in enumerate(graph.columns[:-1]):
        parts.append(el("text", clean(name[-22:], 22), x=x * COLUMN, y=14, class_="layer"))
        for y, node in enumerate(columns[x]):
            parts.append(_ranked(graph, node, x * COLUMN, TOP + ROW * (y + 0.5), full))
    width, height = COLUMN * len(graph.columns[:-1]), TOP + ROW * n_rows
    return el(
        "svg", *parts, view_box=f"0 0 {width} {height}", width=width, height=height, role="img", class_="path ranked",
        aria_label=f"Ranked units, {clean(graph.title, 60)}",
    )  # fmt: skip


def _ranked(graph: Graph, node: Node, x: float, y: float, full: float) -> Markup:
    share = f"{clean(node.label, 60)}: {percent(node.share)}, contribution {short_number(node.contribution)}"
    name = el("text", clean(_name(graph, node), 13 if node.unit >= 0 else 26), x=x, y=y + 4)
    if node.unit < 0:
        return el("g", el("title", share), name, class_="node bundle")
    length = max(1.0, BAR * node.share / full)
    bar = el("rect", x=x + 88, y=y - 5, width=length, height=10, class_="against" if node.contribution < 0 else "for")
    return el("g", el("title", share), name, bar, el("text", percent(node.share), x=x + 92 + length, y=y + 4))


def _edge_table(graph: Graph, title: str) -> Markup:
    rows: list[list[Child]] = [
        [
            el("bdi", clean(edge.source.label, 40)), el("bdi", clean(edge.target.label, 40)),
            percent(edge.share), short_number(edge.contribution),
        ]
        for edge in graph.edges[:30]
    ]  # fmt: skip
    made = table(["from", "to", "share", "contribution"], rows, caption=f"Strongest edges: {title}")
    return el("details", el("summary", "The edges as a table"), made)
