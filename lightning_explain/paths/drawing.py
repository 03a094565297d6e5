"""The blocks, units and edges that are drawn of a contribution graph, or ranked where no drawing carries much."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lightning_explain.paths.blocks import LayerBlock, in_blocks, partitions
from lightning_explain.paths.contribution_graph import OUTPUT, ContributionGraph, Whole
from lightning_explain.paths.flow_matrix import FlowMatrix
from lightning_explain.paths.selection import MOST_EDGES, Selection, bound_of_edges, select

LEAST = 0.2
"""A drawing that carries less says more about the selection than about the decision: units are ranked instead."""

CLOSE = 1e-6
"""A drawing carries the stated part if so little is missing."""


@dataclass(frozen=True, eq=False)
class PathDrawing:
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

    def selected(self, drawn: float, n_units: int) -> "PathDrawing":
        """Draw as few units as carry the stated part."""
        return replace(self, selection=select(self.flow, self.block_of, drawn=drawn, n_units=n_units))

    def with_units(self, units: Whole, threshold: float) -> "PathDrawing":
        """Draw other units, by their places in the line, and the edges above a threshold between them."""
        share = self.flow.drawn(units).above(threshold).share if len(units) else 0.0
        chosen = tuple(self.flow.unit(number) for number in units.tolist())
        return replace(self, selection=Selection(chosen, threshold, share))


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


def drawing_of(graph: ContributionGraph, *, drawn: float, n_units: int, is_merged: bool) -> tuple[PathDrawing, bool]:
    """Find the finest blocks of which a drawing carries the stated part, else those of which it carries most.

    Args:
        graph: As `flow_to_inputs` returns it.
        drawn: As in `path_graph`, like `n_units` and `is_merged`.
        n_units: Most single units of a block.
        is_merged: Merge layers into blocks.

    Returns:
        The drawing, and True if even the best carries little: then it holds the units of each of the finest blocks that
        carry most.
    """
    found = _largest_drawing(graph, drawn=drawn, n_units=n_units, is_merged=is_merged)
    is_spread = found.selection.share < min(LEAST, drawn)
    return (_strongest(found, n_units) if is_spread else _without_lone_bundles(found, n_units)), is_spread


def _largest_drawing(graph: ContributionGraph, *, drawn: float, n_units: int, is_merged: bool) -> PathDrawing:
    """Find the drawing, with the finest blocks and no units if even the best one carries little."""
    hidden = [layer.name for layer in graph.layers if not layer.is_input and layer.name != OUTPUT]
    wholes = _wholes(graph) if is_merged else [[LayerBlock(name, (name,)) for name in hidden]]
    merged = [in_blocks(graph, whole) for whole in wholes]
    bounds = [bound_of_edges(own) for own, _ in merged]
    found: dict[int, PathDrawing] = {}
    for wanted in (drawn - CLOSE, min(LEAST, drawn)):  # at first those alone that may carry the stated part
        for place, (own, blocks) in enumerate(merged):
            best = max([wanted, *(drawing.selection.share for drawing in found.values())])
            if place in found or bounds[place] < best:
                continue
            found[place] = _merged(own, blocks).selected(drawn, n_units)
            if found[place].selection.share >= drawn - CLOSE:
                return found[place]
    shares = {place: found[place].selection.share for place in sorted(found)}
    if max(shares.values(), default=0.0) < min(LEAST, drawn):
        return _merged(*merged[0])
    return found[max(shares, key=lambda place: shares[place])]


def _merged(graph: ContributionGraph, blocks: tuple[LayerBlock, ...]) -> PathDrawing:
    """Return a drawing without units as yet."""
    flow, number = FlowMatrix(graph), {name: place for place, block in enumerate(blocks) for name in block.layers}
    block_of = np.array([number[layer.name] for layer in graph.layers])[flow.layers]
    return PathDrawing(flow, blocks, block_of, Selection((), 0.0, 0.0))


def _without_lone_bundles(drawing: PathDrawing, n_units: int) -> PathDrawing:
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


def _strongest(drawing: PathDrawing, n_units: int) -> PathDrawing:
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
