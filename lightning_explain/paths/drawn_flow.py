"""The share of a decision that takes ways through given units and edges alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lightning_explain.paths.contribution_graph import ContributionGraph, Numbers
from lightning_explain.paths.search import Unit


def per_share(share: Numbers, flow: Numbers) -> Numbers:
    """Divide shares by the flow that they are of; 0 where there is none."""
    return np.divide(share, flow, out=np.zeros_like(share), where=flow > 0)


def _passed_on(onward: Numbers, start: Numbers) -> Numbers:
    """Add up what `start` becomes along ways of 0, 1, 2, ... edges: no way is longer than there are layers."""
    total, step = start.copy(), start
    while step.any():
        step = onward @ step
        total += step
    return total


def flow_to_inputs(graph: ContributionGraph) -> ContributionGraph:
    """Exclude the flow that ends in biases from all shares: they become shares of what reaches the inputs.

    In every cut through the graph the shares then add up to 1. Contributions stay as they are.
    """
    reach = [np.ones_like(layer.share) if layer.is_input else np.zeros_like(layer.share) for layer in graph.layers]
    for link in graph.links:  # by target: what is below a layer is known before it is reached
        reach[link.target] += per_share(link.share @ reach[link.source], graph.layers[link.target].share)
    whole = float(reach[-1][0])
    scale = 1.0 / whole if whole > 0 else 0.0
    layers = [replace(layer, share=layer.share * own * scale) for layer, own in zip(graph.layers, reach, strict=True)]
    links = [replace(link, share=link.share * (reach[link.source] * scale)[None, :]) for link in graph.links]
    return ContributionGraph(tuple(layers), tuple(links), graph.output)


@dataclass(frozen=True, eq=False)
class DrawnFlow:
    """The flow from the output to the inputs along given units and edges.

    A way leads from the output down to an input unit. It is drawn if all its units and edges are.

    Attributes:
        onward: Share of a unit's flow that takes each edge [targets, sources], both in the order of the units.
        shares: Share of the whole flow along each edge, likewise.
        is_input: 1 for input units, 0 for others; the last unit is the output.
    """

    onward: Numbers
    shares: Numbers
    is_input: Numbers

    @classmethod
    def between(cls, graph: ContributionGraph, units: Sequence[Unit]) -> "DrawnFlow":
        """Compute it for units with all edges between them.

        Args:
            graph: As `flow_to_inputs` returns it.
            units: In the order of their layers, the output last.
        """
        numbers: dict[int, list[int]] = {}
        for layer, unit in units:
            numbers.setdefault(layer, []).append(unit)
        ends = np.cumsum([len(found) for found in numbers.values()]).tolist()
        places = {layer: slice(end - len(numbers[layer]), end) for layer, end in zip(numbers, ends, strict=True)}
        rows = {layer: np.array(found) for layer, found in numbers.items()}
        shares = np.zeros((len(units), len(units)))
        for link in graph.links:
            if link.target in places and link.source in places:
                found = link.share[rows[link.target][:, None], rows[link.source]]
                shares[places[link.target], places[link.source]] = found
        through = np.concatenate(
            [np.zeros(0), *(graph.layers[layer].share[found].astype(float) for layer, found in rows.items())]
        )
        is_input = np.repeat([float(graph.layers[layer].is_input) for layer in rows], [len(at) for at in rows.values()])
        return cls(per_share(shares, through[:, None]), shares, is_input)

    def arriving(self) -> Numbers:
        """Return the share of the flow that arrives at each unit along drawn edges."""
        start = np.zeros(len(self.is_input))
        start[-1] = 1.0
        return _passed_on(self.onward.T, start)

    def arrived(self) -> Numbers:
        """Return the share of each unit's flow that reaches an input along drawn edges."""
        return self._arrived

    @cached_property
    def _arrived(self) -> Numbers:
        return _passed_on(self.onward, self.is_input)

    @property
    def share(self) -> float:
        """Share of the flow that takes drawn ways."""
        return float(self.arrived()[-1])

    def through(self) -> Numbers:
        """Return the share of the flow that takes drawn ways through each unit: what is lost without it."""
        return self.arriving() * self.arrived()

    def only(self, kept: Sequence[int]) -> "DrawnFlow":
        """Keep some units, by their places; the output must be the last of them."""
        if len(kept) == len(self.is_input):
            return self
        own = np.array(kept)
        return DrawnFlow(self.onward[own[:, None], own], self.shares[own[:, None], own], self.is_input[own])

    def above(self, threshold: float) -> "DrawnFlow":
        """Keep the edges along which at least such a share flows."""
        is_shown: npt.NDArray[np.bool_] = self.shares >= threshold
        return replace(self, onward=self.onward * is_shown, shares=self.shares * is_shown)
