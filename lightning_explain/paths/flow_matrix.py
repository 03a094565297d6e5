"""The flow between any units of a contribution graph: all its units in one line, from the inputs to the output."""

from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np

from lightning_explain.paths.contribution_graph import ContributionGraph, Numbers, Whole
from lightning_explain.paths.drawn_flow import DrawnFlow, per_share
from lightning_explain.paths.search import Unit

DENSE = 1 << 19
"""Most numbers of a matrix that is made as a whole; of larger ones only the entries are that are asked for."""


class FlowMatrix:
    """The flow along the edge from each unit to each unit nearer to the inputs.

    Args:
        graph: As `flow_to_inputs` returns it.

    Attributes:
        graph: The graph.
        layers: Place of the layer of each unit [units].
        share: Share of the flow that passes each unit [units].
        is_input: 1 for units of inputs, 0 for others [units].
        is_single: 0 for bundles, 1 for others [units].
    """

    def __init__(self, graph: ContributionGraph) -> None:
        self.graph = graph
        sizes = [len(layer) for layer in graph.layers]
        self._starts = np.array([0, *accumulate(sizes)])
        self.layers = np.repeat(np.arange(len(sizes)), sizes)
        self.share = np.concatenate([layer.share for layer in graph.layers]).astype(float)
        self.is_input = np.repeat([float(layer.is_input) for layer in graph.layers], sizes)
        self.is_single = np.concatenate([layer.is_single for layer in graph.layers]).astype(float)

    def __len__(self) -> int:
        return len(self.share)

    def number(self, unit: Unit) -> int:
        """Return the place of a unit in the line."""
        return int(self._starts[unit[0]]) + unit[1]

    def unit(self, number: int) -> Unit:
        """Return the unit at a place in the line."""
        layer = int(self.layers[number])
        return layer, number - int(self._starts[layer])

    def shares(self, targets: Whole, sources: Whole | None = None) -> Numbers:
        """Return the shares of the flow along edges [targets, sources], by default from all units.

        Args:
            targets: Places in the line, of the units nearer to the output.
            sources: Likewise, nearer to the inputs.
        """
        if len(self) ** 2 <= DENSE:
            return _entries(self._dense, targets, sources)
        sources = np.arange(len(self)) if sources is None else sources
        found = np.zeros((len(targets), len(sources)))
        for link in self.graph.links:
            above = np.flatnonzero(self.layers[targets] == link.target)
            below = np.flatnonzero(self.layers[sources] == link.source)
            if len(above) and len(below):
                rows, columns = targets[above] - self._starts[link.target], sources[below] - self._starts[link.source]
                found[above[:, None], below] = link.share[rows[:, None], columns]
        return found

    def onward(self, targets: Whole, sources: Whole | None = None) -> Numbers:
        """Return the share of each target's own flow that goes on to each source, as in `shares`."""
        if len(self) ** 2 <= DENSE:
            return _entries(self._dense_onward, targets, sources)
        return per_share(self.shares(targets, sources), self.share[targets][:, None])

    def drawn(self, units: Whole) -> DrawnFlow:
        """Return the flow along some units alone, in ascending order, the output last."""
        return DrawnFlow(self.onward(units, units), self.shares(units, units), self.is_input[units])

    @cached_property
    def _dense(self) -> Numbers:
        whole = np.zeros((len(self), len(self)))
        parts = [slice(first, end) for first, end in pairwise(self._starts.tolist())]
        for link in self.graph.links:
            whole[parts[link.target], parts[link.source]] = link.share
        return whole

    @cached_property
    def _dense_onward(self) -> Numbers:
        return per_share(self._dense, self.share[:, None])


def _entries(whole: Numbers, rows: Whole, columns: Whole | None) -> Numbers:
    return whole[rows] if columns is None else whole[rows[:, None], columns]
