"""The displayed part of a contribution graph: the few units that carry most, the rest bundled, the main edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.blocks import LayerBlock, in_blocks, partitions
from lightning_explain.paths.contribution_graph import OUTPUT, ContributionGraph, Numbers, UnitLayer
from lightning_explain.paths.drawn_flow import DrawnFlow, flow_to_inputs
from lightning_explain.paths.nodes import PathEdge, PathGraph, PathNode
from lightning_explain.paths.ranking import ranking
from lightning_explain.paths.search import Search, Unit, top_paths
from lightning_explain.paths.selection import MOST_EDGES, Selection, select

N_UNITS = 12
DRAWN = 0.5

LEAST = 0.2
"""A drawing that carries less says more about the selection than about the decision: units are ranked instead."""

FOR, AGAINST = "for", "against"


@dataclass(frozen=True)
class _Drawing:
    """A graph merged into blocks, with the units that are drawn."""

    graph: ContributionGraph
    blocks: tuple[LayerBlock, ...]
    selection: Selection


def _words(graph: ContributionGraph) -> dict[str, str]:
    """Return the prefix of the unit's number in its label, by layer: `fc1`, or `block 2 head` in a transformer."""
    found = {layer.name: layer.name for layer in graph.layers}
    for layer in graph.layers:
        number, what = layer.block.rpartition(".")[2], layer.unit_name(0).removesuffix(" 0")
        alike = [other for other in graph.layers if (other.block, other.kind) == (layer.block, layer.kind)]
        if number.isdigit() and len(alike) == 1:
            found[layer.name] = f"block {number} {what}"
        elif layer.kind == "heads":
            found[layer.name] = f"{layer.name} {what}"
    return found


def _single(layer: UnitLayer, place: int, words: str, names: Sequence[str]) -> PathNode:
    unit = layer.number_of(place)
    share, contribution = float(layer.share[place]), float(layer.contribution[place])
    return PathNode(layer.name, unit, names[unit] if names else f"{words} {unit}", contribution, share)


def _bundle(layers: Sequence[UnitLayer], places: Sequence[Sequence[int]], side: str) -> PathNode:
    """Bundle the units at some places of the layers of a block."""
    pairs = list(zip(layers, places, strict=True))
    n_units = sum(layer.bundled(place) for layer, own in pairs for place in own)
    contribution, share = (
        float(sum(values[list(own)].sum() for values, (_, own) in zip(each, pairs, strict=True)))
        for each in ([layer.contribution for layer in layers], [layer.share for layer in layers])
    )
    label = f"{n_units} other{'s' * (n_units > 1)} {side}"
    return PathNode(layers[-1].name, None, label, contribution, share, n_units)


@dataclass(frozen=True)
class _Nodes:
    """The nodes of a graph.

    Attributes:
        nodes: By block, inputs first; of a block single units first, then two bundles of all others.
        members: For each layer [nodes, places], 1 where a place belongs to a node.
    """

    nodes: tuple[PathNode, ...]
    members: tuple[Numbers, ...]


def _nodes(drawing: _Drawing, names: Mapping[str, Sequence[str]]) -> _Nodes:
    """Make a node of each drawn unit, and bundle the others of its block by sign."""
    layers, words = {layer.name: layer for layer in drawing.graph.layers}, _words(drawing.graph)
    drawn = {name: [at for of, at in drawing.selection.units if of == n] for n, name in enumerate(layers)}
    groups: list[tuple[PathNode, list[tuple[str, list[int]]]]] = []
    for block in drawing.blocks:
        for name in block.layers:
            own = layers[name], words[name], names.get(name, ())
            groups += [(_single(own[0], at, *own[1:]), [(name, [at])]) for at in drawn[name]]
        for side, sign in ((FOR, 1), (AGAINST, -1)):
            others = [
                [at for at, c in enumerate(layers[name].contribution) if sign * c > 0 and at not in drawn[name]]
                for name in block.layers
            ]
            if any(others):
                node = _bundle([layers[name] for name in block.layers], others, side)
                groups.append((node, list(zip(block.layers, others, strict=True))))
    members = {name: np.zeros((len(groups), len(layer)), dtype=layer.share.dtype) for name, layer in layers.items()}
    for row, (_, parts) in enumerate(groups):
        for name, places in parts:
            members[name][row, list(places)] = 1
    return _Nodes(tuple(node for node, _ in groups), tuple(members.values()))


