"""Similarity of two lists of numbers, row by row: directions, ranks, largest features, maps."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 - cos of the angle between rows [batch, features]: [batch], 0 to 2; NaN where a row is all zero.

    Computed as half the squared distance of the unit vectors, which keeps small distances exact.

    Example:
        >>> cosine_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([1.])
    """
    a, b = a.double(), b.double()
    norm_a, norm_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    return ((a / norm_a - b / norm_b).square().sum(1) / 2).float()


def ranks(values: Tensor) -> Tensor:
    """Rank each row [batch, features] from 1; ties share the mean of their ranks (Spearman 1904).

    Example:
        >>> ranks(torch.tensor([[3.0, 1.0, 3.0]]))
        tensor([[2.5000, 1.0000, 2.5000]])
    """
    in_order = values.sort(dim=1).values.contiguous()
    below = torch.searchsorted(in_order, values.contiguous(), right=False)
    up_to = torch.searchsorted(in_order, values.contiguous(), right=True)
    # exact in 32 bits up to 8 million features
    return (below + up_to + 1).float() / 2


def rank_direction(values: Tensor) -> Tensor:
    """Return the centred ranks of rows [batch, features] at length 1; NaN where a row is constant: it has no order.

    The scalar product of two of them is Spearman's correlation.
    """
    centred = ranks(values) - (values.shape[1] + 1) / 2
    # a constant has length 0; 64 bits, because a million squares of ranks add up
    return (centred / centred.double().norm(dim=1, keepdim=True)).float()


def correlation(direction_a: Tensor, direction_b: Tensor) -> Tensor:
    """Return the scalar product of unit vectors; by their distance, which keeps correlations near 1 exact."""
    return (1 - (direction_a.double() - direction_b.double()).square().sum(1) / 2).float()


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation of rows [batch, features]: [batch], -1 to 1; NaN where a row is constant.

    Example:
        >>> spearman(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 4.0, 9.0]]))
        tensor([1.])
    """
    return correlation(rank_direction(a), rank_direction(b))


def top_k_overlap(a: Tensor, b: Tensor, k: int) -> Tensor:
    """Return |A and B| / k, A and B being the k features of largest absolute value (Ghorbani, Abid, Zou 2019).

    Args:
        a: Rows [batch, features].
        b: Rows of the same shape.
        k: Number of features, 1 to all.

    Returns:
        Share [batch], 0 to 1; NaN where a row has fewer than k features that are not zero, because which zeros
        would count as "top" is chance.

    Example:
        >>> top_k_overlap(torch.tensor([[3.0, -2.0, 1.0]]), torch.tensor([[3.0, 1.0, 2.0]]), k=2)
        tensor([0.5000])
    """
    in_a = torch.zeros_like(a, dtype=torch.bool).scatter(1, a.abs().topk(k, dim=1).indices, value=True)
    in_b = torch.zeros_like(b, dtype=torch.bool).scatter(1, b.abs().topk(k, dim=1).indices, value=True)
    overlap = (in_a & in_b).sum(1) / k
    defined = ((a != 0).sum(1) >= k) & ((b != 0).sum(1) >= k)
    return torch.where(defined, overlap, torch.nan)


def top_k_spread(values: Tensor, errors: Tensor, k: int) -> Tensor:
    """Return by how much `top_k_overlap` varies where each value has a normal error: a standard deviation [batch].

    Top-k sets change in jumps, so that two rules may agree on them by chance. What decides is how close the values
    lie to the border between the k-th and the next largest: each is on the other side of it with a probability p, and
    contributes the variance p (1 - p) / k^2.

    Args:
        values: Rows [batch, features].
        errors: Standard deviation of each value, in the same units.
        k: Number of features, 1 to all.

    Example:
        >>> values = torch.tensor([[3.0, 2.0, 1.0]])
        >>> top_k_spread(values, torch.full_like(values, 0.01), k=2), top_k_spread(values, torch.ones_like(values), k=2)
        (tensor([0.]), tensor([0.3497]))
    """
    if k == values.shape[1]:
        return torch.zeros_like(values[:, 0])
    size = values.abs()
    border = size.topk(k + 1, dim=1).values[:, k - 1 :].mean(1, keepdim=True)
    # a value without an error stays where it is, also at the border
    crossing = torch.where(errors > 0, torch.special.erfc((size - border).abs() / errors / math.sqrt(2)) / 2, 0.0)
    return (crossing * (1 - crossing)).sum(1).sqrt() / k


def relative_l1(a: Tensor, b: Tensor) -> Tensor:
    """Return |a - b|_1 / |b|_1 of rows [batch, features]: [batch]; NaN where b is all zero.

    Example:
        >>> relative_l1(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 0.0]]))
        tensor([1.])
    """
    size = b.abs().sum(1)
    return torch.where(size > 0, (a - b).abs().sum(1) / size, torch.nan)


WINDOW = 11
C1, C2 = 0.01**2, 0.03**2
"""Of structural similarity: side of the window, and constants for values of 0 to 1."""


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity (Wang et al. 2004) of two batches of maps [batch, channels, height, width].

    Each pair of maps is compared over its own joint value range; NaN where both are the same constant.

    Returns:
        Similarity [batch], 1 for equal maps.
    """
    both = torch.stack([a, b])
    flat = both.flatten(2)
    low, high = flat.amin((0, 2)), flat.amax((0, 2))
    shape = (-1, *(1,) * (a.ndim - 1))
    unit_a, unit_b = ((both - low.reshape(shape)) / (high - low).reshape(shape)).nan_to_num()
    side = min(WINDOW, *a.shape[-2:])
    side -= 1 - side % 2  # the window must be odd
    means = _window_means(torch.stack([unit_a, unit_b, unit_a**2, unit_b**2, unit_a * unit_b]), side)
    mean_a, mean_b = means[:2]
    variance_a, variance_b = (means[2] - mean_a**2).clamp_min(0), (means[3] - mean_b**2).clamp_min(0)
    alike = (2 * mean_a * mean_b + C1) * (2 * (means[4] - mean_a * mean_b) + C2)
    similarity = alike / ((mean_a**2 + mean_b**2 + C1) * (variance_a + variance_b + C2))
    return torch.where(high > low, similarity.flatten(1).mean(1), torch.nan)


def _window_means(maps: Tensor, side: int) -> Tensor:
    """Average maps [..., height, width] over a square window at each place, mirrored beyond the edges.

    Along one side, then the other: so that a window takes as many sums as it has rows and columns.
    """
    flat = functional.pad(maps.flatten(0, -3), (side // 2,) * 4, mode="reflect")
    columns = functional.avg_pool2d(flat, (side, 1), stride=1)
    return functional.avg_pool2d(columns, (1, side), stride=1).unflatten(0, maps.shape[:-2])
