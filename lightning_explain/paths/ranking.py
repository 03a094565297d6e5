"""Ranking of a contribution graph's units by best-first expansion from the output."""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_explain.paths.contribution_graph import ContributionGraph, Link, Numbers
from lightning_explain.paths.search import Unit, check_count, largest


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


def ranking(graph: ContributionGraph, n_units: int = 30) -> tuple[Ranked, ...]:
    """Rank units by best-first expansion, from the output down to the inputs.

    The unit that the most flow reaches is expanded next: what it got is divided among the units before it, and the
    next one is chosen among all that were reached so far. Bundles of units have no rank.

    Args:
        graph: Of one sample, or a mean.
        n_units: Number of units, the output included.

    Raises:
        ConfigurationError: `n_units` is below 1.

    Cost: one pass over the edges of each expanded unit.
    """
    check_count(n_units)
    reached = [np.zeros_like(layer.share) for layer in graph.layers]
    is_ranked = [~layer.is_single for layer in graph.layers]  # bundles never are
    last = len(graph.layers) - 1
    reached[last][:] = graph.layers[last].share
    heap: list[tuple[float, int, int]] = [(-float(reached[last][0]), last, 0)]
    found: list[Ranked] = []
    while heap and len(found) < n_units:
        key, layer, unit = heapq.heappop(heap)
        if is_ranked[layer][unit]:
            continue  # an older entry: more flow had reached the unit by the time that it was ranked
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
    """Propagate a unit's flow; only as many units of a layer can still be ranked as are left to rank."""
    reached += link.share[unit]
    waiting = np.where(is_ranked, 0.0, reached)
    for source in largest(waiting, max(1, n_left)):
        if waiting[source] > 0:
            heapq.heappush(heap, (-float(waiting[source]), link.source, source))
