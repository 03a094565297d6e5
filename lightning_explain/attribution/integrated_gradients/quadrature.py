"""Rules for the integral along the straight path from baseline to input."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SplitBound:
    """Factors of a fixed rule's stated error, fitted to networks other than those of `benchmarks/stated_errors.py`.

    Attributes:
        smooth: Error over the geometric mean of the split and the second differences, at least.
        jumping: What jumps of the gradient add to that.
        gap: Completeness gap over the split of the summed attributions, where half of the error is taken for jumps.
        average: Error over the distance between the rule and its even points for an average over several paths.
    """

    smooth: float
    jumping: float
    gap: float
    average: float


SPLIT_BOUNDS = {
    "gauss_legendre": SplitBound(smooth=0.067, jumping=0.44, gap=0.0042, average=0.92),
    "midpoint": SplitBound(smooth=0.3, jumping=0.2, gap=0.037, average=0.8),
}
"""By rule."""

N_INTERLEAVED = 3
"""Over so many sets of points second differences are summed, each on its own: where jumps lie is chance, of which one
sum says little."""


def second_differences(rule: "QuadratureRule") -> Tensor:
    """Return weights of nodes that leave nothing of a linear function, interleaved: [sets, nodes].

    Row `j` sums `(x[i+1] - x[i-1]) / 2 * (g[i-1] - 2 g[i] + g[i+1])` over every third node `i`, so that each jump of g
    counts, and what is smooth hardly does. No rows for fewer than three nodes.

    Example:
        >>> second_differences(midpoint(4)) * 4
        tensor([[ 1., -2.,  1.,  0.],
                [ 0.,  1., -2.,  1.]], dtype=torch.float64)
    """
    n = len(rule.nodes)
    weights = torch.zeros(min(N_INTERLEAVED, max(n - 2, 0)), n, dtype=torch.float64)
    for i in range(1, n - 1):
        half = (rule.nodes[i + 1] - rule.nodes[i - 1]) / 2
        weights[(i - 1) % N_INTERLEAVED, i - 1 : i + 2] += half * torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    return weights


def split_error(split: Tensor, bends: Tensor, summed_split: Tensor, gap: Tensor, rule: str) -> Tensor:
    """Bound the error of a fixed rule by the distance between its halves, and by second differences [batch].

    Args:
        split: Relative L1 distance between the attributions by the even points and by the odd ones [batch].
        bends: Relative L1 size of `second_differences`, the mean over their sets [batch].
        summed_split: As `split`, of the sums of the attributions, relative to sum |values| [batch].
        gap: Completeness gap relative to sum |values| [batch].
        rule: Name of the rule.

    Example:
        >>> one = torch.ones(1)
        >>> split_error(one, one, one, one, "midpoint"), split_error(one, one / 4, one, 0 * one, "midpoint")
        (tensor([1.]), tensor([0.1500]))
    """
    bound = SPLIT_BOUNDS[rule]
    jumps = gap**2 / (gap**2 + (bound.gap * summed_split) ** 2)
    jumps = torch.where(gap == 0, torch.zeros_like(jumps), jumps)
    return torch.maximum((bound.smooth + bound.jumping * jumps) * (split * bends).sqrt(), gap)


ERROR_PER_REFINEMENT = 1.0
"""Bound on the L1 error over the distance between a nested rule and the one before it."""


@dataclass(frozen=True)
class QuadratureRule:
    """Nodes and weights on [0, 1]: the integral of g is about `sum(weights * g(nodes))`; float64 [n]."""

    nodes: Tensor
    weights: Tensor
    name: str


@lru_cache(maxsize=32)
def gauss_legendre(n_steps: int) -> QuadratureRule:
    """Return the Gauss-Legendre rule, exact for polynomials of degree `2 * n_steps - 1`.

    Example:
        >>> rule = gauss_legendre(3)
        >>> round(float((rule.weights * rule.nodes**5).sum()), 12) == round(1 / 6, 12)
        True
    """
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    return QuadratureRule(torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2), "gauss_legendre")


@lru_cache(maxsize=32)
def midpoint(n_steps: int) -> QuadratureRule:
    """Return the middles of equal steps. Where gradients jump, as in ReLU networks, no rule does better for its cost.

    Example:
        >>> midpoint(2).nodes
        tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    return QuadratureRule(refinement(n_steps), torch.full((n_steps,), 1 / n_steps, dtype=torch.float64), "midpoint")


RULES: dict[str, Callable[[int], QuadratureRule]] = {"gauss_legendre": gauss_legendre, "midpoint": midpoint}
"""Rules with a given number of nodes, by name."""


def refinement(n_intervals: int) -> Tensor:
    """Return the nodes that halve `n_intervals` equal intervals of [0, 1]: float64 [n_intervals].

    Example:
        >>> refinement(2)
        tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    return (torch.arange(n_intervals, dtype=torch.float64) + 0.5) / n_intervals


@lru_cache(maxsize=1024)
def spline_correction(nodes: tuple[float, ...]) -> Tensor:
    """Return weights of what the natural cubic spline through nodes adds to the trapezoids between them: float64 [n].

    Its second derivatives are linear in what is known at the nodes, so that the weights depend on the nodes alone. On
    equal nodes they are all but zero away from the ends; where spacing changes they take away most of what trapezoids
    are wrong by, as the Euler-Maclaurin formula would by first derivatives.

    Source: de Boor (1978), A Practical Guide to Splines, Chapter IV.

    Args:
        nodes: Rising positions, at least three.

    Example:
        >>> nodes = torch.linspace(0, 1, 5).double()
        >>> trapezoids = float(torch.trapezoid(torch.sin(3 * nodes), nodes))
        >>> better = trapezoids + float(spline_correction(tuple(nodes.tolist())) @ torch.sin(3 * nodes))
        >>> exact = (1 - np.cos(3.0)) / 3
        >>> bool(abs(better - exact) < abs(trapezoids - exact) / 20)
        True
    """
    step = torch.tensor(nodes, dtype=torch.float64).diff()
    slopes = torch.diff(torch.eye(len(nodes), dtype=torch.float64), dim=0) / step[:, None]
    system = torch.diag((step[1:] + step[:-1]) / 3) + torch.diag(step[1:-1] / 6, 1) + torch.diag(step[1:-1] / 6, -1)
    # the second derivatives at both ends are zero
    bends = torch.linalg.solve(system, slopes.diff(dim=0))
    return -((step[1:] ** 3 + step[:-1] ** 3) / 24) @ bends


def relative_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return `|a - b|_1 / |a|_1` for rows [batch, features]: [batch]; 0 where both are zero.

    Example:
        >>> relative_distance(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.5]]))
        tensor([0.2500])
    """
    difference, size = (a - b).abs().sum(1), a.abs().sum(1)
    return torch.where(difference == 0, torch.zeros_like(size), difference / size)
