"""How far an explanation moved: distances between two explanations of the same probe, each with its error."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.result import Attribution, flat, parts_of
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError

MEASURES = ("cosine", "spearman", "spearman_absolute", "top_k", "relative_l1", "ssim")
"""The distances of `drift`: 0 means unchanged, larger means further."""

TOP_SHARE = 0.1
"""The k of `top_k` is this share of the features, at least 1."""


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
        tensor([[2.5000, 1.0000, 2.5000]], dtype=torch.float64)
    """
    in_order = values.sort(dim=1).values.contiguous()
    below = torch.searchsorted(in_order, values.contiguous(), right=False)
    up_to = torch.searchsorted(in_order, values.contiguous(), right=True)
    return (below + up_to + 1).double() / 2


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation of rows [batch, features]: [batch], -1 to 1; NaN where a row is constant.

    Example:
        >>> spearman(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 4.0, 9.0]]))
        tensor([1.])
    """
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    return ((x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))).float()


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


def distances(values: Inputs, reference: Inputs, measures: Sequence[str] = MEASURES) -> dict[str, Tensor]:
    """Measure how far each sample's explanation is from its reference.

    Args:
        values: Attributions [batch, ...].
        reference: Attributions of the same shape to compare with.
        measures: Names from `MEASURES`; `ssim` is left out for anything but images [batch, channels, H, W].

    Returns:
        Distances [batch] by measure. Correlations, overlaps and similarities are turned into `1 - x`, so that 0
        means unchanged everywhere. NaN where a measure is undefined for a sample.

    Raises:
        ConfigurationError: The shapes differ, so these are explanations of two different probes.
    """
    shapes, reference_shapes = ([list(part.shape) for part in parts_of(each)] for each in (values, reference))
    if shapes != reference_shapes:
        raise ConfigurationError(
            f"Explanations of shape {shapes} and {reference_shapes} cannot be compared; expected the same probe twice."
        )
    a, b = flat(values), flat(reference)
    k = max(1, round(TOP_SHARE * a.shape[1]))
    first, first_reference = parts_of(values)[0], parts_of(reference)[0]
    is_image = first.ndim == 4 and min(first.shape[-2:]) >= 3
    by_name = {
        "cosine": lambda: cosine_distance(a, b),
        "spearman": lambda: 1 - spearman(a, b),
        "spearman_absolute": lambda: 1 - spearman(a.abs(), b.abs()),
        "top_k": lambda: 1 - top_k_overlap(a, b, k),
        "relative_l1": lambda: relative_l1(a, b),
        "ssim": lambda: 1 - structural_similarity(first.sum(1, keepdim=True), first_reference.sum(1, keepdim=True)),
    }
    return {name: by_name[name]() for name in measures if name != "ssim" or is_image}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The distance between two explanations of one probe.

    Attributes:
        values: Distance per sample [batch], by measure; NaN where undefined.
        coarse: The same distances between the coarser explanations; None where a method has no coarser one.
    """

    values: dict[str, Tensor]
    coarse: dict[str, Tensor] | None

    def mean(self, measure: str, samples: Tensor | None = None) -> float:
        """Average a measure over the samples for which it is defined (all, or those of a boolean mask)."""
        return _mean(self.values[measure], samples)

    def error(self, measure: str, samples: Tensor | None = None) -> float:
        """Estimate the quadrature error of `mean`: how far the samples moved from the coarser rule; NaN where unknown.

        The mean of the absolute differences: errors of single samples cancel out in the difference of the means,
        which then promises far too much.
        """
        if self.coarse is None:
            return float("nan")
        return _mean((self.values[measure] - self.coarse[measure]).abs(), samples)


def _mean(values: Tensor, samples: Tensor | None) -> float:
    return float((values if samples is None else values[samples]).nanmean())


def drift(now: Attribution, reference: Attribution, measures: Sequence[str] = MEASURES) -> Drift:
    """Measure how far an explanation moved from a reference explanation of the same probe.

    Args:
        now: The explanation.
        reference: What it is compared with; must explain the same targets of the same samples.
        measures: Names from `MEASURES`.

    Cost: none through the model; for images one SSIM.
    """
    coarse = None
    if now.coarse is not None and reference.coarse is not None:
        coarse = distances(now.coarse, reference.coarse, measures)
    return Drift(values=distances(now.values, reference.values, measures), coarse=coarse)
