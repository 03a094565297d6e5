"""Division of a class's maps into groups with gaps between them."""

import torch
from torch import Tensor

from lightning_explain.strategies.clustering import Spectrum, affinity, likely_numbers, spectral_clusters, spectrum
from lightning_explain.strategies.effect import effect
from lightning_explain.strategies.separation import FEWEST, held_out_positions, separation

SMALLEST = 1 / 12
"""Least share of the samples of a group: a handful seems to lie apart by chance."""

N_REFINEMENTS = 10
N_FEATURES = 8
"""Features whose two halves are candidates: those whose values lie furthest apart."""

N_NUMBERS = 2
"""Numbers of clusters that are tried: those after the largest gaps between eigenvalues."""

LEAST_EFFECT = 0.15
"""Least `effect` of a group. What digits and squares of photographs consist of by nature has at most 0.1 for the most
part, marks that matter have at least 0.17."""

LEAST_OF_OTHERS = 0.3
"""Least `effect` of all others against a group that has none itself: a mark that most samples have. Texts without the
commonest words, which parts any class, reach 0.25."""

SHARED = 0.2
"""Most of a group's samples that a group further apart may have."""


def smallest(n_samples: int) -> int:
    """Return the least number of samples of a group.

    Example:
        >>> smallest(64), smallest(16)
        (5, 4)
    """
    return max(FEWEST, round(SMALLEST * n_samples))


def feature_splits(rows: Tensor, most: int = N_FEATURES) -> list[Tensor]:
    """Split samples in two by single features: those whose low and high values lie furthest apart.

    A mark that a part of the samples has is in few features. Where the others vary much, as they do in photographs,
    the nearest neighbours of a map do not know of it, but those few features fall into two.

    Args:
        rows: Samples [n, features].
        most: Number of features, of those with at least the mean variance.

    Returns:
        For each which samples have high values [n], at the place where the means of both sides are furthest apart in
        units of their standard deviations.

    Source: Ashman, Bird, Zepf (1994), Detecting bimodality (the distance D).

    Example:
        >>> rows = torch.tensor([[0.0], [5.0], [0.1], [0.2], [0.3], [5.1], [5.2], [5.3]])
        >>> feature_splits(rows)[0].nonzero().flatten().tolist()
        [1, 5, 6, 7]
    """
    n = len(rows)
    values, order = (rows - rows.mean(0)).sort(0)
    counts = torch.arange(1, n, dtype=rows.dtype)[:, None]
    sums, squares = values.cumsum(0), values.square().cumsum(0)
    low, high = sums[:-1] / counts, (sums[-1] - sums[:-1]) / (n - counts)
    spread = squares[:-1] / counts - low.square() + (squares[-1] - squares[:-1]) / (n - counts) - high.square()
    variance = rows.var(0)
    apart = (high - low) / (spread.clamp_min(0) / 2).sqrt().clamp_min(1e-9)
    fewest = smallest(n)
    apart = apart[fewest - 1 : n - fewest] * (variance >= variance.mean())
    best = apart.max(0)
    found: list[Tensor] = []
    for feature in best.values.topk(min(most, rows.shape[1])).indices.tolist():
        inside = torch.zeros(n, dtype=torch.bool)
        inside[order[int(best.indices[feature]) + fewest :, feature]] = True
        found.append(inside)
    return found


def refined(rows: Tensor, inside: Tensor) -> Tensor:
    """Move each sample to the side that it is nearer to on a line drawn without it, until none moves.

    Where samples have little in common but a mark, neighbours, or a single feature, find only a part of those that
    have it.

    Args:
        rows: Samples [n, features].
        inside: Which belong to a group [n].

    Returns:
        The group; as it was where one side would lose all but a few samples.
    """
    fewest = smallest(len(rows))
    for _ in range(N_REFINEMENTS):
        moved = held_out_positions(rows, inside) > 0
        n_moved = int(moved.sum())
        if moved.equal(inside) or min(n_moved, len(moved) - n_moved) < fewest:
            return inside
        inside = moved
    return inside


def candidates(rows: Tensor) -> tuple[list[tuple[float, Tensor]], Spectrum]:
    """Return groups of samples [n, features] and how far each lies from the others, the furthest first; and the graph.

    Gaps between the eigenvalues of a graph of neighbours propose clusters, and single features propose halves. Each is
    refined; the smaller side is the group.
    """
    graph = spectrum(affinity(rows))
    proposed = feature_splits(rows)
    for n_clusters in likely_numbers(graph.values)[:N_NUMBERS]:
        clusters = spectral_clusters(graph.vectors[:, :n_clusters])
        proposed += [clusters == cluster for cluster in clusters.unique().tolist()]
    found: dict[tuple[bool, ...], tuple[float, Tensor]] = {}
    fewest, n = smallest(len(rows)), len(rows)
    for inside in proposed:
        if not fewest <= int(inside.sum()) <= n - fewest:
            continue
        group = refined(rows, inside)
        n_inside = int(group.sum())
        if n_inside > n - n_inside or (2 * n_inside == n and bool(group[0])):
            group = ~group
        key = tuple(group.tolist())
        if key not in found:
            found[key] = separation(rows, group), group
    return sorted(found.values(), key=lambda each: -each[0]), graph


def partition(rows: Tensor, least_separation: float, relevance: Tensor | None = None) -> tuple[Tensor, Spectrum]:
    """Divide samples [n, features] into groups with gaps between them: group of each [n], 0 the largest; the graph.

    The candidate that lies furthest from all other samples is a group, then the next one that shares few samples with
    those before it, as long as they lie as far apart as is asked for, and the score owes something to what tells them
    apart. What is left is a group, too.

    Args:
        rows: Samples as they are compared.
        least_separation: How far apart groups lie at least.
        relevance: Their attributions as they are [n, all features]; None to ask for no effect.
    """
    proposed, graph = candidates(rows)
    assignment = torch.zeros(len(rows), dtype=torch.long)
    fewest = smallest(len(rows))
    for apart, group in proposed:
        own = group & (assignment == 0)
        left = (assignment == 0) & ~own
        if apart < least_separation or int(own.sum()) < (1 - SHARED) * int(group.sum()):
            continue
        is_large = min(int(own.sum()), int(left.sum())) >= fewest
        if is_large and (relevance is None or counts(relevance, group)):
            assignment[own] = int(assignment.max()) + 1
    return by_size(assignment), graph


def counts(relevance: Tensor, group: Tensor) -> bool:
    """Return True if a group's score owes something to what the others lack, or the others' to what it lacks."""
    return effect(relevance, group) >= LEAST_EFFECT or effect(relevance, ~group) >= LEAST_OF_OTHERS


def by_size(assignment: Tensor) -> Tensor:
    """Number groups by their size, the largest 0; of equal ones the one that has the first sample."""
    groups, counts = assignment.unique(return_counts=True)
    first = [int((assignment == group).nonzero()[0]) for group in groups]
    order = sorted(range(len(groups)), key=lambda i: (-int(counts[i]), first[i]))
    found = torch.zeros_like(assignment)
    for number, i in enumerate(order):
        found[assignment == groups[i]] = number
    return found
