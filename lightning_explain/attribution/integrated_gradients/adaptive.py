"""Refining the path of each sample where its gradient changes, and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.marking import Goal, bulk, rank, share_to_cut
from lightning_explain.attribution.integrated_gradients.path import StraightPath, contributions_at
from lightning_explain.attribution.integrated_gradients.pieces import TRAPEZOIDS, Nodes, PieceRule, Pieces
from lightning_explain.attribution.integrated_gradients.quadrature import relative_distance

KINKED = 0.3
"""Share of jumps from which on a path is integrated by trapezoids, whatever rule was asked for."""

SMALLEST_CHANGE = 0.01
"""The completeness gap is taken relative to |F(x) - F(baseline)|, but at least to this share of sum |values|:
where the output hardly changes, a relative gap would ask for the impossible."""


@dataclass(frozen=True)
class _Measured:
    """Pieces, and what is wrong with each: [pieces].

    Attributes:
        pieces: The pieces.
        error: L1 size of what the exact rule changes.
        gap: How far its attributions are from adding up to the change of the score over it.
        squares: What the smooth rule leaves of that change, how far the plain rule is from the fine one, and the gaps
            of all its intervals, each squared: [pieces, 3].
    """

    pieces: Pieces
    error: Tensor
    gap: Tensor
    squares: Tensor

    @classmethod
    def of(cls, pieces: Pieces, nodes: Nodes, difference: Tensor, rule: PieceRule) -> "_Measured":
        total, smooth, plain = (pieces.integrated(nodes.sums, w) for w in (rule.fine, rule.smooth, rule.plain))
        scores, sums = nodes.scores[pieces.rows], nodes.sums[pieces.rows]
        change = scores[:, -1] - scores[:, 0]
        length = (pieces.width / rule.n_intervals).to(sums)[:, None]
        gaps = length * (sums[:, 1:] + sums[:, :-1]) / 2 - scores.diff(dim=1)
        squares = torch.stack([(change - smooth) ** 2, (total - plain) ** 2, (gaps**2).sum(1)], dim=1)
        return cls(pieces, difference.abs().sum(1), (total - change).abs(), squares)

    def chosen(self, which: Tensor) -> "_Measured":
        return _Measured(self.pieces.chosen(which), self.error[which], self.gap[which], self.squares[which])

    def joined(self, other: "_Measured") -> "_Measured":
        pairs = ((self.error, other.error), (self.gap, other.gap), (self.squares, other.squares))
        return _Measured(self.pieces.joined(other.pieces), *(torch.cat(pair) for pair in pairs))


@dataclass(frozen=True)
class Totals:
    """State of each sample; written into while it is refined.

    Attributes:
        values: The attributions by all nodes, parts side by side [batch, features].
        difference: By how much they moved from what the coarse rule says [batch, features].
        squares: The same of every piece on its own, squared and added up [batch, features].
        change: F(input) - F(baseline) [batch].
        bound: Bound on the relative L1 error by what the rules say [batch].
        jumps: The share of jumps in it [batch].
        per_distance: Error of an average over several paths, over its distance from the coarser average [batch].
        n_evaluations: Nodes of each sample [batch].
        unfinished: Whether nodes ran out before the sample was good enough [batch].
    """

    values: Tensor
    difference: Tensor
    squares: Tensor
    change: Tensor
    bound: Tensor
    jumps: Tensor
    per_distance: Tensor
    n_evaluations: Tensor
    unfinished: Tensor

    @property
    def distance(self) -> Tensor:
        """Relative distance between the rule and the coarser one: [batch]."""
        return relative_distance(self.values, self.values - self.difference)

    @property
    def rooted(self) -> Tensor:
        """Relative size of `difference` as if pieces were independent: root sums of squares, over features [batch]."""
        total = self.squares.clamp_min(0).sqrt().sum(1)
        return torch.where(total == 0, total, total / self.values.abs().sum(1))

    @property
    def error(self) -> Tensor:
        """Bound on the relative L1 error, never below the completeness gap over sum |values|: [batch]."""
        gap = (self.values.sum(1) - self.change).abs()
        return torch.where(gap == 0, self.bound, torch.maximum(self.bound, gap / self.values.abs().sum(1)))

    @property
    def gap(self) -> Tensor:
        """Return |sum(values) - change| relative to the change: [batch]."""
        gap = (self.values.sum(1) - self.change).abs()
        scale = torch.maximum(self.change.abs(), SMALLEST_CHANGE * self.values.abs().sum(1))
        return torch.where(gap == 0, torch.zeros_like(gap), gap / scale)

    @classmethod
    def joined(cls, several: Sequence["Totals"]) -> "Totals":
        """Put those of several batches one after the other."""
        return cls(*(torch.cat([getattr(one, field.name) for one in several]) for field in fields(cls)))


def refined(
    path: StraightPath, beginning: Tensor, start_scores: Tensor, goal: Goal, rule: PieceRule = TRAPEZOIDS
) -> Totals:
    """Integrate gradient times way along each path, with nodes where they are needed.

    Each path starts with a few equal pieces. How far the two rules are apart on a piece, and how far its own scores
    are from complete, says where the error is. The pieces with the largest errors are bisected, as many as should
    bring the sample's own error down to the goal, until it is good enough. Where the scores tell of no kinks, a spline
    through the nodes then takes away most of what trapezoids of unequal width are wrong by.

    Args:
        path: Inputs, baselines and model.
        beginning: Gradient times way at the baselines [batch, features].
        start_scores: Score at the baselines [batch].
        goal: When to stop.
        rule: How a piece is integrated.

    Cost: 5, 7, 9, ... gradient evaluations per sample, that at the baseline included (9, 13, 17, ... by Boole's rule),
    and memory for the gradients at all of them.
    """
    totals, nodes, known = _begun(path, beginning, start_scores, rule)
    if rule is not TRAPEZOIDS:
        nodes, known = _bisected(path, totals, nodes, known, goal, rule)
        known = _by_trapezoids(totals, nodes, known) if len(known.error) else known
    nodes, _ = _bisected(path, totals, nodes, known, goal, TRAPEZOIDS)
    if rule is TRAPEZOIDS:
        _smoothed(totals, nodes, goal)
    return totals


def _smoothed(totals: Totals, nodes: Nodes, goal: Goal) -> None:
    """Integrate cubic splines through the nodes, as far as the scores tell of no kinks, unless this leaves a gap."""
    error, gap = totals.error.clamp_min(goal.error), totals.gap.clamp_min(goal.gap)
    added = nodes.spline_corrections(1 - totals.jumps)
    plain = totals.values.clone()
    totals.values.add_(added)
    worse = (totals.error > error) | (totals.gap > gap)
    # not by taking off what was added, which would round
    totals.values.copy_(plain.where(worse[:, None], totals.values))
    totals.difference.add_(added.where(~worse[:, None], 0.0))


def _bisected(
    path: StraightPath, totals: Totals, nodes: Nodes, known: _Measured, goal: Goal, rule: PieceRule
) -> tuple[Nodes, _Measured]:
    """Bisect until every sample is good enough, and return what there is of those that the rule does not suit."""
    unsuited = known.chosen(torch.zeros_like(known.error, dtype=torch.bool))
    while len(known.error):
        marked = _marked(totals, known, goal, rule)
        suits = ~_unsuited(totals, known, rule)[known.pieces.sample]
        unsuited = unsuited.joined(known.chosen(~suits))
        marked &= suits
        going_on = torch.zeros_like(totals.unfinished)
        going_on[known.pieces.sample[marked]] = True
        rest = known.chosen(~marked & going_on[known.pieces.sample])
        if not bool(marked.any()):
            break
        cut = known.pieces.chosen(marked)
        nodes, halves = _cut(path, nodes, cut)
        known = rest.joined(_replaced(totals, nodes, cut, halves, rule))
    return nodes, unsuited


def _unsuited(totals: Totals, known: _Measured, rule: PieceRule) -> Tensor:
    """Find samples with kinks, which trapezoids suit better; the first nodes may merely be too far apart [batch]."""
    if rule is TRAPEZOIDS:
        return torch.zeros_like(totals.unfinished)
    squares = _by_sample(totals, known)
    is_refined = totals.n_evaluations > rule.n_first_nodes
    return is_refined & (rule.bound.jumps(squares[:, 0], squares[:, 1]) > KINKED)


def _by_trapezoids(totals: Totals, nodes: Nodes, known: _Measured) -> _Measured:
    """Integrate samples by trapezoids over the same nodes, from pieces that another rule does not suit."""
    pieces = known.pieces
    while pieces.rows.shape[1] > TRAPEZOIDS.n_intervals + 1:
        pieces = pieces.divided()
    by_piece = pieces.integrated(nodes.contributions, TRAPEZOIDS.difference)
    fine = pieces.integrated(nodes.contributions, TRAPEZOIDS.fine)
    for total, parts in ((totals.values, fine), (totals.difference, by_piece), (totals.squares, by_piece.square())):
        total.index_fill_(0, pieces.sample, 0).index_add_(0, pieces.sample, parts)
    totals.per_distance.index_fill_(0, pieces.sample, TRAPEZOIDS.bound.average)
    return _Measured.of(pieces, nodes, by_piece, TRAPEZOIDS)


def _begun(
    path: StraightPath, beginning: Tensor, start_scores: Tensor, rule: PieceRule
) -> tuple[Totals, Nodes, _Measured]:
    """Evaluate the first nodes, and integrate with them."""
    n, device, last = len(path), path.device, rule.n_first_nodes - 1
    samples = torch.arange(n, device=device)
    positions = torch.arange(1, last + 1, dtype=torch.float64, device=device) / last
    where = samples.repeat(last), positions.repeat_interleave(n)
    nodes = Nodes.of(samples, torch.zeros_like(samples).to(positions), beginning, start_scores)
    nodes = nodes.joined(*where, *contributions_at(path, *where))
    # node k of sample i is row i + n k; pieces share the nodes at their ends
    places = torch.arange(last + 1, device=device).unfold(0, rule.n_intervals + 1, rule.n_intervals)
    pieces = Pieces(
        sample=samples.repeat(rule.n_pieces),
        start=(torch.arange(rule.n_pieces, dtype=torch.float64, device=device) / rule.n_pieces).repeat_interleave(n),
        width=torch.full((rule.n_pieces * n,), 1 / rule.n_pieces, dtype=torch.float64, device=device),
        rows=(samples[:, None] + n * places[:, None]).flatten(0, 1),
    )
    by_piece = pieces.integrated(nodes.contributions, rule.difference)
    totals = Totals(
        values=pieces.integrated(nodes.contributions, rule.fine).unflatten(0, (-1, n)).sum(0),
        difference=by_piece.unflatten(0, (-1, n)).sum(0),
        squares=by_piece.unflatten(0, (-1, n)).square().sum(0),
        change=nodes.scores[n * last :] - start_scores,
        bound=torch.zeros_like(start_scores),
        jumps=torch.zeros_like(start_scores),
        per_distance=torch.full_like(start_scores, rule.bound.average),
        n_evaluations=torch.full((n,), rule.n_first_nodes, device=device),
        unfinished=torch.zeros(n, dtype=torch.bool, device=device),
    )
    return totals, nodes, _Measured.of(pieces, nodes, by_piece, rule)


def _marked(totals: Totals, known: _Measured, goal: Goal, rule: PieceRule) -> Tensor:
    """Choose the pieces to bisect [pieces], and note which samples are not good enough."""
    sample, error = known.pieces.sample, _bounded(totals, known, rule)
    totals.unfinished.copy_((error > goal.error) | (totals.gap > goal.gap))
    wide = known.pieces.width >= goal.smallest_width(rule)
    urgency = torch.maximum(
        bulk(torch.where(wide, known.error, 0.0), sample, share_to_cut(error, goal.error)),
        bulk(torch.where(wide, known.gap, 0.0), sample, share_to_cut(totals.gap, goal.gap)),
    )
    room = (goal.max_steps - totals.n_evaluations) // rule.n_intervals
    if bool((room >= totals.n_evaluations).all()):  # which is more than there are pieces
        return urgency > 0
    return (urgency > 0) & (rank(urgency, sample) < room[sample])


def _bounded(totals: Totals, known: _Measured, rule: PieceRule) -> Tensor:
    """Bound the error of every sample whose pieces are known, and return the bounds of all [batch]."""
    squares = _by_sample(totals, known)
    jumps = rule.bound.jumps(squares[:, 0], squares[:, 1])
    size = totals.values.abs().sum(1)
    found = rule.bound(totals.distance, totals.rooted, jumps, squares[:, 2] / size**2)
    is_known = torch.zeros_like(totals.unfinished).index_fill_(0, known.pieces.sample, value=True)
    for kept, new in ((totals.bound, found), (totals.jumps, jumps)):
        kept.copy_(torch.where(is_known, new, kept))
    return totals.error


def _by_sample(totals: Totals, known: _Measured) -> Tensor:
    """Add up what is known of pieces [batch, 3]."""
    return torch.zeros(len(totals.change), 3).to(known.squares).index_add_(0, known.pieces.sample, known.squares)


def _cut(path: StraightPath, nodes: Nodes, pieces: Pieces) -> tuple[Nodes, Pieces]:
    """Evaluate the nodes that the halves of each piece need."""
    between = pieces.between
    where = pieces.sample.repeat(len(between)), between.flatten()
    rows = torch.arange(len(nodes), len(nodes) + between.numel(), device=between.device)
    return nodes.joined(*where, *contributions_at(path, *where)), pieces.halved(rows.reshape(between.shape))


def _replaced(totals: Totals, nodes: Nodes, pieces: Pieces, halves: Pieces, rule: PieceRule) -> _Measured:
    """Count the halves instead of the pieces."""
    at, more = nodes.contributions, halves.integrated(nodes.contributions, rule.difference)
    less = pieces.integrated(at, rule.difference)
    totals.difference.index_add_(0, halves.sample, more).index_add_(0, pieces.sample, less, alpha=-1)
    totals.squares.index_add_(0, halves.sample, more.square()).index_add_(0, pieces.sample, less.square(), alpha=-1)
    if rule is TRAPEZOIDS:
        # spares two sums: the coarse rule of the halves is the fine one of the pieces
        totals.values.index_add_(0, halves.sample, more)
    else:
        totals.values.index_add_(0, halves.sample, halves.integrated(at, rule.fine))
        totals.values.index_add_(0, pieces.sample, pieces.integrated(at, rule.fine), alpha=-1)
    new = torch.full_like(halves.sample, rule.n_intervals // 2)
    totals.n_evaluations.index_add_(0, halves.sample, new)
    return _Measured.of(halves, nodes, more, rule)
