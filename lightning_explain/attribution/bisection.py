"""Refining the path of each sample where its gradient changes, and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.quadrature import ERROR_PER_REFINEMENT, relative_distance
from lightning_explain.attribution.straight_path import StraightPath, contributions_at

FIRST_INTERVALS = 4
"""Every path starts with this many equal intervals. With 8 the error of MLPs and convnets is three times better than
asked for; with 2 there would be no coarser rule worth comparing with."""

LEFT_OF_A_PIECE = 0.5
"""Share of a piece's error that is expected to be left when it is bisected: what a jump leaves on average. With less,
fewer pieces are bisected at once, which saves a few points and takes more rounds."""

MOST_AT_ONCE = 0.8
"""Share of a sample's error that is bisected in one round at most: the pieces that hold the rest are many and small."""

SMALLEST_CHANGE = 0.01
"""The completeness gap is taken relative to |F(x) - F(baseline)|, but at least to this share of sum |values|:
where the output hardly changes, a relative gap would ask for the impossible."""

ERROR_PER_FIRST_DISTANCE = 1.0
"""True L1 error over the distance between the rule of the first nodes and the coarser one; so few say less."""

FINEST_SPACING = 0.25
"""Smallest distance between nodes, in parts of the equal steps that `max_steps` points make: where the function jumps,
no distance is small enough."""


