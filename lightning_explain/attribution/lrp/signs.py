"""Contributions by their sign: what rules of relevance propagation that favour one sign have in common.

Notation as in `rules`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp.maps import AffineMap


def share(relevance: Tensor, total: Tensor) -> Tensor:
    """Divide by the total of the shares, in place; with no shares there is nothing to share out."""
    # most totals have one sign, which is found out ten times as fast as where they are zero
    if total.numel() and not (bool(total.amin() > 0) or bool(total.amax() < 0)):
        # adds 1 where it is zero; arithmetic, because a comparison takes longer than all of this
        total.add_(total.sign().abs_().neg_().add_(1.0))
    return relevance.div_(total)


def where_positive(values: Tensor, z: Tensor, *, out: Tensor) -> Tensor:
    """Keep values where `z > 0`, and 0 (also of NaN) elsewhere: the gradient of a ReLU, far quicker than `where`."""
    return torch.ops.aten.threshold_backward.grad_input(values, z, 0, grad_input=out)


def where_negative(values: Tensor, z: Tensor, *, out: Tensor) -> Tensor:
    """Keep values where `z < 0`, and 0 (also of NaN) elsewhere."""
    return torch.ops.aten.hardtanh_backward.grad_input(values, z, -math.inf, 0, grad_input=out)


def is_zero(a: Tensor) -> bool:
    """Whether all entries are zero; a fifth of the time of comparing them one by one."""
    # not aminmax, which takes ten times as long as both
    return a.numel() == 0 or (float(a.amin()) == 0 and float(a.amax()) == 0)


def is_nonnegative(a: Tensor) -> bool:
    """Whether no entry is negative, as after a ReLU: known from how it was computed, or looked up."""
    if type(a.grad_fn).__name__.startswith("ReluBackward"):
        return True
    return a.numel() == 0 or bool(a.amin() >= 0)


def parts_by_sign(a: Tensor) -> tuple[Tensor, Tensor]:
    """Split into positive and negative part, which sum to `a`."""
    return a.clamp(min=0), a.clamp(max=0)


def _by_sign(a: Tensor, above: float, below: float) -> Tensor:
    """Scale positive entries by one factor and negative ones by another, one of which is not 0."""
    if above == 0:
        return a.clamp(max=0).mul_(below)
    scaled = functional.leaky_relu(a, below / above)
    return scaled if above == 1 else scaled.mul_(above)


@dataclass(frozen=True)
class Favouring:
    """A layer whose contributions `c_ij` count differently by their sign, which is that of input times weight.

    Attributes:
        layer: The layer.
        positive: How often a positive contribution (or bias) counts.
        negative: How often a negative one does.
    """

    layer: AffineMap
    positive: float
    negative: float

    @cached_property
    def for_positive(self) -> Tensor:
        """Return the weights for inputs >= 0."""
        return _by_sign(self.layer.weight, self.positive, self.negative)

    @cached_property
    def for_negative(self) -> Tensor:
        """Return the weights for inputs < 0."""
        return _by_sign(self.layer.weight, self.negative, self.positive)

    @property
    def bias(self) -> Tensor | None:
        """Return the bias."""
        bias = self.layer.bias
        return None if bias is None else _by_sign(bias, self.positive, self.negative)

    def totals(self, a: Tensor, *, nonnegative: bool) -> Tensor:
        """Sum each output's contributions. Cost: one application, two unless `a` is known to be nonnegative."""
        if nonnegative:
            return self.layer.apply(a, self.for_positive, self.bias)
        above, below = parts_by_sign(a)
        return self.layer.apply(above, self.for_positive, self.bias) + self.layer.apply(below, self.for_negative)

    def back(self, s: Tensor, a: Tensor, *, nonnegative: bool) -> Tensor:
        """Map shares back, without the factor `a_i`, so that inputs of zero do no harm. Cost: as `totals`."""
        if nonnegative:
            return self.layer.transpose(s, self.for_positive, a)
        for_positive, for_negative = (self.layer.transpose(s, w, a) for w in (self.for_positive, self.for_negative))
        return torch.where(a >= 0, for_positive, for_negative)

    def share_out(self, relevance: Tensor, a: Tensor) -> Tensor:
        """Share the relevance, which is overwritten, in proportion to the contributions: `R_i / a_i`."""
        nonnegative = is_nonnegative(a)
        total = self.totals(a, nonnegative=nonnegative)
        # these totals have one sign; where they are zero there is nothing to share out
        keep = where_positive if self.positive else where_negative
        return self.back(keep(relevance.div_(total), total, out=relevance), a, nonnegative=nonnegative)
