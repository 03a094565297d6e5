"""Rules for the integral along the straight path from baseline to input."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

ERROR_PER_SPLIT = {"gauss_legendre": 0.46, "midpoint": 0.4}
"""By rule, what at least 95 % of true L1 errors stay below, over the distance between the two half rules, where the
gradient jumps; `benchmarks/stated_errors.py` measures it."""

SMOOTH_GAP = 0.01
"""Completeness gap over the same distance of the summed attributions, below which the gradient is taken for smooth."""

SMOOTH_SHARE = 0.1
"""The share of `ERROR_PER_SPLIT` that is stated at least, however small the gap is: it may be so by chance."""


def split_error(split: Tensor, summed_split: Tensor, gap: Tensor, rule: str) -> Tensor:
    """Bound the error of a fixed rule by the distance between its halves [batch].

    Args:
        split: Relative L1 distance between the attributions by the even points and by the odd ones [batch].
        summed_split: The same of their sums, relative to sum |values| [batch].
        gap: Completeness gap relative to sum |values| [batch].
        rule: Name of the rule.

    Example:
        >>> one = torch.ones(1)
        >>> split_error(one, one, one, "midpoint"), split_error(one, one, 0 * one, "midpoint")
        (tensor([1.]), tensor([0.0400]))
    """
    jumps = gap**2 / (gap**2 + (SMOOTH_GAP * summed_split) ** 2)
    jumps = torch.where(gap == 0, torch.zeros_like(jumps), jumps).clamp_min(SMOOTH_SHARE)
    return torch.maximum(ERROR_PER_SPLIT[rule] * jumps * split, gap)


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


def relative_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return `|a - b|_1 / |a|_1` for rows [batch, features]: [batch]; 0 where both are zero.

    Example:
        >>> relative_distance(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.5]]))
        tensor([0.2500])
    """
    difference, size = (a - b).abs().sum(1), a.abs().sum(1)
    return torch.where(difference == 0, torch.zeros_like(size), difference / size)
