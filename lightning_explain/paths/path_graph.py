"""The displayed part of a contribution graph: the few units that carry most, the rest bundled, the main edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.contribution_graph import OUTPUT, ContributionGraph, Numbers, UnitLayer, Whole
from lightning_explain.paths.drawing import PathDrawing, drawing_of
from lightning_explain.paths.drawn_flow import flow_to_inputs
from lightning_explain.paths.nodes import PathEdge, PathGraph, PathNode
from lightning_explain.paths.ranking import ranking
from lightning_explain.paths.search import Search, Unit, top_paths
from lightning_explain.paths.selection import MOST_EDGES

N_UNITS = 12
DRAWN = 0.5

FOR, AGAINST = "for", "against"


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


def _bundle(layers: Sequence[UnitLayer], places: Sequence[Whole], side: str) -> PathNode:
    """Bundle the units at some places of the layers of a block."""
    pairs = list(zip(layers, places, strict=True))
    n_units = sum(len(own) if layer.counts is None else int(layer.counts[own].sum()) for layer, own in pairs)
    contribution = float(sum(layer.contribution[own].sum() for layer, own in pairs))
    share = float(sum(layer.share[own].sum() for layer, own in pairs))
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


def _nodes(drawing: PathDrawing, names: Mapping[str, Sequence[str]]) -> _Nodes:
    """Make a node of each drawn unit, and bundle the others of its block by sign."""
    graph, words = drawing.flow.graph, _words(drawing.flow.graph)
    places = {layer.name: place for place, layer in enumerate(graph.layers)}
    is_drawn = np.split(drawing.is_drawn, np.cumsum([len(layer) for layer in graph.layers])[:-1])
    groups: list[tuple[PathNode, list[tuple[int, Whole]]]] = []
    for block in drawing.blocks:
        own = [(places[name], graph.layers[places[name]]) for name in block.layers]
        for place, layer in own:
            prefix, known = words[layer.name], names.get(layer.name, ())
            groups += [
                (_single(layer, at, prefix, known), [(place, np.array([at]))])
                for at in np.flatnonzero(is_drawn[place]).tolist()
            ]
        for side, sign in ((FOR, 1), (AGAINST, -1)):
            others = [np.flatnonzero((sign * layer.contribution > 0) & ~is_drawn[place]) for place, layer in own]
            if any(map(len, others)):
                parts: list[tuple[int, Whole]] = [(place, at) for (place, _), at in zip(own, others, strict=True)]
                groups.append((_bundle([layer for _, layer in own], others, side), parts))
    members = [np.zeros((len(groups), len(layer)), dtype=layer.share.dtype) for layer in graph.layers]
    for row, (_, parts) in enumerate(groups):
        for place, at in parts:
            members[place][row, at] = 1
    return _Nodes(tuple(node for node, _ in groups), tuple(members))


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
    order = {layer.name: place for place, layer in enumerate(graph.layers)}
    height = np.array([order[node.layer] for node in found.nodes], dtype=int)
    is_single = np.array([node.unit is not None for node in found.nodes], dtype=bool)

    def edges(targets: Whole, sources: Whole) -> tuple[PathEdge, ...]:
        return tuple(
            PathEdge(found.nodes[s], found.nodes[t], float(contribution[t, s]), float(share[t, s]))
            for t, s in zip(targets.tolist(), sources.tolist(), strict=True)
        )

    targets, sources = np.nonzero((share > 0) & (share >= threshold))
    strong = np.lexsort((-share[targets, sources], height[targets]))
    behind, before = np.nonzero((share > 0) & (share < threshold) & is_single[:, None] & is_single)
    weak = np.argsort(-share[behind, before], kind="stable")[:MOST_EDGES]
    return edges(targets[strong], sources[strong]), edges(behind[weak], before[weak])


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
    drawing, is_spread = drawing_of(flow_to_inputs(graph), drawn=drawn, n_units=n_units, is_merged=is_merged)
    names: Mapping[str, Sequence[str]] = {
        **{graph.layers[place].name: own for place, own in zip(graph.inputs, input_names, strict=True)},
        OUTPUT: (output_name,),
    }
    selection = drawing.selection
    found = _nodes(drawing, names)
    edges, hidden = _edges(drawing.flow.graph, found, selection.threshold)
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
