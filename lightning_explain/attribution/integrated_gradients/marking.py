"""When to bisect pieces of a path, and which: the few that hold most of what is wrong."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.pieces import PieceRule

FINEST_SPACING = 0.25
"""Smallest distance between nodes, in parts of the equal steps that `max_steps` points make: where the function jumps,
no distance is small enough."""

LEFT_OF_A_PIECE = 0.5
"""Share of a piece's error that is expected to be left when it is bisected: what a jump leaves on average. With less,
fewer pieces are bisected at once, which saves a few points and takes more rounds."""

MOST_AT_ONCE = 0.8
"""Share of a sample's error that is bisected in one round at most: the pieces that hold the rest are many and small."""


@dataclass(frozen=True)
class Goal:
    """Condition under which a sample is refined no further.

    Attributes:
        error: Largest estimated relative L1 error.
        gap: Largest completeness gap.
        max_steps: Most nodes of a sample.
    """

    error: float
    gap: float
    max_steps: int

    def smallest_width(self, rule: PieceRule) -> float:
        """Width of the narrowest piece that may still be cut, which halves the distance of its nodes."""
        return 2 * rule.n_intervals * FINEST_SPACING / (self.max_steps - 1)


def share_to_cut(found: Tensor, wanted: float) -> Tensor:
    """Return the share of each sample's error that must be bisected to bring it down to what is wanted: [batch]."""
    return ((1 - wanted / found) / (1 - LEFT_OF_A_PIECE)).clamp(0, MOST_AT_ONCE)


def bulk(size: Tensor, sample: Tensor, share: Tensor) -> Tensor:
    """Choose the fewest pieces that hold at least a share of each sample's sizes.

    Source: Doerfler (1996), A convergent adaptive algorithm for Poisson's equation, Section 4.2 (marking strategy).

    Args:
        size: What is wrong with each piece [pieces].
        sample: Whose piece it is [pieces].
        share: Of the sum of each sample's sizes [batch].

    Returns:
        For chosen pieces their part of the sample's sum, 0 for the others: [pieces].
    """
    if not bool((share > 0).any()):
        return torch.zeros_like(size)
    total = size.new_zeros(len(share)).index_add_(0, sample, size)[sample]
    part = torch.where(size > 0, size / total, 0.0)
    order, first = _by_size(part, sample)
    in_order = part[order].double()
    before = in_order.cumsum(0) - in_order
    before = torch.empty_like(before).index_copy_(0, order, before - before[first])
    return torch.where(before < share[sample], part, 0.0)


def _by_size(size: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Order pieces by sample, each one's largest first; and for each place where its sample begins: both [pieces]."""
    order = size.argsort(descending=True, stable=True)
    order = order[sample[order].argsort(stable=True)]
    counts = sample.bincount()
    return order, (counts.cumsum(0) - counts)[sample[order]]


def rank(size: Tensor, sample: Tensor) -> Tensor:
    """Number each sample's pieces from the largest on: [pieces]."""
    order, first = _by_size(size, sample)
    return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device) - first)
