"""Selection of the few units and edges along which a stated part of a decision runs."""

from dataclasses import dataclass, field

import numpy as np

from lightning_explain.paths.contribution_graph import ContributionGraph, Numbers, Whole
from lightning_explain.paths.drawn_flow import DrawnFlow
from lightning_explain.paths.flow_matrix import FlowMatrix
from lightning_explain.paths.search import Unit

SLACK = 0.95
"""Of what units carry with all edges between them, so much is left when the weak ones, then weak edges, are removed."""

MOST_EDGES = 60
"""Edges between single units in a drawing: of more lines none can be followed."""

ROUNDING = 1e-9

GAIN = 1.001
"""Units are exchanged for others only if these draw so much more."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The units and edges that are drawn.

    Attributes:
        units: In the order of their layers, the output last.
        threshold: Edges along which a smaller share of the flow runs are hidden.
        share: Share of the flow that takes ways along units and edges drawn.
    """

    units: tuple[Unit, ...]
    threshold: float
    share: float


@dataclass
class _Expansion:
    """Best-first expansion from the output: next is the unit that most of the flow reaches so far.

    Attributes:
        flow: The flow between units.
        block_of: Block of each unit [units].
        n_units: Most units of a block.
        units: The units that are selected, in the order in which they were.
        share: Share of the flow that takes ways along them to an input.
    """

    flow: FlowMatrix
    block_of: Whole
    n_units: int
    units: list[int] = field(default_factory=list[int])
    share: float = 0.0

    def __post_init__(self) -> None:
        self._open = self.flow.is_single.copy()  # until it is selected, or its block is full; bundles never are
        self._inputs = np.zeros(len(self.flow))  # 1 for those that are selected
        self._n_free = dict.fromkeys(self.block_of.tolist(), self.n_units)
        # of selected units that are no inputs, and what of their flow reaches each unit along selected ones
        self._inner = np.zeros(0, dtype=int)
        self._reach = np.zeros((0, len(self.flow)))

    def run(self, wanted: float) -> None:
        """Select units until the wanted share of what reaches the inputs is drawn, or none is left."""
        self._select(len(self.flow) - 1)
        while self.share < wanted:
            gain = self._reach[0] * self._open
            best = int(gain.argmax())
            if gain[best] <= 0:
                return
            self._select(best)

    def _select(self, unit: int) -> None:
        self.units.append(unit)
        self._open[unit] = 0.0
        block = int(self.block_of[unit])
        self._n_free[block] -= 1
        if not self._n_free[block]:
            self._open[self.block_of == block] = 0.0
        if self.flow.is_input[unit]:
            self._inputs[unit] = 1.0
        else:
            self._send_on(unit)
        self.share = float(self._reach[0] @ self._inputs)

    def _send_on(self, unit: int) -> None:
        """Send a unit's flow on, through those below that are selected, too."""
        n, own = len(self._inner), self.flow.onward(np.array([unit]))[0]
        own = own + own[self._inner] @ self._reach
        reach = np.empty((n + 1, len(own)))
        np.multiply(self._reach[:, unit, None], own, out=reach[:n])
        reach[:n] += self._reach
        reach[n] = own
        self._inner, self._reach = np.append(self._inner, unit), reach


def _best_of_block(flow: FlowMatrix, others: Whole, own: Whole, n_units: int) -> Whole:
    """Return those units of a block that carry most, given those that are selected elsewhere."""
    drawn = flow.drawn(others)
    arriving = drawn.arriving() @ flow.onward(others, own)
    arrived = flow.onward(own, others) @ drawn.arrived() + flow.is_input[own]
    gain = arriving * arrived * flow.is_single[own]
    best = np.argsort(-gain, kind="stable")[:n_units]
    return own[best[gain[best] > 0]]


def _improved(flow: FlowMatrix, units: Whole, block_of: Whole, n_units: int) -> Whole:
    """Exchange the units of one block after the other for those that carry most, while that draws more."""
    share, is_better = flow.drawn(units).share, True
    tried: dict[int, bytes] = {}
    while is_better:
        is_better = False
        for block in np.unique(block_of[:-1]).tolist():
            elsewhere = units[block_of[units] != block]
            if tried.get(block) == elsewhere.tobytes():
                continue  # the best of the block depends on nothing else
            tried[block] = elsewhere.tobytes()
            own = np.flatnonzero(block_of == block)
            other = np.sort(np.concatenate([_best_of_block(flow, elsewhere, own, n_units), elsewhere]))
            more = share if np.array_equal(other, units) else flow.drawn(other).share
            if more > share * GAIN:
                units, share, is_better = other, more, True
    return units