def _edges(
    graph: ContributionGraph, found: _Nodes, threshold: float
) -> tuple[tuple[PathEdge, ...], tuple[PathEdge, ...]]:
    """Return the edges between nodes, from the input on, the strongest into a layer first; and the hidden ones."""
    n_nodes = len(found.nodes)
    share, contribution = np.zeros((n_nodes, n_nodes)), np.zeros((n_nodes, n_nodes))
    for link in graph.links:
        above, below = found.members[link.target], found.members[link.source]
        share += above @ link.share @ below.T
        contribution += above @ link.contribution @ below.T
    places = np.argwhere(share > 0)
    edges = [PathEdge(found.nodes[s], found.nodes[t], float(contribution[t, s]), float(share[t, s])) for t, s in places]
    order = {layer.name: place for place, layer in enumerate(graph.layers)}
    weak = [edge for edge in edges if edge.share < threshold and edge.is_single]
    strong = [edge for edge in edges if edge.share >= threshold]
    return (
        tuple(sorted(strong, key=lambda edge: (order[edge.target.layer], -edge.share))),
        tuple(sorted(weak, key=lambda edge: -edge.share)[:MOST_EDGES]),
    )


def _wholes(graph: ContributionGraph) -> list[list[LayerBlock]]:
    """Return the blocks that may be drawn, the finest first.

    Where there are attention heads, the residual stream goes round every layer, so that merging removes none: then it
    is heads alone, and after that only those of the last layers.
    """
    hidden = [layer for layer in graph.layers if not layer.is_input and layer.name != OUTPUT]
    heads = [layer.name for layer in hidden if layer.kind == "heads"]
    if not heads:
        return partitions([layer.name for layer in hidden])
    found = partitions([layer.name for layer in hidden])[:1]
    for first in range(len(heads)):
        found.append(partitions(heads[first:])[0])
    return found


def _drawing(graph: ContributionGraph, *, drawn: float, n_units: int, is_merged: bool) -> tuple[_Drawing, bool]:
    """Find the finest blocks of which a drawing carries the stated part, else those of which it carries most.

    Returns:
        The drawing, and True if it is none: if even the best of them carries little. Then it has the finest blocks.
    """
    hidden = [layer.name for layer in graph.layers if not layer.is_input and layer.name != OUTPUT]
    wholes = _wholes(graph) if is_merged else [[LayerBlock(name, (name,)) for name in hidden]]
    found: list[_Drawing] = []
    for whole in wholes:
        merged, blocks = in_blocks(graph, whole)
        place = {name: number for number, block in enumerate(blocks) for name in block.layers}
        selection = select(merged, [place[layer.name] for layer in merged.layers], drawn=drawn, n_units=n_units)
        found.append(_Drawing(merged, blocks, selection))
        if selection.share >= drawn - 1e-6:
            return found[-1], False
    best = max(found, key=lambda drawing: drawing.selection.share)
    is_spread = best.selection.share < min(LEAST, drawn)
    return (found[0] if is_spread else best), is_spread


def _without_lone_bundles(drawing: _Drawing, n_units: int) -> _Drawing:
    """Draw a unit that would make a bundle by itself, where there is room."""
    graph, units, threshold = drawing.graph, list(drawing.selection.units), drawing.selection.threshold
    for block in drawing.blocks:
        own = [place for place, layer in enumerate(graph.layers) if layer.name in block.layers]
        n_free = n_units - sum(place in own for place, _ in units)
        for sign in (1, -1):
            others = [
                (place, int(at))
                for place in own
                for at in np.flatnonzero(sign * graph.layers[place].contribution > 0)
                if (place, int(at)) not in units
            ]
            if len(others) != 1 or n_free < 1 or not graph.layers[others[0][0]].is_single[others[0][1]]:
                continue
            more = sorted([*units, *others])
            if DrawnFlow.between(graph, more).above(threshold).through()[more.index(others[0])] > 0:
                units, n_free = more, n_free - 1
    share = DrawnFlow.between(graph, units).above(threshold).share
    return _Drawing(graph, drawing.blocks, Selection(tuple(units), threshold, share))


