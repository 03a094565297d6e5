"""The integral of gradients along the straight path from baseline to input, fixed or adaptive."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.adaptive import Totals, refined
from lightning_explain.attribution.integrated_gradients.marking import Goal
from lightning_explain.attribution.integrated_gradients.passes import memory_budget
from lightning_explain.attribution.integrated_gradients.path import Parts, StraightPath, weighted_gradients
from lightning_explain.attribution.integrated_gradients.path_ends import at_baseline, end_scores
from lightning_explain.attribution.integrated_gradients.pieces import TRAPEZOIDS, PieceRule
from lightning_explain.attribution.integrated_gradients.quadrature import (
    SPLIT_BOUNDS,
    QuadratureRule,
    relative_distance,
    second_differences,
    split_error,
)
from lightning_explain.attribution.result import flat
from lightning_explain.attribution.scores import check_finite

EXPECTED_NODES = 32
"""For so many gradients of each sample there must be memory, when the samples that are refined together are chosen."""


@dataclass(frozen=True)
class Integral:
    """Attributions along a path, with what is known of their quality; per sample.

    Attributes:
        values: The attributions, each [batch, ...].
        coarse: The same by a coarser rule; None where there is none.
        change: F(input) - F(baseline) [batch].
        error: Estimated relative L1 error [batch].
        per_distance: Error of an average over several paths, over its distance from the coarser average [batch].
        n_evaluations: Gradient evaluations spent [batch].
        unfinished: Whether the points ran out before error and completeness gap were within the tolerance [batch].
    """

    values: Parts
    coarse: Parts | None
    change: Tensor
    error: Tensor
    per_distance: Tensor
    n_evaluations: Tensor
    unfinished: Tensor


def _scaled(path: StraightPath, sums: Parts, factor: float) -> Parts:
    return path.attributed(tuple(total * step * factor for total, step in zip(sums, path.displacement(), strict=True)))


def integrate_fixed(path: StraightPath, rule: QuadratureRule) -> Integral:
    """Integrate with a fixed rule.

    The error estimate compares the rule's even points with its odd ones and sums second differences, at no further
    evaluation; NaN for one point.

    Cost: a gradient evaluation per node and sample, one forward pass at the inputs and one at the baselines.
    """
    n_steps = len(rule.nodes)
    even = torch.arange(n_steps) % 2 == 0
    halves = torch.stack([torch.where(even, rule.weights, 0.0), torch.where(even, 0.0, rule.weights)])
    weights = torch.cat([halves, second_differences(rule)]) if n_steps > 1 else halves[:1]
    sums, scores = weighted_gradients(path, rule.nodes, weights)
    values = _scaled(path, tuple(total[:2].sum(0) for total in sums), 1.0)
    change = end_scores(path)
    check_finite(values, scores.sum(0) + change, path.inputs)
    coarse, error = None, torch.full_like(change, torch.nan)
    if n_steps > 1:
        shares = halves.sum(1).tolist()
        coarse, other = (_scaled(path, tuple(t[i] for t in sums), 1 / shares[i]) for i in (0, 1))
        bends = [_scaled(path, tuple(t[i] for t in sums), 1.0) for i in range(2, len(weights))]
        error = _fixed_error(values, coarse, other, bends, change, rule.name)
    return Integral(
        values,
        coarse,
        change,
        error,
        per_distance=torch.full_like(change, SPLIT_BOUNDS[rule.name].average),
        n_evaluations=torch.full((len(path),), n_steps),
        unfinished=torch.zeros_like(change, dtype=torch.bool),
    )


def _fixed_error(
    values: Parts, coarse: Parts, other: Parts, bends: Sequence[Parts], change: Tensor, rule: str
) -> Tensor:
    """State the error of a fixed rule [batch]."""
    size, total = flat(values).abs().sum(1), flat(values).sum(1)
    split = (flat(coarse) - flat(other)).abs().sum(1)
    summed = (flat(coarse).sum(1) - flat(other).sum(1)).abs()
    bent = torch.stack([flat(parts).abs().sum(1) for parts in bends]).mean(0) if bends else split
    gap = (total - change).abs()
    known = split_error(split / size, bent / size, summed / size, gap / size, rule)
    return torch.where((split == 0) & (gap == 0), torch.zeros_like(size), known)


def integrate_adaptive(
    path: StraightPath, *, tolerance: float, max_steps: int, rule: PieceRule = TRAPEZOIDS
) -> Integral:
    """Bisect each sample's path where it helps, until the estimated error is within `tolerance`.

    The error is bounded from the distance between two rules on every piece, and from what the scores at the nodes say
    of kinks (see `Bound`). A sample stops when its error and its completeness gap are at most `tolerance`, or when it
    has `max_steps` nodes. Where the scores tell of no kinks, its values are those of a cubic spline through the nodes.

    Cost: 5, 7, 9, ... gradient evaluations per sample (9, 13, 17, ... by Boole's rule), and memory for the gradients at
    32 nodes of as many samples as the memory budget has room for.
    """
    beginning, start_scores = at_baseline(path)
    goal = Goal(error=tolerance, gap=tolerance, max_steps=max_steps)
    together = _samples_together(path, beginning)
    found: list[Totals] = []
    for first in range(0, len(path), together):
        samples = range(first, min(first + together, len(path)))
        chosen = slice(samples.start, samples.stop)
        found.append(refined(path.block(samples).with_ends(), beginning[chosen], start_scores[chosen], goal, rule))
    totals = Totals.joined(found)
    check_finite((totals.values,), totals.change, path.inputs)
    return Integral(
        values=_as_parts(totals.values, path),
        coarse=_as_parts(totals.values - totals.difference, path),
        change=totals.change,
        error=totals.error,
        per_distance=totals.per_distance,
        n_evaluations=totals.n_evaluations.cpu(),
        unfinished=totals.unfinished,
    )


def _samples_together(path: StraightPath, contributions: Tensor) -> int:
    """Return the number of samples that are refined at a time, so that the gradients at their nodes fit into memory."""
    budget = memory_budget(path.device) if path.limit.budget is None else path.limit.budget
    at_first_layer = 0 if path.first_layer is None else path.first_layer.bytes_per_sample
    return max(1, budget // (EXPECTED_NODES * contributions[:1].nbytes + at_first_layer))


def _as_parts(values: Tensor, path: StraightPath) -> Parts:
    """Undo laying the floating-point parts side by side; what is only carried along gets zeros."""
    parts: list[Tensor] = []
    for x, shape in zip(path.inputs, path.shapes(), strict=True):
        if not x.is_floating_point():
            parts.append(torch.zeros(shape, device=x.device))
            continue
        own, values = values.split([shape[1:].numel(), values.shape[1] - shape[1:].numel()], dim=1)
        parts.append(own.reshape(shape).to(x.dtype))
    return tuple(parts)


def averaged(integrals: Sequence[Integral]) -> Integral:
    """Average the integrals along several paths to the same inputs; evaluations add up.

    The errors of single paths partly cancel, so that they cannot be averaged themselves: the distance of the average
    from its coarser twin says what is left.

    Args:
        integrals: One for each path.
    """
    if len(integrals) == 1:
        return integrals[0]
    values = _mean_of_parts([integral.values for integral in integrals])
    coarse = _mean_of_parts([integral.coarse for integral in integrals if integral.coarse is not None])
    error = torch.full_like(integrals[0].error, torch.nan)
    per_distance = torch.stack([integral.per_distance for integral in integrals]).mean(0)
    if coarse:
        error = per_distance * relative_distance(flat(values), flat(coarse))
    change = torch.stack([integral.change for integral in integrals]).mean(0)
    gap = (flat(values).sum(1) - change).abs()
    error = torch.where(gap == 0, error, torch.maximum(error, gap / flat(values).abs().sum(1)))
    return Integral(
        values,
        coarse or None,
        change,
        error,
        per_distance,
        torch.stack([integral.n_evaluations for integral in integrals]).sum(0),
        torch.stack([integral.unfinished for integral in integrals]).any(0),
    )


def _mean_of_parts(several: Sequence[Parts]) -> Parts:
    return tuple(torch.stack(parts).mean(0) for parts in zip(*several, strict=True))
