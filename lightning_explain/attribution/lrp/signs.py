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

COARSE = 1e-6
"""Relative rounding from which on sums by sign are not taken from a difference of two larger ones."""


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


def where_negative(values: Tensor, z: Tensor, *, out: Tensor, below: float = 0.0) -> Tensor:
    """Keep values where `z < 0`, and 0 (also of NaN) elsewhere."""
    return torch.ops.aten.hardtanh_backward.grad_input(values, z, -math.inf, below, grad_input=out)


def by_sign(for_positive: Tensor, for_negative: Tensor, a: Tensor) -> Tensor:
    """Take the first where `a >= 0` and the second elsewhere, in place; a tenth of the time of `where`.

    Example:
        >>> by_sign(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([5.0, 5.0, 5.0]), torch.tensor([2.0, 0.0, -2.0]))
        tensor([1., 1., 5.])
    """
    least = -torch.finfo(a.dtype).tiny
    torch.ops.aten.threshold_backward.grad_input(for_positive, a, least, grad_input=for_positive)
    return for_positive.add_(where_negative(for_negative, a, out=for_negative, below=least))


def is_zero(a: Tensor) -> bool:
    """Return True if all entries are zero; a fifth of the time of comparing them one by one."""
    # not aminmax, which takes ten times as long as both
    return a.numel() == 0 or (float(a.amin()) == 0 and float(a.amax()) == 0)


def is_nonnegative(a: Tensor) -> bool:
    """Return True if no entry is negative, as after a ReLU: known from its computation, or looked up."""
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

    def totals(self, a: Tensor, *, nonnegative: bool, z: Tensor | None = None) -> Tensor:
        """Sum each output's contributions.

        Args:
            a: The layer's input.
            nonnegative: Whether `a` is known to be that.
            z: The layer's output, if it is at hand; where relevance arrives it must be that of `a`.

        Cost: one application; two where inputs are negative and no output is given (or is too coarse).
        """
        if nonnegative:
            return self.layer.apply(a, self.for_positive, self.bias)
        if z is not None and torch.finfo(a.dtype).eps < COARSE:
            # the sums of both signs add up to `z`, and differ by the sum of the sizes
            half = (self.positive - self.negative) / 2
            bias = self.layer.bias
            sizes = self.layer.apply(
                a.abs(), self.layer.weight.abs() * half, bias if bias is None else bias.abs() * half
            )
            return sizes.add_(z, alpha=(self.positive + self.negative) / 2)
        above, below = parts_by_sign(a)
        return self.layer.apply(above, self.for_positive, self.bias) + self.layer.apply(below, self.for_negative)

    def back(self, s: Tensor, a: Tensor, *, nonnegative: bool) -> Tensor:
        """Map shares back, without the factor `a_i`, so that inputs of zero do no harm. Cost: as `totals`."""
        if nonnegative:
            return self.layer.transpose(s, self.for_positive, a)
        for_positive, for_negative = (self.layer.transpose(s, w, a) for w in (self.for_positive, self.for_negative))
        return by_sign(for_positive, for_negative, a)

    def share_out(self, gradient: Tensor, a: Tensor, z: Tensor) -> Tensor:
        """Share the relevance `z * gradient` in proportion to the contributions: `R_i / a_i`."""
        nonnegative = is_nonnegative(a)
        total = self.totals(a, nonnegative=nonnegative, z=z)
        if not self.positive:
            total.neg_()
        # these totals have one sign; where they are zero there is nothing to share out
        functional.threshold(total, 0, math.inf, inplace=True)
        # in the memory of the totals: fresh memory costs more than what is done in it. In 16 bits a share may be beyond
        # the largest number, which would make NaN of a gradient of 0
        largest = torch.finfo(a.dtype).max
        shares = torch.div(z, total, out=total).clamp_(-largest, largest).mul_(gradient)
        return self.back(shares if self.positive else shares.neg_(), a, nonnegative=nonnegative)
