"""Best-first search in a contribution graph: its strongest paths, and its units ranked from the output down."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import numpy.typing as npt

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.graph import ContributionGraph, Link, Numbers

Unit = tuple[int, int]
"""Place of the layer in the graph, and number of the unit in it."""

_Prefix = tuple[float, int, int, float, tuple[Unit, ...]]
"""In the heap: minus the bound, minus the length, a number to settle ties, the share so far, the units so far."""

MAX_POPS = 10_000


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
    """The strongest paths of a graph.

    Attributes:
        paths: The strongest first.
        n_pops: Prefixes of paths taken off the heap.
        is_complete: Whether these are all that were asked for (or all there are); False where the pops ran out.
    """

    paths: tuple[Path, ...]
    n_pops: int
    is_complete: bool

    @property
    def share(self) -> float:
        """Share of the flow that these paths carry together."""
        return float(sum(path.share for path in self.paths))


@dataclass(frozen=True)
class Ranked:
    """A unit in the order in which best-first expansion reached it.

    Attributes:
        unit: Which.
        rank: From 0, the output itself.
        contribution: Its signed contribution, in units of the output.
        share: Share of the flow that reaches it from units ranked before it.
    """

    unit: Unit
    rank: int
    contribution: float
    share: float


def _check(n_wanted: int, max_pops: int) -> None:
    if n_wanted < 1 or max_pops < 1:
        raise ConfigurationError(f"{n_wanted} results within max_pops={max_pops}; expected at least 1 of each.")


def remaining(graph: ContributionGraph) -> list[Numbers]:
    """Say for every unit of each layer how much of a flow of 1 the strongest way from there to an input keeps.

    Cost: two operations per edge.
    """
    best: list[Numbers] = [
        np.ones_like(layer.share) if layer.is_input else np.zeros_like(layer.share) for layer in graph.layers
    ]
    for link in graph.links:  # by target: what is below a layer is known before it is reached
        flow = graph.layers[link.target].share
        onward = (link.share * best[link.source]).max(1, initial=0.0)
        found = np.divide(onward, flow, out=np.zeros_like(flow), where=flow > 0)
        np.maximum(best[link.target], found, out=best[link.target])
    return best


@dataclass(frozen=True)
class _Onward:
    """The strongest ways on from each unit, worked out when first asked for."""

    graph: ContributionGraph
    links: dict[int, list[Link]]
    best: list[Numbers]
    n_ways: int
    _known: dict[Unit, list[tuple[float, float, Unit]]] = field(
        default_factory=dict[Unit, list[tuple[float, float, Unit]]]
    )

    def of(self, unit: Unit) -> list[tuple[float, float, Unit]]:
        """Return (what a flow of 1 keeps to the end at best, what it keeps to the next unit, the next unit)."""
        if unit not in self._known:
            self._known[unit] = self._ways(unit)
        return self._known[unit]

    def _ways(self, unit: Unit) -> list[tuple[float, float, Unit]]:
        layer, index = unit
        flow = float(self.graph.layers[layer].share[index])
        ways: list[tuple[float, float, Unit]] = []
        for link in self.links.get(layer, []):
            bound = link.share[index] * self.best[link.source]
            # of more ways than paths are wanted, the weaker ones cannot be among them
            for source in largest(bound, self.n_ways):
                if bound[source] > 0:
                    onward = float(link.share[index, source]) / flow
                    ways.append((float(bound[source]) / flow, onward, (link.source, source)))
        return sorted(ways, reverse=True)[: self.n_ways]


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


def top_paths(graph: ContributionGraph, k: int = 10, *, max_pops: int = MAX_POPS) -> Search:
    """Find the k paths from the output to an input along which the largest shares of the decision's flow run.

    Best first: prefixes wait in a heap, ordered by the share of the strongest path that they can still become. That
    bound is attained, so the first k complete paths to come off are the k strongest, and no prefix of any other path is
    expanded; among equals no more than k of each length.

    Args:
        graph: Of one sample, or a mean.
        k: How many.
        max_pops: Most prefixes taken off the heap; the search ends there, and `is_complete` says so.

    Raises:
        ConfigurationError: `k` or `max_pops` is below 1.

    Cost: two operations per edge for the bound, then about one pop per unit on a path that was found.

    Example:
        >>> from lightning_explain.paths import contributions
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> _ = net.weight.data.copy_(torch.tensor([[3.0, -1.0]]))
        >>> [(path.units, path.share) for path in top_paths(contributions(net, torch.ones(1, 2))[0]).paths]
        [(((1, 0), (0, 0)), 0.75), (((1, 0), (0, 1)), 0.25)]
    """
    _check(k, max_pops)
    links: dict[int, list[Link]] = {}
    for link in graph.links:
        links.setdefault(link.target, []).append(link)
    best = remaining(graph)
    onward = _Onward(graph, links, best, k)
    last = len(graph.layers) - 1
    tie = count()
    # longer prefixes first among equals, so that ties are completed rather than all begun
    heap: list[_Prefix] = [(-float(best[last][0]), 0, next(tie), 1.0, ((last, 0),))]
    found: list[Path] = []
    n_pops = 0
    popped: Counter[int] = Counter()
    while heap and heap[0][0] < 0 and n_pops < max_pops and len(found) < k:
        _, depth, _, share, units = heapq.heappop(heap)
        if popped[depth] == k:
            continue  # k prefixes of this length become paths that are as strong: among equals this keeps to k a layer
        popped[depth] += 1
        n_pops += 1
        if graph.layers[units[-1][0]].is_input:
            found.append(Path(units, share))
            continue
        for bound, kept, unit in onward.of(units[-1]):
            heapq.heappush(heap, (-share * bound, depth - 1, next(tie), share * kept, (*units, unit)))
    more = bool(heap) and heap[0][0] < 0
    return Search(tuple(found), n_pops, len(found) == k or not more)


def ranking(graph: ContributionGraph, n_units: int = 30, *, max_pops: int = MAX_POPS) -> tuple[Ranked, ...]:
    """Rank units by best-first expansion, from the output down to the inputs.

    The unit that the most flow reaches is expanded next: what it got is divided among the units before it, and the
    next one is chosen among all that were reached so far.

    Args:
        graph: Of one sample, or a mean.
        n_units: How many units, the output included.
        max_pops: Most entries taken off the heap.

    Raises:
        ConfigurationError: `n_units` or `max_pops` is below 1.

    Cost: one pass over the edges of each expanded unit.
    """
    _check(n_units, max_pops)
    reached = [np.zeros_like(layer.share) for layer in graph.layers]
    is_ranked = [np.zeros(len(layer), dtype=bool) for layer in graph.layers]
    last = len(graph.layers) - 1
    reached[last][:] = graph.layers[last].share
    heap: list[tuple[float, int, int]] = [(-float(reached[last][0]), last, 0)]
    found: list[Ranked] = []
    for _ in range(max_pops):
        if not heap or len(found) == n_units:
            break
        key, layer, unit = heapq.heappop(heap)
        # an entry is stale when more flow has reached its unit since: a newer one is in the heap
        if is_ranked[layer][unit] or -key < float(reached[layer][unit]):
            continue
        is_ranked[layer][unit] = True
        contribution = float(graph.layers[layer].contribution[unit])
        found.append(Ranked((layer, unit), len(found), contribution, -key))
        for link in graph.into(layer):
            _reach(heap, link, unit, reached[link.source], is_ranked[link.source], n_units - len(found))
    return tuple(found)


def _reach(
    heap: list[tuple[float, int, int]],
    link: Link,
    unit: int,
    reached: Numbers,
    is_ranked: npt.NDArray[np.bool_],
    n_left: int,
) -> None:
    """Hand a unit's flow on; only as many units of a layer can still be ranked as are left to rank."""
    reached += link.share[unit]
    waiting = np.where(is_ranked, 0.0, reached)
    for source in largest(waiting, max(1, n_left)):
        if waiting[source] > 0:
            heapq.heappush(heap, (-float(waiting[source]), link.source, source))


def share_along(graph: ContributionGraph, edges: Sequence[tuple[Unit, Unit]]) -> float:
    """Return the share of the flow that reaches an input along the given edges alone.

    Args:
        graph: The graph.
        edges: (unit nearer to the input, unit nearer to the output) of each.
    """
    last = len(graph.layers) - 1
    arriving: dict[Unit, float] = {(last, 0): float(graph.layers[last].share[0])}
    links = {(link.source, link.target): link for link in graph.links}
    total = 0.0
    for source, target in sorted(edges, key=lambda edge: -edge[1][0]):
        flow = float(graph.layers[target[0]].share[target[1]])
        if flow <= 0 or target not in arriving:
            continue
        passed = arriving[target] * float(links[source[0], target[0]].share[target[1], source[1]]) / flow
        arriving[source] = arriving.get(source, 0.0) + passed
    for (place, _), amount in arriving.items():
        total += amount if graph.layers[place].is_input else 0.0
    return total
