"""Selection of the few units and edges along which a stated part of a decision runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightning_explain.paths.contribution_graph import ContributionGraph, Numbers
from lightning_explain.paths.drawn_flow import DrawnFlow, per_share
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
    """Best-first expansion from the output: next is the unit that most of the flow reaches so far."""

    graph: ContributionGraph
    block_of: Sequence[int]
    n_units: int
    share: float = 0.0
    units: list[Unit] = field(default_factory=list[Unit])
    _chosen: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    _count: dict[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        layers = self.graph.layers
        self._reached: list[Numbers] = [np.zeros(len(layer)) for layer in layers]
        self._reached[-1][:] = 1.0
        # until it is selected; bundles never are
        self._is_open = [layer.is_single.astype(float) for layer in layers]

    def run(self, wanted: float) -> None:
        """Select units until the wanted share of what reaches the inputs is drawn, or none is left."""
        self._select(len(self.graph.layers) - 1, 0)
        while self.share < wanted:
            found = self._best()
            if found is None:
                return
            self._select(*found)

    def _best(self) -> Unit | None:
        best, found = 0.0, None
        for layer, (reached, is_open) in enumerate(zip(self._reached, self._is_open, strict=True)):
            if self._count.get(self.block_of[layer], 0) < self.n_units:
                gain = reached * is_open
                unit = int(gain.argmax())
                if gain[unit] > best:
                    best, found = float(gain[unit]), (layer, unit)
        return found

    def _select(self, place: int, unit: int) -> None:
        self.units.append((place, unit))
        self._is_open[place][unit] = 0.0
        self._chosen.setdefault(place, []).append(unit)
        self._count[self.block_of[place]] = self._count.get(self.block_of[place], 0) + 1
        self._send_on(place, unit)

    def _send_on(self, place: int, unit: int) -> None:
        """Send a unit's flow on: through those below that are selected, too."""
        amounts: dict[int, Numbers] = {place: np.zeros(len(self.graph.layers[place]))}
        amounts[place][unit] = self._reached[place][unit]
        for layer in range(place, -1, -1):
            rows = self._chosen.get(layer, [])
            if layer not in amounts or not rows:
                continue
            sent = amounts[layer][rows]
            if self.graph.layers[layer].is_input:
                self.share += float(sent.sum())
            kept = per_share(sent, self.graph.layers[layer].share[rows].astype(float))
            for link in self.graph.into(layer):
                more = kept @ link.share[rows]
                self._reached[link.source] = self._reached[link.source] + more
                amounts[link.source] = amounts.get(link.source, 0.0) + more


def _best_of_block(graph: ContributionGraph, others: Sequence[Unit], layers: Sequence[int], n_units: int) -> list[Unit]:
    """Return the units of a block that carry most, given those that are selected elsewhere."""
    flow = DrawnFlow.between(graph, others)
    arriving, arrived = flow.arriving(), flow.arrived()
    gains = {layer: [np.zeros(len(graph.layers[layer])), np.zeros(len(graph.layers[layer]))] for layer in layers}
    for layer in layers:
        if graph.layers[layer].is_input:
            gains[layer][1] += 1.0
    for link in graph.links:
        at_target = [place for place, unit in enumerate(others) if unit[0] == link.target]
        at_source = [place for place, unit in enumerate(others) if unit[0] == link.source]
        if link.source in gains and at_target:
            rows = [others[place][1] for place in at_target]
            sent = per_share(arriving[at_target], graph.layers[link.target].share[rows].astype(float))
            gains[link.source][0] += sent @ link.share[rows]
        if link.target in gains and at_source:
            columns = [others[place][1] for place in at_source]
            kept = link.share[:, columns] @ arrived[at_source]
            gains[link.target][1] += per_share(kept, graph.layers[link.target].share.astype(float))
    found = [
        (float(gain[unit]), (layer, int(unit)))
        for layer, gain in ((layer, own[0] * own[1] * graph.layers[layer].is_single) for layer, own in gains.items())
        for unit in np.argsort(-gain, kind="stable")[:n_units]
        if gain[unit] > 0
    ]
    return [unit for _, unit in sorted(found, key=lambda each: -each[0])[:n_units]]


def _improved(graph: ContributionGraph, units: list[Unit], block_of: Sequence[int], n_units: int) -> list[Unit]:
    """Exchange the units of one block after the other for those that carry most, while that draws more."""
    share, is_better = DrawnFlow.between(graph, units).share, True
    tried: dict[int, list[Unit]] = {}
    while is_better:
        is_better = False
        for block in sorted(set(block_of[:-1])):
            layers = [layer for layer, of in enumerate(block_of) if of == block]
            elsewhere = [unit for unit in units if unit[0] not in layers]
            if tried.get(block) == elsewhere:
                continue  # the best of the block depends on nothing else
            tried[block] = elsewhere
            other = sorted([*_best_of_block(graph, elsewhere, layers, n_units), *elsewhere])
            more = share if other == units else DrawnFlow.between(graph, other).share
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


def select(graph: ContributionGraph, block_of: Sequence[int], *, drawn: float, n_units: int) -> Selection:
    """Choose as few units as carry most of a decision, and the edges between them that matter.

    From the output on, the unit that most of the flow reaches through units selected before is selected, until ways
    through selected units carry the stated part; then units without which they still do are removed, then the weakest
    edges, and as many more as are too many to be seen.

    Args:
        graph: As `flow_to_inputs` returns it.
        block_of: Number of the block of each layer.
        drawn: Part of the flow that is to be drawn.
        n_units: Most units of a block.
    """
    expansion = _Expansion(graph, block_of, n_units)
    expansion.run(min(1.0, drawn / SLACK**2) - ROUNDING)
    units = sorted(expansion.units)
    if expansion.share < drawn:
        units = _improved(graph, units, block_of, n_units)
    flow = DrawnFlow.between(graph, units)
    wanted = drawn if flow.share >= drawn - ROUNDING else flow.share * SLACK**2
    kept = _few(flow, min(flow.share, wanted / SLACK) - ROUNDING)
    units, flow = [units[place] for place in kept], flow.only(kept)
    threshold = _threshold(flow, wanted - ROUNDING)
    flow = flow.above(threshold)
    # ways through some units had only edges that are hidden now
    kept = _few(flow, flow.share - ROUNDING)
    return Selection(tuple(units[place] for place in kept), threshold, flow.only(kept).share)
