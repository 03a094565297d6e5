"""The strategies of one class: how many, who follows which, and how sure that is."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightning_explain.strategies.clustering import (
    Spectrum,
    affinity,
    likely_numbers,
    spectral_clusters,
    spectrum,
)
from lightning_explain.strategies.false_discoveries import chance
from lightning_explain.strategies.separation import FEWEST, held_out_positions, mixed, separation, separations

FEWEST_SAMPLES = 16
"""Below it, a fifth of the samples would be three."""

LEAST_SEPARATION = 1.25
"""In halves of a uniform cloud. Lines through a single cloud, also through a skewed one, rarely reach 1.2."""

N_MIXED = 20
N_REFINEMENTS = 10
N_SUBSAMPLES = 10
SUBSAMPLE = 0.8
LEAST_STABILITY = 0.5
"""Of a cluster that is not dissolved in subsamples (Hennig 2008)."""

MOST_EXEMPLARS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Strategy:
    """Samples of a class that are decided by the same things.

    Attributes:
        members: Their rows, the most typical first.
        share: Their share of the class's samples.
        separation: Distance from the class's other samples, as `separation`; 0 for the only strategy.
        stability: How well it recurs in subsamples: mean Jaccard index, 0 to 1.
        mean: Mean of their unit rows [features].
        difference: How far that is from the mean of the class's other samples [features]; 0 for the only strategy.
    """

    members: list[int]
    share: float
    separation: float
    stability: float
    mean: Tensor
    difference: Tensor

    @property
    def exemplars(self) -> list[int]:
        """The most typical members, at most eight: those that are nearest to all others (medoids)."""
        return self.members[:MOST_EXEMPLARS]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassStrategies:
    """The strategies of one class.

    Attributes:
        strategies: The strategies, the largest first; a single one where nothing else is sure.
        assignment: Strategy of each sample [n]; -1 for samples whose map is all zero or not finite.
        embedding: Each sample as a point [n, 2] near those of similar maps; NaN where it has no map.
        eigenvalues: The smallest eigenvalues of the graph Laplacian [k]; the gap in them says how many clusters.
        p_value: Probability of a separation as large as that found in a single cloud of the same mean and covariance
            (`mixed`); 1 where no clusters were found.
        caveat: Why there is no answer, in words; empty where there is one.
    """

    strategies: list[Strategy]
    assignment: Tensor
    embedding: Tensor
    eigenvalues: Tensor
    p_value: float
    caveat: str = ""

    def merged(self, rows: Tensor) -> "ClassStrategies":
        """Return the same with a single strategy: what was found may be chance."""
        assignment = torch.where(self.assignment < 0, self.assignment, 0)
        return replace(self, assignment=assignment, strategies=_strategies(rows, assignment, [1.0]))


def find_strategies(rows: Tensor, *, seed: int = 0, least_separation: float = LEAST_SEPARATION) -> ClassStrategies:
    """Find the strategies in the maps of one class.

    A graph joins each map with its nearest ones; the eigengap of its Laplacian says into how many clusters it falls.
    Clusters between which there is no gap, seen from samples that had no part in drawing the line, are merged. What is
    left recurs in subsamples of the class, or it is no strategy.

    Args:
        rows: Maps as unit rows [n, features] (`unit_rows`); rows that are not finite take no part.
        seed: Seed of subsamples and mixtures.
        least_separation: Separation that two strategies have at least.

    Returns:
        The strategies. `p_value` has to be judged among those of all classes: `discoveries`.

    Cost: an eigenvalue decomposition [n, n]; 30 more where there are clusters.

    Source: Lapuschkin et al. (2019), Unmasking Clever Hans predictors (SpRAy).

    Example:
        >>> turn = torch.linspace(0, 0.5, 20, dtype=torch.double)
        >>> near = torch.stack([turn.cos(), turn.sin(), 0 * turn], 1)
        >>> far = torch.stack([0 * turn, turn.sin(), turn.cos()], 1)
        >>> found = find_strategies(torch.cat([near, far]))
        >>> len(found.strategies), found.strategies[1].share
        (2, 0.5)
    """
    has_map = rows.isfinite().all(1)
    maps, places = rows[has_map], has_map.nonzero().flatten()
    assignment = torch.full((len(rows),), -1)
    embedding = torch.full((len(rows), 2), float("nan"), dtype=torch.double)
    if len(maps) < FEWEST_SAMPLES:
        missing = len(rows) - len(maps)
        caveat = f"{len(maps)} samples are too few to find strategies in; expected at least {FEWEST_SAMPLES}"
        caveat += f" ({missing} more have a map of zeros or values that are not finite)" if missing else ""
        assignment[places] = 0
        only = _strategies(rows, assignment, [1.0]) if len(maps) else []
        nothing = torch.zeros(0, dtype=torch.double)
        return ClassStrategies(
            strategies=only, assignment=assignment, embedding=embedding, eigenvalues=nothing, p_value=1.0, caveat=caveat
        )
    own, graph = partition(maps, least_separation)
    generator = torch.Generator().manual_seed(seed)
    recurs = stability(maps, own, generator, least_separation)
    own = _merged_unstable(own, recurs)
    p_value = 1.0 if int(own.max()) == 0 else _p_value(maps, own, generator)
    assignment[places] = own
    embedding[places] = graph.embedding()
    return ClassStrategies(
        strategies=_strategies(rows, assignment, recurs if int(own.max()) else [1.0]),
        assignment=assignment,
        embedding=embedding,
        eigenvalues=graph.values,
        p_value=p_value,
    )


def partition(maps: Tensor, least_separation: float) -> tuple[Tensor, Spectrum]:
    """Divide maps [n, features] into clusters with gaps between them: cluster of each [n], 0 the largest; the graph.

    Gaps between eigenvalues propose numbers of clusters, the largest gap first; the first one is taken that leaves more
    than one cluster, once those without a gap between them are merged.
    """
    graph = spectrum(affinity(maps))
    for n_clusters in likely_numbers(graph.values):
        assignment = _merged(maps, spectral_clusters(graph.vectors[:, :n_clusters]), least_separation)
        assignment = refined(maps, assignment)
        if len(assignment.unique()) > 1 and min(separations(maps, assignment)) >= least_separation:
            return _by_size(assignment), graph
    return torch.zeros(len(maps), dtype=torch.long), graph


def refined(maps: Tensor, assignment: Tensor) -> Tensor:
    """Move each sample to the cluster that it is nearest to on lines drawn without it, until none moves.

    Where samples have little in common but a mark, neighbours find only a part of those that have it.

    Args:
        maps: Samples [n, features].
        assignment: Their clusters [n].

    Returns:
        The clusters; as they were where one would lose all but a few samples.
    """
    for _ in range(N_REFINEMENTS):
        clusters, counts = assignment.unique(return_counts=True)
        if len(clusters) == 1 or int(counts.min()) < FEWEST:
            return assignment
        positions = torch.stack([held_out_positions(maps, assignment == cluster) for cluster in clusters.tolist()], 1)
        moved = clusters[positions.argmax(1)]
        if moved.equal(assignment) or int(moved.unique(return_counts=True)[1].min()) < FEWEST:
            return assignment
        assignment = moved
    return assignment


def _merged(maps: Tensor, assignment: Tensor, least_separation: float) -> Tensor:
    """Merge the two clusters that are least apart, until all are apart."""
    apart: dict[tuple[int, int], float] = {}
    assignment = assignment.clone()
    while True:
        clusters = assignment.unique().tolist()
        for i, a in enumerate(clusters):
            for b in clusters[i + 1 :]:
                if (a, b) not in apart:
                    pair = (assignment == a) | (assignment == b)
                    apart[a, b] = separation(maps[pair], assignment[pair] == a)
        if not apart or min(apart.values()) >= least_separation:
            return assignment
        a, b = min(apart, key=apart.__getitem__)
        assignment[assignment == b] = a
        # what was known of either is no longer true
        apart = {pair: value for pair, value in apart.items() if not {a, b} & set(pair)}


def _by_size(assignment: Tensor) -> Tensor:
    """Number clusters by their size, the largest 0; of equal ones the one that has the first sample."""
    clusters, counts = assignment.unique(return_counts=True)
    first = [int((assignment == cluster).nonzero()[0]) for cluster in clusters]
    order = sorted(range(len(clusters)), key=lambda i: (-int(counts[i]), first[i]))
    found = torch.zeros_like(assignment)
    for number, i in enumerate(order):
        found[assignment == clusters[i]] = number
    return found


def stability(maps: Tensor, assignment: Tensor, generator: torch.Generator, least_separation: float) -> list[float]:
    """Return how well each cluster recurs when a part of the samples is looked at alone.

    Args:
        maps: Samples [n, features].
        assignment: Their clusters [n].
        generator: Draws the subsamples.
        least_separation: As for the clusters themselves.

    Returns:
        For each cluster the Jaccard index of its part of a subsample and the most similar cluster found there, mean
        over 10 subsamples of 80 %.

    Source: Hennig (2007), Cluster-wise assessment of cluster stability.
    """
    n_clusters = int(assignment.max()) + 1
    if n_clusters == 1:
        return [1.0]
    totals = [0.0] * n_clusters
    for _ in range(N_SUBSAMPLES):
        rows = torch.randperm(len(maps), generator=generator)[: max(FEWEST, round(SUBSAMPLE * len(maps)))]
        found, _ = partition(maps[rows], least_separation)
        for cluster in range(n_clusters):
            totals[cluster] += _best_jaccard(assignment[rows] == cluster, found)
    return [total / N_SUBSAMPLES for total in totals]


def _best_jaccard(inside: Tensor, found: Tensor) -> float:
    overlaps = [inside & (found == other) for other in found.unique().tolist()]
    unions = [inside | (found == other) for other in found.unique().tolist()]
    return max(float(both.sum() / either.sum()) for both, either in zip(overlaps, unions, strict=True))


def _merged_unstable(assignment: Tensor, recurs: list[float]) -> Tensor:
    """Join the clusters that do not recur to the largest one."""
    kept = [0, *(cluster for cluster in range(1, len(recurs)) if recurs[cluster] >= LEAST_STABILITY)]
    numbers = torch.tensor([kept.index(c) if c in kept else 0 for c in range(len(recurs))])
    recurs[:] = [recurs[cluster] for cluster in kept]
    return numbers[assignment]


def _p_value(maps: Tensor, assignment: Tensor, generator: torch.Generator) -> float:
    """Return how probable it is that one cloud of the same covariance seems to fall apart as far."""
    by_chance: list[float] = []
    for _ in range(N_MIXED):
        cloud = mixed(maps, generator)
        graph = spectrum(affinity(cloud))
        by_chance.append(
            max(
                max(separations(cloud, spectral_clusters(graph.vectors[:, :n_clusters])))
                for n_clusters in likely_numbers(graph.values)
            )
        )
    return chance(min(separations(maps, assignment)), by_chance)


def _strategies(rows: Tensor, assignment: Tensor, recurs: list[float]) -> list[Strategy]:
    has_map = assignment >= 0
    found: list[Strategy] = []
    for number, recurring in enumerate(recurs):
        inside, outside = assignment == number, has_map & (assignment != number)
        mean = rows[inside].mean(0)
        away = rows[outside].mean(0) if bool(outside.any()) else mean
        members = inside.nonzero().flatten()
        distances = torch.cdist(rows[inside], rows[inside]).mean(1)
        found.append(
            Strategy(
                members=members[distances.argsort(stable=True)].tolist(),
                share=float(inside.sum() / has_map.sum()),
                separation=separation(rows[has_map], inside[has_map]),
                stability=recurring,
                mean=mean,
                difference=mean - away,
            )
        )
    return found
