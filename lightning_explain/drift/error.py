"""Numerical error of the distance of two explanations, by sample and of the mean."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

COVERAGE: Mapping[str, float] = {
    "cosine": 2.4,
    "spearman": 2.3,
    "spearman_absolute": 3.3,
    "top_k": 1.15,
    "relative_l1": 2.3,
    "ssim": 2.4,
    "mass_in_mask": 1.5,
}
"""By how much the error that is expected is multiplied, so that 95 of 100 true errors are smaller; for each measure.
Of normal errors that are known exactly it would be 2; the errors of attributions are themselves stated with room."""

BORROWED = 0.3
"""Share of a sample's squared error that is taken from the mean of the whole probe: a few samples of a class can agree
with the coarser rule by chance."""

MOST_PER_DISTANCE = 4.0
"""Largest error of an attribution relative to its distance from the coarser rule: where both rules agree by chance,
what little they differ says nothing of the direction of the error."""


@dataclass(frozen=True, kw_only=True)
class DistanceErrors:
    """The numerical errors of the samples' distances.

    Attributes:
        spread: Size of each sample's error [batch]; NaN where unknown.
        shift: The same with its sign [batch]: what the samples have in common does not cancel in their mean.
    """

    spread: Tensor
    shift: Tensor

    def of_mean(self, samples: Tensor) -> float:
        """Return the expected error of the mean distance of some samples, given by a boolean mask [batch].

        Errors of different samples partly cancel: their squares add up. What they have in common does not, and shows in
        a mean shift that is larger than independent errors would leave.
        """
        own, of_probe = self.spread.square(), self.spread.square().nanmean()
        squares = torch.where(own.isnan(), of_probe, (1 - BORROWED) * own + BORROWED * of_probe)
        independent = squares[samples].sum().sqrt() / samples.sum()
        common = self.shift[samples].nanmean().abs().nan_to_num()
        return float(torch.maximum(independent, common))


def distance_errors(
    distance: Tensor, *, coarse_now: Tensor, coarse_reference: Tensor, share_now: Tensor, share_reference: Tensor
) -> DistanceErrors:
    """Estimate the errors of distances from what becomes of them when one of the two explanations is a coarser one.

    An explanation's error is a share of the way to the coarser one, and so is what that error does to the distance.
    The errors of the two explanations are independent.

    Args:
        distance: The distances [batch].
        coarse_now: The same with the coarser form of one explanation [batch].
        coarse_reference: The same with the coarser form of the other [batch].
        share_now: Error of the first explanation relative to the way to its coarser form [batch].
        share_reference: The same of the other.
    """
    now = share_now * (coarse_now - distance)
    reference = share_reference * (coarse_reference - distance)
    return DistanceErrors(spread=torch.hypot(now, reference), shift=now + reference)


def error_share(error: Tensor | None, values: Tensor, coarse: Tensor) -> Tensor:
    """Return an attribution's error relative to the distance of `values` from the coarser ones: [batch].

    Args:
        error: Estimated relative L1 error [batch]; None, or NaN, where there is no estimate: then it is all of the way.
        values: Attributions [batch, features].
        coarse: The same by the coarser rule.
    """
    if error is None:
        return torch.ones_like(values[:, 0])
    way = (values - coarse).abs().sum(1) / values.abs().sum(1)
    return (error.to(way) / way).nan_to_num(nan=1.0).clamp(max=MOST_PER_DISTANCE)
