"""How far two groups of samples lie apart, measured on samples that had no say in where the line was drawn."""

import math

import torch
from torch import Tensor

UNIFORM = math.sqrt(12)
"""Distance between the halves of a uniform distribution in their standard deviations: a line through one cloud."""

FEWEST = 4
"""Samples of a group that has a spread."""

MOST = 100.0
"""Of separations: groups of equal samples have no spread at all."""


def held_out_positions(rows: Tensor, inside: Tensor) -> Tensor:
    """Return where each sample lies between two groups, on a line that was drawn without it.

    For each sample the line goes through the means of the others (difference of the means over variance, each feature
    for itself, half shrunk to their mean): a sample that has no part in the line is not drawn to its group's end, as it
    is in many dimensions, where any random halves of a cloud seem to lie apart.

    Args:
        rows: Samples [n, features].
        inside: Which belong to the first group [n]; at least two of each group.

    Returns:
        Positions [n]: about 1 at the mean of the first group, about -1 at that of the other.
    """
    member = torch.stack([inside, ~inside]).to(rows.dtype)
    counts, sums = member.sum(1), member @ rows
    squares = member @ rows.square()
    # one row of each for every sample: the group that it belongs to lacks it
    n = counts[:, None] - member
    means = (sums[:, None] - member[..., None] * rows) / n[..., None]
    own = squares[:, None] - member[..., None] * rows.square()
    spread = (own - n[..., None] * means.square()).sum(0).clamp_min(0) / (len(rows) - 3)
    direction = (means[0] - means[1]) / (spread + spread.mean(1, keepdim=True)).clamp_min(1e-12)
    ends = (means * direction).sum(2)
    half = ((ends[0] - ends[1]) / 2).clamp_min(1e-300)
    return ((rows * direction).sum(1) - ends.mean(0)) / half


def separation(rows: Tensor, inside: Tensor) -> float:
    """Return how far a group of samples lies from the others; 1 is what the halves of a uniform cloud have.

    The distance of the mean positions (`held_out_positions`) over the root mean square of both standard deviations, as
    a multiple of the square root of 12.

    Args:
        rows: Samples [n, features].
        inside: Which belong to the group [n].

    Returns:
        The separation; 0 for groups of fewer than 4.

    Source: Ashman, Bird, Zepf (1994), Detecting bimodality (the distance D).

    Example:
        >>> rows = torch.tensor([0.0, 0.1, 0.2, 0.3, 9.7, 9.8, 9.9, 10.0], dtype=torch.double)[:, None]
        >>> separation(rows, rows[:, 0] > 5) > 10
        True
    """
    n_inside = int(inside.sum())
    if min(n_inside, len(inside) - n_inside) < FEWEST:
        return 0.0
    positions = held_out_positions(rows, inside)
    a, b = positions[inside], positions[~inside]
    spread = float(((a.var() + b.var()) / 2).sqrt())
    gap = float(a.mean() - b.mean())
    return max(0.0, min(gap / (UNIFORM * spread), MOST)) if spread > 0 else MOST


def separations(rows: Tensor, assignment: Tensor) -> list[float]:
    """Return how far each group lies from all others, in the order of their numbers; 0 for a single one."""
    return [separation(rows, assignment == group) for group in assignment.unique().tolist()]


def mixed(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Mix samples [n, features] with each other at random: one cloud with the same mean and covariance of features.

    Each new sample is a sum of all, by a random rotation, so that groups are gone and what goes together stays. Values
    shuffled place by place would not do: those of a mark that a fifth of the samples have make two groups themselves.

    Source: Langsrud (2005), Rotation tests.
    """
    n = len(rows)
    ones = torch.ones(n, 1, dtype=rows.dtype)
    fixed, turned = (
        torch.linalg.qr(torch.cat([ones, torch.randn(n, n - 1, generator=generator, dtype=rows.dtype)], 1)).Q[:, 1:]
        for _ in range(2)
    )
    new = rows.mean(0) + turned @ (fixed.T @ rows)
    return new / new.norm(dim=1, keepdim=True).clamp_min(1e-12)
