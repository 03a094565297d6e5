"""Similarity of two lists of numbers, row by row: directions, ranks, largest features, maps."""

import math

import torch
from torch import Tensor


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


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity (Wang et al. 2004) of two batches of maps [batch, channels, height, width].

    Each pair of maps is compared over its own joint value range; NaN where both are the same constant.

    Returns:
        Similarity [batch], 1 for equal maps.
    """
    # torchmetrics takes a second to import, and tabular data never need it
    from torchmetrics.functional.image import structural_similarity_index_measure  # noqa: PLC0415

    both = torch.stack([a, b]).flatten(2)
    low, high = both.amin((0, 2)), both.amax((0, 2))
    shape = (-1, *(1,) * (a.ndim - 1))
    span = (high - low).reshape(shape)
    window = min(11, *a.shape[-2:])
    window -= 1 - window % 2  # the window must be odd
    unit_a, unit_b = (a - low.reshape(shape)) / span, (b - low.reshape(shape)) / span
    similarity = structural_similarity_index_measure(
        unit_a.nan_to_num(),
        unit_b.nan_to_num(),
        gaussian_kernel=False,
        kernel_size=window,
        data_range=1.0,
        reduction="none",
    )
    return torch.where(high > low, torch.as_tensor(similarity).reshape(-1), torch.nan)
