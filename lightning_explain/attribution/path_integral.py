"""The integral of gradients along the straight path from baseline to input, in chunks, fixed or adaptive."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.quadrature import (
    ERROR_PER_REFINEMENT,
    ERROR_PER_SPLIT,
    gauss_legendre,
    refinement,
    relative_distance,
)
from lightning_explain.attribution.result import flat
from lightning_explain.attribution.scores import Scores, check_finite, explained_score, score_gradients

Parts = tuple[Tensor, ...]

FIRST_INTERVALS = 8
"""The adaptive rule starts with this many equal intervals and doubles them."""

SMALLEST_CHANGE = 0.01
"""The completeness gap is taken relative to |F(x) - F(baseline)|, but at least to this share of sum |values|:
where the output hardly changes, a relative gap would ask for the impossible."""


@dataclass(frozen=True)
class StraightPath:
    """Inputs, baselines and the function between them.

    Attributes:
        forward: Inputs to scores.
        inputs: Each [batch, ...].
        baselines: Each [batch, ...], or [1, ...] where all samples share it.
        target: Explained output per sample [batch], or None.
        rows: At most this many rows (points times samples) go through the model in one pass.
    """

    forward: Scores
    inputs: Parts
    baselines: Parts
    target: Tensor | None
    rows: int

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def shares_baseline(self) -> bool:
        """Whether every sample starts at the same point."""
        return all(len(part) == 1 for part in self.baselines)

    def displacement(self) -> Parts:
        """Return `input - baseline` of each part."""
        return tuple(x - b for x, b in zip(self.inputs, self.baselines, strict=True))

    def of(self, samples: Tensor) -> "StraightPath":
        """Keep only the given samples (LongTensor of indices)."""
        return StraightPath(
            self.forward,
            tuple(part[samples] for part in self.inputs),
            tuple(part if len(part) == 1 else part[samples] for part in self.baselines),
            None if self.target is None else self.target[samples],
            self.rows,
        )


@dataclass(frozen=True)
class Integral:
    """Attributions along a path, with what is known of their quality; per sample."""

    values: Parts
    coarse: Parts | None
    change: Tensor
    error: Tensor
    n_evaluations: Tensor


def path_points(path: StraightPath, nodes: Tensor) -> tuple[Parts, Tensor | None]:
    """Return the points at every node for every sample as leaves [nodes * batch, ...], and their targets."""
    rows: list[Tensor] = []
    for x, b in zip(path.inputs, path.baselines, strict=True):
        alpha = nodes.to(device=x.device, dtype=x.dtype).reshape(len(nodes), *(1,) * x.ndim)
        rows.append((b + alpha * (x - b)).flatten(0, 1).requires_grad_())
    return tuple(rows), None if path.target is None else path.target.repeat(len(nodes))


def _block(path: StraightPath, nodes: Tensor) -> tuple[Parts, Tensor]:
    """Differentiate at every node for every sample in one pass: gradients [nodes, batch, ...] and scores."""
    n_nodes, n_samples = len(nodes), len(path)
    gradients, scores = score_gradients(path.forward, *path_points(path, nodes))
    return tuple(g.unflatten(0, (n_nodes, n_samples)) for g in gradients), scores.unflatten(0, (n_nodes, n_samples))


def weighted_gradients(path: StraightPath, nodes: Tensor, weights: Tensor) -> tuple[Parts, Tensor]:
    """Sum gradients over nodes, for several sets of weights at once, in chunks of at most `path.rows` rows.

    Args:
        path: Where to differentiate.
        nodes: Positions on the path in [0, 1]: [nodes].
        weights: Each row is one rule: [rules, nodes].

    Returns:
        For each part the sums [rules, batch, ...]; and the scores at every node [nodes, batch].

    Cost: `nodes * batch` gradient evaluations.
    """
    n_samples = len(path)
    per_pass = max(1, path.rows // n_samples)
    scores: list[Tensor] = []
    sums: list[Tensor] = [x.new_zeros((len(weights), *x.shape)) for x in path.inputs]
    for start in range(0, len(nodes), per_pass):
        chunk = slice(start, start + per_pass)
        scores_here: list[Tensor] = []
        for first in range(0, n_samples, path.rows):
            samples = torch.arange(first, min(first + path.rows, n_samples), device=path.inputs[0].device)
            block = path if len(samples) == n_samples else path.of(samples)
            gradients, block_scores = _block(block, nodes[chunk])
            for total, gradient in zip(sums, gradients, strict=True):
                w = weights[:, chunk].to(device=gradient.device, dtype=gradient.dtype)
                total[:, first : first + len(samples)] += torch.tensordot(w, gradient, dims=1)
            scores_here.append(block_scores)
        scores.append(torch.cat(scores_here, dim=1))
    return tuple(sums), torch.cat(scores)


def _at_baseline(path: StraightPath) -> tuple[Parts, Tensor]:
    """Differentiate at the start of the path; once per target where all samples share the baseline."""
    zero, one = torch.zeros(1), torch.ones(1, 1)
    if not path.shares_baseline:
        sums, scores = weighted_gradients(path, zero, one)
        return tuple(total[0] for total in sums), scores[0]
    if path.target is None:
        representatives, member = torch.zeros(1, dtype=torch.long), torch.zeros(len(path), dtype=torch.long)
    else:
        targets, member = path.target.unique(return_inverse=True)
        representatives = torch.stack([(path.target == t).nonzero()[0, 0] for t in targets])
    sums, scores = weighted_gradients(path.of(representatives), zero, one)
    return tuple(total[0][member] for total in sums), scores[0][member]


def _completeness_gap(values: Tensor, change: Tensor) -> Tensor:
    """Return |sum(values) - change| relative to the change, for rows of attributions [batch, features]."""
    gap = (values.sum(1) - change).abs()
    scale = torch.maximum(change.abs(), SMALLEST_CHANGE * values.abs().sum(1))
    return torch.where(gap == 0, torch.zeros_like(gap), gap / scale)


def _scaled(sums: Parts, displacement: Parts, factor: float) -> Parts:
    return tuple(total * step * factor for total, step in zip(sums, displacement, strict=True))


def integrate_fixed(path: StraightPath, n_steps: int) -> Integral:
    """Integrate with a Gauss-Legendre rule of `n_steps` points.

    The error estimate compares the rule's even points with its odd ones, at no further cost; NaN for one point.
    """
    rule = gauss_legendre(n_steps)
    even = torch.arange(n_steps) % 2 == 0
    halves = torch.stack([rule.weights, torch.where(even, rule.weights, 0.0), torch.where(even, 0.0, rule.weights)])
    weights = halves / halves.sum(1, keepdim=True)
    weights = weights if n_steps > 1 else weights[:1]
    sums, scores = weighted_gradients(path, rule.nodes, weights)
    step = path.displacement()
    values = _scaled(tuple(total[0] for total in sums), step, 1.0)
    with torch.no_grad():
        change = _end_scores(path)
    check_finite(values, scores.sum(0) + change)
    coarse, error = None, torch.full_like(change, torch.nan)
    if n_steps > 1:
        coarse = _scaled(tuple(total[1] for total in sums), step, 1.0)
        other = _scaled(tuple(total[2] for total in sums), step, 1.0)
        size = flat(values).abs().sum(1)
        split = (flat(coarse) - flat(other)).abs().sum(1)
        error = torch.where(split == 0, torch.zeros_like(size), ERROR_PER_SPLIT * split / size)
    return Integral(values, coarse, change, error, torch.full((len(path),), n_steps))


def _end_scores(path: StraightPath) -> Tensor:
    """Return F(x) - F(baseline) per sample, without gradients."""
    n_samples = len(path)
    ends: list[Tensor] = []
    for points in (
        path.inputs,
        tuple(b.expand_as(x) for b, x in zip(path.baselines, path.inputs, strict=True)),
    ):
        scores = [
            _explained_at(path, tuple(part[first : first + path.rows] for part in points), first)
            for first in range(0, n_samples, path.rows)
        ]
        ends.append(torch.cat(scores))
    return ends[0] - ends[1]


def _explained_at(path: StraightPath, points: Parts, first: int) -> Tensor:
    """Return the explained score of consecutive samples that start at index `first`, at the given points."""
    target = None if path.target is None else path.target[first : first + len(points[0])]
    return explained_score(path.forward(*points), target)


def integrate_adaptive(path: StraightPath, *, tolerance: float, max_steps: int) -> Integral:
    """Refine a nested trapezoid rule, sample by sample, until the estimated error is within `tolerance`.

    A sample stops when the distance between the last two rules is at most `tolerance / 0.75` (the true L1 error
    is about 0.7 of that distance) and its raw completeness gap is at most `tolerance`; or when the next
    refinement would need more than `max_steps` points.

    Cost: 17, 33, 65, ... gradient evaluations per sample.
    """
    n_samples, n = len(path), FIRST_INTERVALS
    start_gradient, start_score = _at_baseline(path)
    nodes = torch.arange(1, n + 1, dtype=torch.float64) / n
    weights = torch.ones(1, n, dtype=torch.float64)
    weights[0, -1] = 0.5
    sums, scores = weighted_gradients(path, nodes, weights)
    sums = tuple(total[0] + g / 2 for total, g in zip(sums, start_gradient, strict=True))
    change = scores[-1] - start_score
    check_finite(sums, scores.sum(0) + start_score)

    step = path.displacement()
    values = _scaled(sums, step, 1 / n)
    coarse = tuple(part.clone() for part in values)
    error = torch.full_like(change, torch.nan)
    n_evaluations = torch.full((n_samples,), n + 1)
    active = torch.arange(n_samples, device=change.device)
    while len(active) and 2 * n + 1 <= max_steps:
        more, scores = weighted_gradients(path.of(active), refinement(n), torch.ones(1, n))
        sums = tuple(total + extra[0] for total, extra in zip(sums, more, strict=True))
        n *= 2
        check_finite(sums, scores.sum(0))
        fine = _scaled(sums, tuple(part[active] for part in step), 1 / n)
        previous = tuple(part[active] for part in values)
        distance = relative_distance(flat(fine), flat(previous))
        gap = _completeness_gap(flat(fine), change[active])
        for part, old, new, before in zip(values, coarse, fine, previous, strict=True):
            part[active], old[active] = new, before
        error[active] = ERROR_PER_REFINEMENT * distance
        n_evaluations[active.cpu()] = n + 1
        going_on = (distance > tolerance * 4 / 3) | (gap > tolerance)
        active = active[going_on]
        sums = tuple(total[going_on] for total in sums)
    return Integral(values, coarse, change, error, n_evaluations)
