"""The strategies of one class: how many, who follows which, and how sure that is."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightning_explain.strategies.division import candidates, partition
from lightning_explain.strategies.effect import effect
from lightning_explain.strategies.false_discoveries import chance
from lightning_explain.strategies.separation import FEWEST, mixed, separation, separations

FEWEST_SAMPLES = 16
"""Below it, a fifth of the samples would be three."""

LEAST_SEPARATION = 1.5
"""In halves of a uniform cloud. The best of many lines through a single cloud, also a skewed one, rarely reaches it."""

MOST_FEATURES = 256
"""Features by which samples are compared: those that vary most; all others add noise to what a mark does to a few."""

N_MIXED = 12
LEAST_SURE = 0.05
"""Probability by chance above which a strategy is none, beside others that are."""

N_SUBSAMPLES = 6
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
        effect: Share of their relevance that is in what tells them from the others, as `effect`; NaN where that is not
            known, and for the only strategy.
    """

    members: list[int]
    share: float
    separation: float
    stability: float
    mean: Tensor
    difference: Tensor
    effect: float = math.nan

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
        eigenvalues: The smallest eigenvalues of the graph Laplacian [k]; the gap in them says how many clusters.
        p_value: Probability of a separation as large as that found in a single cloud of the same mean and covariance
            (`mixed`), of the strategy that is furthest from the others; 1 where no groups were found.
        caveat: Why there is no answer, in words; empty where there is one.
    """

    strategies: list[Strategy]
    assignment: Tensor
    eigenvalues: Tensor
    p_value: float
    caveat: str = ""

    def merged(self, rows: Tensor) -> "ClassStrategies":
        """Return the same with a single strategy: what was found may be chance."""
        assignment = torch.where(self.assignment < 0, self.assignment, 0)
        return replace(self, assignment=assignment, strategies=_strategies(rows, assignment, [1.0]))


def find_strategies(
    rows: Tensor, *, relevance: Tensor | None = None, seed: int = 0, least_separation: float = LEAST_SEPARATION
) -> ClassStrategies:
    """Find the strategies in the maps of one class.

    A graph joins each map with its nearest ones; the eigengaps of its Laplacian propose clusters. Features whose values
    fall into two propose groups, too. Groups without a gap between them and the others, seen from samples that had no
    part in drawing the line, are dropped, and so are those whose score owes little to what tells them from the others
    (`effect`): that a word occurs or not parts any texts in two. What is left recurs in subsamples of the class, or it
    is no strategy.

    Args:
        rows: Maps as unit rows [n, features] (`unit_rows`); rows that are not finite take no part.
        relevance: The maps as they were before they were brought to one length [n, features], in units of the score;
            without them nothing is known of effects, and no group is dropped for want of one.
        seed: Seed of subsamples and mixtures.
        least_separation: Separation that two strategies have at least.

    Returns:
        The strategies. `p_value` has to be judged among those of all classes: `discoveries`.

    Cost: an eigenvalue decomposition [n, n] and about fifty products [n, features]; 20 times that where there are
    several strategies.

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
    if len(maps) < FEWEST_SAMPLES:
        missing = len(rows) - len(maps)
        caveat = f"{len(maps)} samples are too few to find strategies in; expected at least {FEWEST_SAMPLES}"
        caveat += f" ({missing} more have a map of zeros or values that are not finite)" if missing else ""
        assignment[places] = 0
        only = _strategies(rows, assignment, [1.0]) if len(maps) else []
        nothing = torch.zeros(0, dtype=torch.double)
        return ClassStrategies(strategies=only, assignment=assignment, eigenvalues=nothing, p_value=1.0, caveat=caveat)
    relevance = None if relevance is None else relevance.flatten(1).double()[places]
    maps = most_varying(maps)
    own, graph = partition(maps, least_separation, relevance)
    generator = torch.Generator().manual_seed(seed)
    recurs = stability(maps, own, generator, least_separation, relevance)
    own, recurs = _joined(own, recurs, [recurring >= LEAST_STABILITY for recurring in recurs])
    by_chance = _p_values(maps, own, generator)
    own, recurs = _joined(own, recurs, [p_value <= LEAST_SURE for p_value in by_chance])
    p_value = min(by_chance)
    assignment[places] = own
    return ClassStrategies(
        strategies=_strategies(rows, assignment, recurs if int(own.max()) else [1.0], relevance),
        assignment=assignment,
        eigenvalues=graph.values,
        p_value=p_value,
    )