def _strongest(drawing: _Drawing, n_units: int) -> _Drawing:
    """Select the units of each block that carry most, and the strongest edges between them."""
    units: list[Unit] = []
    shares = [np.where(layer.is_single, layer.share, 0.0) for layer in drawing.graph.layers]
    for block in drawing.blocks:
        own = [place for place, layer in enumerate(drawing.graph.layers) if layer.name in block.layers]
        found = [(float(share), (place, unit)) for place in own for unit, share in enumerate(shares[place])]
        units += [unit for share, unit in sorted(found, key=lambda each: -each[0])[:n_units] if share > 0]
    units = sorted(units)
    flow = DrawnFlow.between(drawing.graph, units)
    edges = np.sort(flow.shares[flow.shares > 0])
    threshold = float(edges[-min(MOST_EDGES, len(edges))]) if len(edges) else 0.0
    share = flow.above(threshold).share if units else 0.0
    return _Drawing(drawing.graph, drawing.blocks, Selection(tuple(units), threshold, share))


def path_graph(
    graph: ContributionGraph,
    *,
    input_names: Sequence[Sequence[str]],
    output_name: str = OUTPUT,
    drawn: float = DRAWN,
    n_units: int = N_UNITS,
    is_merged: bool = True,
    n_paths: int = 10,
    n_ranked: int = 30,
) -> PathGraph:
    """Choose the displayed part of a contribution graph, and search the whole graph.

    The graph shows as few units as carry most: those, with the edges between them, along which the stated part of what
    reaches the inputs runs (`PathGraph.shown_share`). Layers are merged into blocks along the module tree as far as it
    takes for so few units and edges to carry it. Where no drawing carries a fifth, it holds those units of each block
    that carry most, to be ranked (`PathGraph.is_spread`).

    Args:
        graph: Of one sample, or the mean of several.
        input_names: Names of the units of each input, as in `Contributions.units`.
        output_name: Name of the explained output.
        drawn: Part of what reaches the inputs that units and edges drawn are to carry, above 0, up to 1.
        n_units: Most single units of a layer or block; the others are bundled by the sign of their contribution.
        is_merged: Merge layers into blocks; else each has a column of its own.
        n_paths: How many of the strongest paths are searched for.
        n_ranked: How many units are ranked.

    Raises:
        ConfigurationError: `drawn` is no part, or a count is below 1.
    """
    check_drawn(drawn, n_units)
    whole = flow_to_inputs(graph)
    drawing, is_spread = _drawing(whole, drawn=drawn, n_units=n_units, is_merged=is_merged)
    drawing = _strongest(drawing, n_units) if is_spread else _without_lone_bundles(drawing, n_units)
    names: Mapping[str, Sequence[str]] = {
        **{graph.layers[place].name: own for place, own in zip(graph.inputs, input_names, strict=True)},
        OUTPUT: (output_name,),
    }
    selection = drawing.selection
    found = _nodes(drawing, names)
    edges, hidden = _edges(drawing.graph, found, selection.threshold)
    return PathGraph(
        output=graph.output,
        layers=tuple(layer.name for layer in graph.layers),
        totals=tuple(float(layer.contribution.sum()) for layer in graph.layers),
        n_units=tuple(layer.n_units for layer in graph.layers),
        nodes=found.nodes,
        edges=edges,
        paths=_numbered_paths(graph, top_paths(graph, n_paths)),
        ranked=tuple(replace(each, unit=_numbered(graph, each.unit)) for each in ranking(graph, n_ranked)),
        shown_share=selection.share,
        absorbed_share=graph.absorbed_share,
        blocks=drawing.blocks,
        threshold=selection.threshold,
        is_spread=is_spread,
        hidden_edges=hidden,
        kinds=tuple(layer.kind for layer in graph.layers),
    )


def _numbered(graph: ContributionGraph, unit: Unit) -> Unit:
    """Name a unit by its number instead of its place in the arrays."""
    return unit[0], graph.layers[unit[0]].number_of(unit[1])


def _numbered_paths(graph: ContributionGraph, found: Search) -> Search:
    paths = (replace(path, units=tuple(_numbered(graph, unit) for unit in path.units)) for path in found.paths)
    return replace(found, paths=tuple(paths))


def check_drawn(drawn: float, n_units: int, n_paths: int = 1) -> None:
    """Refuse options of a selection that select nothing.

    Raises:
        ConfigurationError: `drawn` is no part, or `n_units` or `n_paths` below 1.
    """
    if not 0 < drawn <= 1:
        raise ConfigurationError(f"drawn={drawn}; expected a part of the decision, above 0 and up to 1, such as 0.5.")
    if n_units < 1:
        raise ConfigurationError(f"n_units={n_units}; expected at least 1: the most single units of a layer.")
    if n_paths < 1:
        raise ConfigurationError(f"n_paths={n_paths}; expected at least 1: how many of the strongest paths are found.")