def _few(flow: DrawnFlow, wanted: float) -> list[int]:
    """Remove units through which little is drawn, as long as the wanted share is left."""
    kept = list(range(len(flow.is_input)))
    while True:
        now = flow.only(kept)
        through = now.through()
        through[-1] = np.inf
        order = np.argsort(through, kind="stable")
        # together they lose at most the sum of what each loses
        n_removed = int(np.searchsorted(np.cumsum(through[order]), now.share - wanted, side="right"))
        if n_removed == 0:
            return kept
        gone = set(order[:n_removed].tolist())
        kept = [unit for place, unit in enumerate(kept) if place not in gone]


def _threshold(flow: DrawnFlow, wanted: float) -> float:
    """Return the largest threshold with which the wanted share is still drawn, or one that leaves few enough edges."""
    edges = np.sort(flow.shares[flow.shares > 0])
    known = np.unique(edges)
    if not len(known):
        return 0.0
    low, high = 0, len(known) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if flow.above(known[middle]).share >= wanted else (low, middle - 1)
    return float(max(known[low], edges[-min(MOST_EDGES, len(edges))]))


def bound_of_edges(graph: ContributionGraph) -> float:
    """Return a bound: along as few edges as are drawn, no selection of units carries a larger share.

    Each way leads once from the layers above an edge of the drawing to those below, so that it carries no more than the
    strongest edges there do. Of edges alike the drawing holds all or none.

    Args:
        graph: As `flow_to_inputs` returns it.
    """
    every = np.sort(np.concatenate([np.zeros(0, np.float32), *(link.share.ravel() for link in graph.links)]))
    ends = np.flatnonzero(np.diff(every[every > 0], append=np.inf))  # of runs of the same value
    n_edges = MOST_EDGES - 1 + int(np.diff(ends, prepend=-1).max(initial=1))
    strongest = [_largest(link.share.ravel(), n_edges) for link in graph.links]
    bounds: list[float] = []
    for level in range(len(graph.inputs), len(graph.layers)):
        crossing = [own for link, own in zip(graph.links, strongest, strict=True) if link.source < level <= link.target]
        bounds.append(float(_largest(np.concatenate([np.zeros(0), *crossing]), n_edges).sum()))
    return min(bounds, default=0.0) + ROUNDING


def _largest(values: Numbers, n: int) -> Numbers:
    return np.partition(values, len(values) - n)[-n:] if n < len(values) else values


def select(flow: FlowMatrix, block_of: Whole, *, drawn: float, n_units: int) -> Selection:
    """Choose as few units as carry most of a decision, and the edges between them that matter.

    From the output on, the unit that most of the flow reaches through units selected before is selected, until ways
    through selected units carry the stated part; then units without which they still do are removed, then the weakest
    edges, and as many more as are too many to be seen.

    Args:
        flow: The flow between units.
        block_of: Number of the block of each unit [units].
        drawn: Part of the flow that is to be drawn.
        n_units: Most units of a block.
    """
    expansion = _Expansion(flow, block_of, n_units)
    expansion.run(min(1.0, drawn / SLACK**2) - ROUNDING)
    units = np.sort(expansion.units)
    if expansion.share < drawn:
        units = _improved(flow, units, block_of, n_units)
    shown = flow.drawn(units)
    wanted = drawn if shown.share >= drawn - ROUNDING else shown.share * SLACK**2
    kept = _few(shown, min(shown.share, wanted / SLACK) - ROUNDING)
    units, shown = units[kept], shown.only(kept)
    threshold = _threshold(shown, wanted - ROUNDING)
    shown = shown.above(threshold)
    # ways through some units had only edges that are hidden now
    kept = _few(shown, shown.share - ROUNDING)
    return Selection(tuple(flow.unit(int(unit)) for unit in units[kept]), threshold, shown.only(kept).share)
