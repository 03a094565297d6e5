"""Best-first search for the strongest paths of a contribution graph."""

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.contribution_graph import ContributionGraph, Link, Numbers

BLOCK = 1 << 15
"""Numbers multiplied at once."""

Unit = tuple[int, int]
"""Place of the layer in the graph, and place of the unit in it: its number, where no units are in bundles."""

_Prefix = tuple[float, int, int, float, tuple[Unit, ...], int]
"""In the heap: minus the bound, minus the length, a number to settle ties; then the share and the units of the prefix
before its last unit, and which of the ways on from there that is."""


@dataclass(frozen=True)
class Path:
    """One way from the output down to an input.

    Attributes:
        units: From the output to an input.
        share: Share of the decision's flow that takes exactly this way.
    """

    units: tuple[Unit, ...]
    share: float


@dataclass(frozen=True)
class Search:
    """Result of a search for the strongest paths of a graph.

    Attributes:
        paths: The strongest first.
        n_pops: Prefixes of paths taken off the heap.
        others_at_most: No path through units without a place of their own carries more; 0 where all have one.
    """

    paths: tuple[Path, ...]
    n_pops: int
    others_at_most: float = 0.0

    @property
    def share(self) -> float:
        """Share of the flow that these paths carry together."""
        return float(sum(path.share for path in self.paths))


def check_count(n_wanted: int) -> None:
    """Refuse a search for no paths.

    Raises:
        ConfigurationError: Fewer than one result is wanted.
    """
    if n_wanted < 1:
        raise ConfigurationError(f"{n_wanted} results are wanted; expected at least 1.")