def most_varying(rows: Tensor, most: int = MOST_FEATURES) -> Tensor:
    """Return rows [n, features] by the features that vary most [n, up to `most`], in their order."""
    if rows.shape[1] <= most:
        return rows
    return rows[:, rows.var(0).argsort(descending=True, stable=True)[:most].sort().values]


def stability(
    maps: Tensor,
    assignment: Tensor,
    generator: torch.Generator,
    least_separation: float,
    relevance: Tensor | None = None,
) -> list[float]:
    """Return how well each cluster recurs when a part of the samples is looked at alone.

    Args:
        maps: Samples [n, features].
        assignment: Their clusters [n].
        generator: Draws the subsamples.
        least_separation: As for the clusters themselves.
        relevance: As for the clusters themselves.

    Returns:
        For each cluster the Jaccard index of its part of a subsample and the most similar cluster found there, mean
        over 6 subsamples of 80 %.

    Source: Hennig (2007), Cluster-wise assessment of cluster stability.
    """
    n_clusters = int(assignment.max()) + 1
    if n_clusters == 1:
        return [1.0]
    totals = [0.0] * n_clusters
    for _ in range(N_SUBSAMPLES):
        rows = torch.randperm(len(maps), generator=generator)[: max(FEWEST, round(SUBSAMPLE * len(maps)))]
        found, _ = partition(maps[rows], least_separation, None if relevance is None else relevance[rows])
        for cluster in range(n_clusters):
            totals[cluster] += _best_jaccard(assignment[rows] == cluster, found)
    return [total / N_SUBSAMPLES for total in totals]


def _best_jaccard(inside: Tensor, found: Tensor) -> float:
    overlaps = [inside & (found == other) for other in found.unique().tolist()]
    unions = [inside | (found == other) for other in found.unique().tolist()]
    return max(float(both.sum() / either.sum()) for both, either in zip(overlaps, unions, strict=True))


def _joined(assignment: Tensor, recurs: list[float], is_kept: list[bool]) -> tuple[Tensor, list[float]]:
    """Join the groups that are not kept to the largest one; return the groups, and how well each recurs."""
    kept = [group for group, keep in enumerate(is_kept) if keep or group == 0]
    numbers = torch.tensor([kept.index(group) if group in kept else 0 for group in range(len(is_kept))])
    return numbers[assignment], [recurs[group] for group in kept]


def _p_values(maps: Tensor, assignment: Tensor, generator: torch.Generator) -> list[float]:
    """Return for each group how probable it is that one cloud of the same covariance has a group as far away; 1 for 0.

    The largest of the groups of such a cloud is compared, so that it does not matter that the best of many was chosen.
    """
    if int(assignment.max()) == 0:
        return [1.0]
    by_chance: list[float] = []
    for _ in range(N_MIXED):
        found, _ = candidates(mixed(maps, generator))
        by_chance.append(found[0][0] if found else 0.0)
    return [1.0, *(chance(apart, by_chance) for apart in separations(maps, assignment)[1:])]


def _strategies(
    rows: Tensor, assignment: Tensor, recurs: list[float], relevance: Tensor | None = None
) -> list[Strategy]:
    has_map = assignment >= 0
    compared = most_varying(rows[has_map])
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
                separation=separation(compared, inside[has_map]),
                stability=recurring,
                mean=mean,
                difference=mean - away,
                effect=math.nan if relevance is None or len(recurs) == 1 else effect(relevance, inside[has_map]),
            )
        )
    return found