@dataclass(frozen=True)
class _Nodes:
    """What was found at the nodes: gradient times way [rows, features], its sum and the score [rows]."""

    contributions: Tensor
    sums: Tensor
    scores: Tensor

    @classmethod
    def of(cls, contributions: Tensor, scores: Tensor) -> "_Nodes":
        return cls(contributions, contributions.sum(1), scores)

    def __len__(self) -> int:
        return len(self.scores)

    def joined(self, contributions: Tensor, scores: Tensor) -> "_Nodes":
        pairs = zip(self._fields, _Nodes.of(contributions, scores)._fields, strict=True)
        return _Nodes(*(torch.cat(pair) for pair in pairs))

    @property
    def _fields(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.contributions, self.sums, self.scores


@dataclass(frozen=True)
class _Pieces:
    """Pieces of paths whose two ends and middle are nodes; every field is [pieces].

    Attributes:
        sample: Whose path it is.
        start: Where on the path it begins, in [0, 1]; float64.
        width: How much of the path it is; float64.
        left: Row of its first node, `middle` and `right` alike.
    """

    sample: Tensor
    start: Tensor
    width: Tensor
    left: Tensor
    middle: Tensor
    right: Tensor

    @property
    def _fields(self) -> tuple[Tensor, ...]:
        return self.sample, self.start, self.width, self.left, self.middle, self.right

    def chosen(self, which: Tensor) -> "_Pieces":
        return _Pieces(*(part[which] for part in self._fields))

    def joined(self, other: "_Pieces") -> "_Pieces":
        return _Pieces(*(torch.cat(pair) for pair in zip(self._fields, other._fields, strict=True)))

    def halved(self, new: Tensor) -> "_Pieces":
        """Cut each in two at its middle; `new` has the rows of the halves' middles: [2, pieces]."""
        first = _Pieces(self.sample, self.start, self.width / 2, self.left, new[0], self.middle)
        return first.joined(
            _Pieces(self.sample, self.start + self.width / 2, self.width / 2, self.middle, new[1], self.right)
        )

    def coarse(self, at: Tensor) -> Tensor:
        """Integrate something known at the nodes [rows, ...] over each piece, by its ends only."""
        return self._scaled(at[self.left].add_(at[self.right]), 1 / 2)

    def difference(self, at: Tensor) -> Tensor:
        """Return by how much that changes with the middle: two steps of half the width instead of one."""
        return self._scaled(at[self.middle].mul_(2).sub_(at[self.left]).sub_(at[self.right]), 1 / 4)

    def _scaled(self, total: Tensor, factor: float) -> Tensor:
        width = (self.width * factor).to(total)
        return total.mul_(width.reshape(-1, *(1,) * (total.ndim - 1)))


@dataclass(frozen=True)
class _Measured:
    """Pieces, and what is wrong with each: [pieces].

    Attributes:
        pieces: The pieces.
        error: L1 size of what its middle changes.
        gap: How far its attributions are from adding up to the change of the score over it.
    """

    pieces: _Pieces
    error: Tensor
    gap: Tensor

    @classmethod
    def of(cls, pieces: _Pieces, nodes: _Nodes, difference: Tensor) -> "_Measured":
        total = pieces.coarse(nodes.sums) + pieces.difference(nodes.sums)
        change = nodes.scores[pieces.right] - nodes.scores[pieces.left]
        return cls(pieces, difference.abs().sum(1), (total - change).abs())

    def chosen(self, which: Tensor) -> "_Measured":
        return _Measured(self.pieces.chosen(which), self.error[which], self.gap[which])

    def joined(self, other: "_Measured") -> "_Measured":
        pieces = self.pieces.joined(other.pieces)
        return _Measured(pieces, torch.cat([self.error, other.error]), torch.cat([self.gap, other.gap]))


@dataclass(frozen=True)
class Totals:
    """What is known of each sample; written into while it is refined.

    Attributes:
        values: The attributions by all nodes, parts side by side [batch, features].
        difference: By how much they moved from what the ends of all pieces said [batch, features].
        change: F(input) - F(baseline) [batch].
        n_evaluations: Nodes of each sample [batch].
        unfinished: Whether nodes ran out before the sample was good enough [batch].
    """

    values: Tensor
    difference: Tensor
    change: Tensor
    n_evaluations: Tensor
    unfinished: Tensor

    @property
    def distance(self) -> Tensor:
        """Relative distance between the rule and the coarser one: [batch]."""
        return relative_distance(self.values, self.values - self.difference)

    @property
    def error(self) -> Tensor:
        """Estimated relative L1 error: [batch]."""
        is_first = self.n_evaluations == FIRST_INTERVALS + 1
        return torch.where(is_first, ERROR_PER_FIRST_DISTANCE, ERROR_PER_REFINEMENT) * self.distance

    @property
    def gap(self) -> Tensor:
        """Return |sum(values) - change| relative to the change: [batch]."""
        gap = (self.values.sum(1) - self.change).abs()
        scale = torch.maximum(self.change.abs(), SMALLEST_CHANGE * self.values.abs().sum(1))
        return torch.where(gap == 0, torch.zeros_like(gap), gap / scale)

    @classmethod
    def joined(cls, several: Sequence["Totals"]) -> "Totals":
        """Put those of several batches one after the other."""
        names = ("values", "difference", "change", "n_evaluations", "unfinished")
        return cls(*(torch.cat([getattr(one, name) for one in several]) for name in names))


@dataclass(frozen=True)
class Goal:
    """When a sample is good enough.

    Attributes:
        error: Largest estimated relative L1 error.
        gap: Largest completeness gap.
        max_steps: Most nodes of a sample.
    """

    error: float
    gap: float
    max_steps: int

    @property
    def smallest_width(self) -> float:
        """Width of the narrowest piece that may still be cut: its halves have nodes at half of that."""
        return 4 * FINEST_SPACING / (self.max_steps - 1)


def refined(path: StraightPath, beginning: Tensor, start_scores: Tensor, goal: Goal) -> Totals:
    """Integrate gradient times way along each path, with nodes where they are needed.

    Each path starts with 4 equal intervals. A piece of the path is two neighbouring intervals. What its middle node
    changes, and how far its own scores are from complete, says where the error is. The pieces with the largest errors
    are bisected, as many as should bring the sample's own error down to the goal, until it is good enough.

    Args:
        path: Inputs, baselines and model.
        beginning: Gradient times way at the baselines [batch, features].
        start_scores: Score at the baselines [batch].
        goal: When to stop.

    Cost: 5, 7, 9, ... gradient evaluations per sample, that at the baseline included, and memory for the gradients at
    all of them.
    """
    totals, nodes, known = _begun(path, beginning, start_scores)
    while True:
        marked = _marked(totals, known, goal)
        if not bool(marked.any()):
            return totals
        going_on = torch.zeros_like(totals.unfinished)
        going_on[known.pieces.sample[marked]] = True
        rest = known.chosen(~marked & going_on[known.pieces.sample])
        cut = known.pieces.chosen(marked)
        nodes, halves = _cut(path, nodes, cut)
        known = rest.joined(_replaced(totals, nodes, cut, halves))


def _begun(path: StraightPath, beginning: Tensor, start_scores: Tensor) -> tuple[Totals, _Nodes, _Measured]:
    """Evaluate the first nodes, and integrate with them."""
    n, device = len(path), path.device
    samples = torch.arange(n, device=device)
    positions = torch.arange(1, FIRST_INTERVALS + 1, dtype=torch.float64, device=device) / FIRST_INTERVALS
    found = contributions_at(path, samples.repeat(FIRST_INTERVALS), positions.repeat_interleave(n))
    nodes = _Nodes.of(beginning, start_scores).joined(*found)
    row = samples + n * torch.arange(FIRST_INTERVALS + 1, device=device)[:, None]
    half = torch.full((n,), 0.5, dtype=torch.float64, device=device)
    pieces = _Pieces(samples, 0 * half, half, *row[:3]).joined(_Pieces(samples, half, half, *row[2:]))
    by_piece = pieces.difference(nodes.contributions)
    difference = by_piece.unflatten(0, (2, n)).sum(0)
    totals = Totals(
        values=pieces.coarse(nodes.contributions).unflatten(0, (2, n)).sum(0) + difference,
        difference=difference,
        change=nodes.scores[row[-1]] - start_scores,
        n_evaluations=torch.full((n,), FIRST_INTERVALS + 1, device=device),
        unfinished=torch.zeros(n, dtype=torch.bool, device=device),
    )
    return totals, nodes, _Measured.of(pieces, nodes, by_piece)


def _marked(totals: Totals, known: _Measured, goal: Goal) -> Tensor:
    """Choose the pieces to bisect [pieces], and note which samples are not good enough."""
    sample = known.pieces.sample
    totals.unfinished.copy_((totals.error > goal.error) | (totals.gap > goal.gap))
    wide = known.pieces.width >= goal.smallest_width
    urgency = torch.maximum(
        _bulk(torch.where(wide, known.error, 0.0), sample, _share_to_cut(totals.error, goal.error)),
        _bulk(torch.where(wide, known.gap, 0.0), sample, _share_to_cut(totals.gap, goal.gap)),
    )
    room = (goal.max_steps - totals.n_evaluations) // 2
    if bool((room >= totals.n_evaluations).all()):  # which is more than there are pieces
        return urgency > 0
    return (urgency > 0) & (_rank(urgency, sample) < room[sample])


def _share_to_cut(found: Tensor, wanted: float) -> Tensor:
    """Return the share of each sample's error that must be bisected to bring it down to what is wanted: [batch]."""
    return ((1 - wanted / found) / (1 - LEFT_OF_A_PIECE)).clamp(0, MOST_AT_ONCE)


def _bulk(size: Tensor, sample: Tensor, share: Tensor) -> Tensor:
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


def _rank(size: Tensor, sample: Tensor) -> Tensor:
    """Number each sample's pieces from the largest on: [pieces]."""
    order, first = _by_size(size, sample)
    return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device) - first)


def _cut(path: StraightPath, nodes: _Nodes, pieces: _Pieces) -> tuple[_Nodes, _Pieces]:
    """Evaluate the middles of both halves of each piece."""
    quarters = torch.cat([pieces.start + pieces.width / 4, pieces.start + 3 * pieces.width / 4])
    found = contributions_at(path, pieces.sample.repeat(2), quarters)
    rows = torch.arange(len(nodes), len(nodes) + len(quarters), device=quarters.device)
    return nodes.joined(*found), pieces.halved(rows.unflatten(0, (2, -1)))


def _replaced(totals: Totals, nodes: _Nodes, pieces: _Pieces, halves: _Pieces) -> _Measured:
    """Count the halves instead of the pieces: the coarse rule of the halves is the fine one of the pieces."""
    more = halves.difference(nodes.contributions)
    totals.values.index_add_(0, halves.sample, more)
    totals.difference.index_add_(0, halves.sample, more)
    totals.difference.index_add_(0, pieces.sample, pieces.difference(nodes.contributions), alpha=-1)
    totals.n_evaluations.index_add_(0, halves.sample, torch.ones_like(halves.sample))
    return _Measured.of(halves, nodes, more)