def _largest_onward(link: Link, best: Numbers) -> Numbers:
    """Return the largest product of share and best in each row, a few rows at a time: they stay in the cache."""
    n_rows = max(1, BLOCK // max(1, link.share.shape[1]))
    found = np.zeros(len(link.share), dtype=link.share.dtype)
    for first in range(0, len(found), n_rows):
        rows = slice(first, first + n_rows)
        found[rows] = (link.share[rows] * best).max(1, initial=0.0)
    return found


def _per(amount: Numbers, flow: Numbers) -> Numbers:
    return np.divide(amount, flow, out=np.zeros_like(flow), where=flow > 0)


def remaining(graph: ContributionGraph) -> list[Numbers]:
    """Return, for every unit of each layer, the share of a flow of 1 that the strongest path from there keeps.

    No path goes through a bundle.

    Cost: two operations per edge.
    """
    best: list[Numbers] = [
        np.ones_like(layer.share) if layer.is_input else np.zeros_like(layer.share) for layer in graph.layers
    ]
    for link in graph.links:  # by target: what is below a layer is known before it is reached
        layer = graph.layers[link.target]
        found = _per(_largest_onward(link, best[link.source]), layer.share) * layer.is_single
        np.maximum(best[link.target], found, out=best[link.target])
    return best


def largest_in_bundles(graph: ContributionGraph) -> float:
    """Return a bound: no path through a unit that is in a bundle carries a larger share; 0 where nothing is bundled.

    Such a path runs through single units until it first enters a bundle, and cannot carry more than it does there.
    """
    if all(link.bundled_share is None for link in graph.links):
        return 0.0
    arriving = [np.zeros_like(layer.share) for layer in graph.layers]
    arriving[-1] = graph.layers[-1].share
    bound = 0.0
    for link in sorted(graph.links, key=lambda link: -link.target):
        kept = _per(arriving[link.target], graph.layers[link.target].share)
        below = (link.share * kept[:, None]).max(0, initial=0.0) * graph.layers[link.source].is_single
        np.maximum(arriving[link.source], below, out=arriving[link.source])
        if link.bundled_share is not None:
            bound = max(bound, float((link.bundled_share * kept).max(initial=0.0)))
    return bound


@dataclass(frozen=True)
class _Ways:
    """The next steps from one unit, in descending order.

    Attributes:
        bounds: What a flow of 1 keeps to an input at best, along each.
        kept: What it keeps to the next unit.
        layers: Layer of the next unit.
        units: The next unit.
    """

    bounds: Numbers
    kept: Numbers
    layers: npt.NDArray[np.intp]
    units: npt.NDArray[np.intp]


class _Onward:
    """The next steps from each unit, computed on first use.

    Args:
        graph: The graph.
        n_ways: How many: of more ways than paths are wanted, the weaker ones cannot be among them.
    """

    def __init__(self, graph: ContributionGraph, n_ways: int) -> None:
        self._graph = graph
        self._n_ways = n_ways
        self._links: dict[int, list[Link]] = {}
        for link in graph.links:
            self._links.setdefault(link.target, []).append(link)
        self.best = remaining(graph)
        self._known: dict[Unit, _Ways] = {}

    def of(self, unit: Unit) -> _Ways:
        """Return the next steps from a unit."""
        if unit not in self._known:
            self._known[unit] = self._ways(unit)
        return self._known[unit]

    def _ways(self, unit: Unit) -> _Ways:
        layer, index = unit
        flow = self._graph.layers[layer].share[index]
        links = self._links.get(layer, [])
        kept = np.concatenate([link.share[index] for link in links]) / flow
        bounds = np.concatenate([link.share[index] * self.best[link.source] for link in links]) / flow
        layers = np.concatenate([np.full(link.share.shape[1], link.source) for link in links])
        units = np.concatenate([np.arange(link.share.shape[1]) for link in links])
        strongest = np.array(largest(bounds, self._n_ways))
        order = strongest[np.argsort(-bounds[strongest], kind="stable")]
        order = order[bounds[order] > 0]
        return _Ways(bounds[order], kept[order], layers[order], units[order])


def largest(values: Numbers, n_wanted: int) -> list[int]:
    """Return the places of the largest values, in no order.

    Example:
        >>> sorted(largest(np.array([3.0, 1.0, 2.0]), 2))
        [0, 2]
    """
    if len(values) <= n_wanted:
        return list(range(len(values)))
    found: npt.NDArray[np.intp] = np.argpartition(values, len(values) - n_wanted)[-n_wanted:]
    return [int(place) for place in found]


def top_paths(graph: ContributionGraph, k: int = 10) -> Search:
    """Find the k paths from the output to an input along which the largest shares of the decision's flow run.

    Best first: prefixes wait in a heap, ordered by the share of the strongest path that they can still become. That
    bound is attained, so the first k complete paths to come off are the k strongest, and no prefix of any other path is
    expanded; among equals no more than k of each length. Paths run through single units: where some are in bundles, the
    strongest others are found, and `others_at_most` bounds what those may carry.

    Args:
        graph: Of one sample, or a mean.
        k: Number of paths.

    Raises:
        ConfigurationError: `k` is below 1.

    Cost: two operations per edge for the bound, then at most one pop per unit on a path that was found.

    Example:
        >>> import torch
        >>> from lightning_explain.paths import contributions
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> _ = net.weight.data.copy_(torch.tensor([[3.0, -1.0]]))
        >>> for path in top_paths(contributions(net, torch.ones(1, 2))[0]).paths:
        ...     print(path.units, round(path.share, 2))
        ((1, 0), (0, 0)) 0.75
        ((1, 0), (0, 1)) 0.25
    """
    check_count(k)
    onward = _Onward(graph, k)
    tie = count()
    heap: list[_Prefix] = []

    def wait(share: float, units: tuple[Unit, ...], rank: int) -> None:
        """Push the rank-th next step of a prefix onto the heap, if there is one."""
        ways = onward.of(units[-1])
        if rank < len(ways.bounds):
            # longer prefixes first among equals, so that these are completed rather than all begun
            heapq.heappush(heap, (-share * float(ways.bounds[rank]), -len(units), next(tie), share, units, rank))

    last = len(graph.layers) - 1
    if onward.best[last][0] > 0:
        wait(1.0, ((last, 0),), 0)
    found: list[Path] = []
    n_pops = 0
    popped: Counter[int] = Counter()
    while heap and len(found) < k:
        _, length, _, share, units, rank = heapq.heappop(heap)
        if popped[length] == k:
            continue  # k prefixes of this length become paths that are as strong: among equals this keeps to k a layer
        popped[length] += 1
        n_pops += 1
        wait(share, units, rank + 1)
        ways = onward.of(units[-1])
        unit = (int(ways.layers[rank]), int(ways.units[rank]))
        kept = share * float(ways.kept[rank])
        if graph.layers[unit[0]].is_input:
            found.append(Path((*units, unit), kept))
        else:
            wait(kept, (*units, unit), 0)
    return Search(tuple(found), n_pops, largest_in_bundles(graph))
