"""The share of a decision that takes ways through given units and edges alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lightning_explain.paths.contribution_graph import ContributionGraph, Numbers
from lightning_explain.paths.search import Unit


def per_share(share: Numbers, flow: Numbers) -> Numbers:
    """Divide shares by the flow that they are of; 0 where there is none."""
    return np.divide(share, flow, out=np.zeros_like(share), where=flow > 0)


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
        places = {layer: [i for i, (of, _) in enumerate(units) if of == layer] for layer in {of for of, _ in units}}
        numbers = {layer: [units[i][1] for i in found] for layer, found in places.items()}
        onward, shares = np.zeros((len(units), len(units))), np.zeros((len(units), len(units)))
        for link in graph.links:
            if link.target in places and link.source in places:
                rows = numbers[link.target]
                own = np.ix_(places[link.target], places[link.source])
                shares[own] = link.share[np.ix_(rows, numbers[link.source])]
                onward[own] = per_share(shares[own], graph.layers[link.target].share[rows].astype(float)[:, None])
        return cls(onward, shares, np.array([float(graph.layers[layer].is_input) for layer, _ in units]))

    def arriving(self) -> Numbers:
        """Return the share of the flow that arrives at each unit along drawn edges."""
        start = np.zeros(len(self.is_input))
        start[-1] = 1.0
        return np.linalg.solve((np.eye(len(start)) - self.onward).T, start)

    def arrived(self) -> Numbers:
        """Return the share of each unit's flow that reaches an input along drawn edges."""
        return np.linalg.solve(np.eye(len(self.is_input)) - self.onward, self.is_input)

    @property
    def share(self) -> float:
        """Share of the flow that takes drawn ways."""
        return float(self.arrived()[-1])

    def through(self) -> Numbers:
        """Return the share of the flow that takes drawn ways through each unit: what is lost without it."""
        return self.arriving() * self.arrived()

    def only(self, kept: Sequence[int]) -> "DrawnFlow":
        """Keep some units, by their places; the output must be the last of them."""
        own = np.ix_(kept, kept)
        return DrawnFlow(self.onward[own], self.shares[own], self.is_input[list(kept)])

    def above(self, threshold: float) -> "DrawnFlow":
        """Keep the edges along which at least such a share flows."""
        is_shown: npt.NDArray[np.bool_] = self.shares >= threshold
        return replace(self, onward=self.onward * is_shown, shares=self.shares * is_shown)
