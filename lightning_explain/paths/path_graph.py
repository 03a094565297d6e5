"""The displayed part of a contribution graph: the few units that carry most, the rest bundled, the main edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.blocks import LayerBlock, in_blocks, partitions
from lightning_explain.paths.contribution_graph import OUTPUT, ContributionGraph, Numbers, UnitLayer, Whole
from lightning_explain.paths.drawn_flow import flow_to_inputs
from lightning_explain.paths.flow_matrix import FlowMatrix
from lightning_explain.paths.nodes import PathEdge, PathGraph, PathNode
from lightning_explain.paths.ranking import ranking
from lightning_explain.paths.search import Search, Unit, top_paths
from lightning_explain.paths.selection import MOST_EDGES, Selection, bound_of_edges, select

N_UNITS = 12
DRAWN = 0.5

LEAST = 0.2
"""A drawing that carries less says more about the selection than about the decision: units are ranked instead."""

CLOSE = 1e-6
"""A drawing carries the stated part if so little is missing."""

FOR, AGAINST = "for", "against"


@dataclass(frozen=True, eq=False)
class _Drawing:
    """A graph merged into blocks, with the units that are drawn.

    Attributes:
        flow: The flow between the units of the graph.
        blocks: The blocks.
        block_of: Number of the block of each unit [units].
        selection: The units and edges that are drawn.
    """

    flow: FlowMatrix
    blocks: tuple[LayerBlock, ...]
    block_of: Whole
    selection: Selection

    @property
    def is_drawn(self) -> npt.NDArray[np.bool_]:
        """True for units that are drawn [units]."""
        found = np.zeros(len(self.flow), dtype=bool)
        found[[self.flow.number(unit) for unit in self.selection.units]] = True
        return found

    def selected(self, drawn: float, n_units: int) -> "_Drawing":
        """Draw as few units as carry the stated part."""
        return replace(self, selection=select(self.flow, self.block_of, drawn=drawn, n_units=n_units))

    def with_units(self, units: Whole, threshold: float) -> "_Drawing":
        """Draw other units, by their places in the line, and the edges above a threshold between them."""
        share = self.flow.drawn(units).above(threshold).share if len(units) else 0.0
        chosen = tuple(self.flow.unit(number) for number in units.tolist())
        return replace(self, selection=Selection(chosen, threshold, share))


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


def _nodes(drawing: _Drawing, names: Mapping[str, Sequence[str]]) -> _Nodes:
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
                parts = [(place, at) for (place, _), at in zip(own, others, strict=True)]
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
    height = np.array([order[node.layer] for node in found.nodes])
    is_single = np.array([node.unit is not None for node in found.nodes])

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
    merged = [in_blocks(graph, whole) for whole in wholes]
    bounds = [bound_of_edges(own) for own, _ in merged]
    found: dict[int, _Drawing] = {}
    for wanted in (drawn - CLOSE, min(LEAST, drawn)):  # at first those alone that may carry the stated part
        for place, (own, blocks) in enumerate(merged):
            best = max([wanted, *(drawing.selection.share for drawing in found.values())])
            if place in found or bounds[place] < best:
                continue
            found[place] = _merged(own, blocks).selected(drawn, n_units)
            if found[place].selection.share >= drawn - CLOSE:
                return found[place], False
    shares = {place: found[place].selection.share for place in sorted(found)}
    if max(shares.values(), default=0.0) < min(LEAST, drawn):
        return _merged(*merged[0]), True
    return found[max(shares, key=lambda place: shares[place])], False


def _merged(graph: ContributionGraph, blocks: tuple[LayerBlock, ...]) -> _Drawing:
    """Return a drawing without units as yet."""
    flow, number = FlowMatrix(graph), {name: place for place, block in enumerate(blocks) for name in block.layers}
    block_of = np.array([number[layer.name] for layer in graph.layers])[flow.layers]
    return _Drawing(flow, blocks, block_of, Selection((), 0.0, 0.0))


def _without_lone_bundles(drawing: _Drawing, n_units: int) -> _Drawing:
    """Draw a unit that would make a bundle by itself, where there is room."""
    flow, threshold, is_drawn = drawing.flow, drawing.selection.threshold, drawing.is_drawn
    contribution = np.concatenate([layer.contribution for layer in flow.graph.layers])
    for block in range(len(drawing.blocks)):
        own = drawing.block_of == block
        for sign in (1, -1):
            others = np.flatnonzero(own & ~is_drawn & (sign * contribution > 0))
            if len(others) != 1 or (own & is_drawn).sum() >= n_units or not flow.is_single[others[0]]:
                continue
            is_drawn[others] = True
            units = np.flatnonzero(is_drawn)
            through = flow.drawn(units).above(threshold).through()
            is_drawn[others] = through[np.searchsorted(units, others)] > 0
    units = np.flatnonzero(is_drawn)
    return drawing if len(units) == len(drawing.selection.units) else drawing.with_units(units, threshold)


def _strongest(drawing: _Drawing, n_units: int) -> _Drawing:
    """Select the units of each block that carry most, and the strongest edges between them."""
    flow, units = drawing.flow, list[int]()
    share = flow.share * flow.is_single
    for block in range(len(drawing.blocks)):
        own = np.flatnonzero(drawing.block_of == block)
        best = own[np.argsort(-share[own], kind="stable")[:n_units]]
        units += best[share[best] > 0].tolist()
    chosen = np.sort(np.array(units, dtype=int))
    shares = flow.shares(chosen, chosen)
    edges = np.sort(shares[shares > 0])
    return drawing.with_units(chosen, float(edges[-min(MOST_EDGES, len(edges))]) if len(edges) else 0.0)


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
