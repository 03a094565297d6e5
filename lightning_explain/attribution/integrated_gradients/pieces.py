"""Pieces of paths, and the rules by which they are integrated."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.quadrature import spline_correction

LEAST_SHARE = 0.05
"""Less of a correction is not worth another look at all nodes."""


@dataclass(frozen=True)
class Bound:
    """An error that at least 95 % of true ones stay below, from what was seen of a sample.

    The score is known at every node, so that for the sum of all features the error is known too, on every piece: it
    says whether the gradient is smooth there, whatever the network is made of. With
    `k` = (what the smooth rule leaves of the change of the score) / (distance of the plain rule from the fine one),
    both root sums of squares over pieces, the share of jumps is `s = k^2 / (k^2 + kink^2)`, and the error relative to
    sum |values| is at most

        `(flat + s * jumping) * distance + s * rooted * (distance, as if what pieces differ by were independent)
         + s * gap * (root sum of squares of the gaps of all intervals) / sum |values|`

    Where jumps lie in their pieces is chance, so that root sums of squares say better how large their errors are than
    the one sum that happened to come out. The numbers are fitted to true errors of networks other than those by which
    `benchmarks/stated_errors.py` measures how often they are right; to errors of trapezoids, though values are those
    of splines as far as nothing jumps, whose errors are a half to a fifth of that.

    Attributes:
        kink: Where half of the error is taken for jumps.
        flat: Error over the distance between the two rules, where the gradient is smooth.
        jumping: What jumps add to that.
        rooted: What jumps add over the root sums of squares of the distances of pieces.
        gap: What jumps add per completeness gap of a piece's parts.
        average: Error over the distance between the two rules for an average over several paths.
    """

    kink: float
    flat: float
    jumping: float
    rooted: float
    gap: float
    average: float

    def jumps(self, unexplained: Tensor, spread: Tensor) -> Tensor:
        """Return the share of jumps in each sample's error [batch].

        Args:
            unexplained: Sum over pieces of the squares of what the smooth rule leaves [batch].
            spread: The same of the distance between the plain rule and the fine one [batch].
        """
        share = unexplained / (unexplained + self.kink**2 * spread)
        return torch.where(unexplained == 0, torch.zeros_like(share), share)

    def __call__(self, distance: Tensor, rooted: Tensor, jumps: Tensor, gaps: Tensor) -> Tensor:
        """Return the error of each sample [batch].

        Args:
            distance: Relative L1 distance between the two rules [batch].
            rooted: The same from root sums of squares over pieces [batch].
            jumps: The share of jumps [batch].
            gaps: Sum of the squares of the gaps of all intervals, relative to sum |values| [batch].
        """
        gaps = torch.where(jumps == 0, torch.zeros_like(gaps), gaps.sqrt())
        return (self.flat + jumps * self.jumping) * distance + jumps * (self.rooted * rooted + self.gap * gaps)


@dataclass(frozen=True)
class PieceRule:
    """Rule for a piece of a path from equally spaced nodes, with a coarser rule for its error.

    Attributes:
        fine: Weight of each node, for a piece of width 1.
        coarse: The same of the less exact rule.
        n_pieces: How many pieces a path has at first.
        smooth: Weights of the rule that says best what the integral is where nothing jumps.
        plain: Weights of the plainest rule, which smooth and jumping functions alike keep at a distance from `fine`.
        bound: How the stated error is made of what was seen.
    """

    fine: tuple[float, ...]
    coarse: tuple[float, ...]
    n_pieces: int
    smooth: tuple[float, ...]
    plain: tuple[float, ...]
    bound: "Bound"

    @property
    def difference(self) -> tuple[float, ...]:
        """Weights of what the exact rule adds to the other."""
        return tuple(f - c for f, c in zip(self.fine, self.coarse, strict=True))

    @property
    def n_intervals(self) -> int:
        """Number of intervals into which the nodes divide a piece."""
        return len(self.fine) - 1

    @property
    def n_first_nodes(self) -> int:
        """Nodes of a path at first."""
        return self.n_pieces * self.n_intervals + 1


TRAPEZOIDS = PieceRule(
    fine=(1 / 4, 2 / 4, 1 / 4),
    coarse=(1 / 2, 0.0, 1 / 2),
    n_pieces=2,
    smooth=(1 / 6, 4 / 6, 1 / 6),
    plain=(1 / 2, 0.0, 1 / 2),
    bound=Bound(kink=0.12, flat=0.36, jumping=0.15, rooted=0.19, gap=0.95, average=1.0),
)
"""Two trapezoids instead of one: best where the gradient jumps, as in ReLU networks, and for large tolerances. With 9
first nodes instead of 5 the error of MLPs and convnets is three times better than asked for."""

BOOLE = PieceRule(
    fine=(7 / 90, 32 / 90, 12 / 90, 32 / 90, 7 / 90),
    coarse=(1 / 12, 4 / 12, 2 / 12, 4 / 12, 1 / 12),
    n_pieces=2,
    smooth=(7 / 90, 32 / 90, 12 / 90, 32 / 90, 7 / 90),
    plain=(1 / 8, 2 / 8, 2 / 8, 2 / 8, 1 / 8),
    bound=Bound(kink=0.5, flat=1.3, jumping=26.0, rooted=0.0, gap=2.0, average=12.0),
)
"""Boole's rule (Abramowitz and Stegun 1964, 25.4.14) instead of Simpson's on both halves: for smooth networks.
Where the scores tell of kinks, trapezoids take its place."""


@dataclass(frozen=True)
class Nodes:
    """Values at the nodes: gradient times way [rows, features], its sum and the score [rows].

    Attributes:
        sample: Whose path each lies on [rows].
        position: Where on it, in [0, 1]; float64 [rows].
    """

    sample: Tensor
    position: Tensor
    contributions: Tensor
    sums: Tensor
    scores: Tensor

    @classmethod
    def of(cls, sample: Tensor, position: Tensor, contributions: Tensor, scores: Tensor) -> "Nodes":
        """Add the contributions up."""
        return cls(sample, position, contributions, contributions.sum(1), scores)

    def __len__(self) -> int:
        return len(self.scores)

    def joined(self, sample: Tensor, position: Tensor, contributions: Tensor, scores: Tensor) -> "Nodes":
        """Append more."""
        more = Nodes.of(sample, position, contributions, scores)
        return Nodes(*(torch.cat(pair) for pair in zip(self._fields, more._fields, strict=True)))

    @property
    def _fields(self) -> tuple[Tensor, ...]:
        return self.sample, self.position, self.contributions, self.sums, self.scores

    def spline_corrections(self, share: Tensor) -> Tensor:
        """Return what splines through each sample's nodes add to its trapezoids, so much of it [batch, features].

        Args:
            share: How much of it counts [batch].
        """
        order = self.position.argsort()
        order = order[self.sample[order].argsort(stable=True)]
        counts = self.sample.bincount(minlength=len(share)).tolist()
        found = self.contributions.new_zeros(len(share), self.contributions.shape[1])
        for i, (rows, wanted) in enumerate(zip(order.split(counts), share.tolist(), strict=True)):
            if wanted >= LEAST_SHARE:
                weights = wanted * spline_correction(tuple(self.position[rows].tolist()))
                found[i] = weights.to(found) @ self.contributions[rows]
        return found


@dataclass(frozen=True)
class Pieces:
    """Pieces of paths; every field is [pieces], `rows` is [pieces, nodes].

    Attributes:
        sample: Whose path it is.
        start: Where on the path it begins, in [0, 1]; float64.
        width: How much of the path it is; float64.
        rows: Which of the `Nodes` are its own, in order.
    """

    sample: Tensor
    start: Tensor
    width: Tensor
    rows: Tensor

    @property
    def _fields(self) -> tuple[Tensor, ...]:
        return self.sample, self.start, self.width, self.rows

    def chosen(self, which: Tensor) -> "Pieces":
        """Keep some [pieces]."""
        return Pieces(*(part[which] for part in self._fields))

    def joined(self, other: "Pieces") -> "Pieces":
        """Append others."""
        return Pieces(*(torch.cat(pair) for pair in zip(self._fields, other._fields, strict=True)))

    @property
    def between(self) -> Tensor:
        """Positions in the middle between neighbouring nodes: [nodes - 1, pieces]."""
        n_intervals = self.rows.shape[1] - 1
        middles = (torch.arange(n_intervals, dtype=torch.float64, device=self.start.device) + 0.5) / n_intervals
        return self.start + middles[:, None] * self.width

    def halved(self, new: Tensor) -> "Pieces":
        """Cut each in two at its middle; `new` are the rows of the nodes `between`: [nodes - 1, pieces]."""
        rows = self.rows.new_empty(len(self.rows), 2 * self.rows.shape[1] - 1)
        rows[:, ::2], rows[:, 1::2] = self.rows, new.T
        return Pieces(self.sample, self.start, self.width, rows).divided()

    def divided(self) -> "Pieces":
        """Cut each in two at its middle node; none is new."""
        half, middle = self.width / 2, self.rows.shape[1] // 2
        first = Pieces(self.sample, self.start, half, self.rows[:, : middle + 1])
        return first.joined(Pieces(self.sample, self.start + half, half, self.rows[:, middle:]))

    def integrated(self, at: Tensor, weights: tuple[float, ...]) -> Tensor:
        """Integrate something known at the nodes [rows, ...] over each piece [pieces, ...]."""
        total = at[self.rows[:, 0]].mul_(weights[0])
        for rows, weight in zip(self.rows.unbind(1)[1:], weights[1:], strict=True):
            if weight:
                total.add_(at[rows], alpha=weight)
        return total.mul_(self.width.to(total).reshape(-1, *(1,) * (total.ndim - 1)))
