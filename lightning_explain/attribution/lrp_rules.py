"""How one layer hands its relevance down: the rules of layer-wise relevance propagation.

Relevance is carried as `activation * gradient`, with a gradient that each rule modifies. So relevance of zero
activations is zero, sums, views, concatenations and pooling need no rule of their own, and nothing is divided
by a pre-activation that happens to be near zero. Notation, for input i and output j of a layer:
`c_ij = a_i w_ij` (contribution), `z_j = sum_i c_ij + b_j`, `R_j = z_j g_j`, and `(.)+`, `(.)-` the positive and
negative part. Biases take part in `z_j` like an input that is always 1, and keep their share.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp_maps import AffineMap
from lightning_explain.errors import ConfigurationError


class Rule(ABC):
    """A rule for any layer: relevance in proportion to the input's activation."""

    @abstractmethod
    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient at the layer's input, so that `R_i = a_i * gradient_i`.

        Args:
            layer: The map from `a` to `z`.
            a: The layer's input.
            z: Its output.
            gradient: Modified gradient at the output, shaped like `z`.
        """


def share(relevance: Tensor, total: Tensor) -> Tensor:
    """Divide by the total of the shares, in place; with no shares there is nothing to share out."""
    # most totals have one sign, which is found out ten times as fast as where they are zero
    if not (bool(total.amin() > 0) or bool(total.amax() < 0)):
        # adds 1 where it is zero; arithmetic, because a comparison takes longer than all of this
        total.add_(total.sign().abs_().neg_().add_(1.0))
    return relevance.div_(total)


def share_of_own_sign(relevance: Tensor, total: Tensor) -> Tensor:
    """Divide by totals that are zero only where the relevance is, in place; there nothing is shared out.

    So it is for gamma, whose totals are at least as large as the output that has the relevance. It takes a fifth of the
    time of `share`. NaN of the model itself shows in its score, which is refused.
    """
    return relevance.div_(total).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


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


def _scaled_by_sign(a: Tensor, above: float, below: float) -> Tensor:
    """Scale positive entries by one factor and negative ones by another, in one go and one scaling of the result."""
    return functional.leaky_relu(a, below / above).mul_(above)


@dataclass(frozen=True)
class Favouring:
    """A layer whose contributions `c_ij` count differently by their sign, which is that of input times weight.

    Attributes:
        layer: The layer.
        for_positive: Its weights for inputs >= 0.
        for_negative: Its weights for inputs < 0.
        bias: Its bias.
    """

    layer: AffineMap
    for_positive: Tensor
    for_negative: Tensor
    bias: Tensor | None

    @classmethod
    def only(cls, layer: AffineMap, *, positive: bool) -> "Favouring":
        """Let contributions (and biases) of one sign count once, the others not at all."""
        above, below = parts_by_sign(layer.weight)
        bias = None if layer.bias is None else parts_by_sign(layer.bias)[0 if positive else 1]
        return cls(layer, above, below, bias) if positive else cls(layer, below, above, bias)

    @classmethod
    def more(cls, layer: AffineMap, gamma: float, *, positive: bool) -> "Favouring":
        """Let contributions (and biases) of one sign count `1 + gamma` times, the others once."""
        above, below = (1 + gamma, 1.0) if positive else (1.0, 1 + gamma)
        bias = None if layer.bias is None else _scaled_by_sign(layer.bias, above, below)
        weight = layer.weight
        return cls(layer, _scaled_by_sign(weight, above, below), _scaled_by_sign(weight, below, above), bias)

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
        return self.back(share(relevance, self.totals(a, nonnegative=nonnegative)), a, nonnegative=nonnegative)


@dataclass(frozen=True)
class ZeroRule(Rule):
    """LRP-0: `R_i = sum_j c_ij / z_j R_j`. On ReLU networks it equals input times gradient.

    Source: Bach et al. (2015), Eq. 56; Montavon et al. (2019), section 10.2.1.
    """

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Return the plain gradient. Cost: one transposed application."""
        del z
        return layer.transpose(gradient, layer.weight, a)


@dataclass(frozen=True)
class EpsilonRule(Rule):
    """LRP-epsilon: `R_i = sum_j c_ij / (z_j + epsilon sign(z_j)) R_j` with sign(0) = +1; small `z_j` count less.

    Source: Bach et al. (2015), Eq. 58; Montavon et al. (2019), section 10.2.1.

    Args:
        epsilon: Absolute, in units of the layer's output; not negative.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.epsilon < 0:
            raise ConfigurationError(f"epsilon={self.epsilon}; expected 0 or a small positive number, e.g. 1e-6.")

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Scale the gradient by `|z| / (|z| + epsilon)`. Cost: one transposed application."""
        if self.epsilon:
            gradient = torch.addcdiv(gradient, gradient, z.abs().add_(self.epsilon), value=-self.epsilon)
        return layer.transpose(gradient, layer.weight, a)


@dataclass(frozen=True)
class GammaRule(Rule):
    """LRP-gamma: contributions of the output's own sign count `1 + gamma` times.

    For `z_j >= 0`: `R_i = sum_j (c_ij + gamma (c_ij)+) / (z_j + gamma sum_i (c_ij)+) R_j`, and with `(.)-` for
    `z_j < 0`. On inputs >= 0 and outputs that a ReLU follows this is the usual rule; on others (the sum of a
    residual block may be fed by negative `z_j`) the usual denominator can vanish and this one cannot.

    Source: Montavon et al. (2019), section 10.2.1; for both signs Andeol et al. (2021).

    Args:
        gamma: 0 gives LRP-0, infinity z+ (where `z_j` is positive).
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ConfigurationError(f"gamma={self.gamma}; expected 0 or more, e.g. 0.25.")

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out by sign of `z`. Cost: 2 applications, 3 where negative outputs count; twice that for inputs < 0."""
        nonnegative = is_nonnegative(a)
        rising = Favouring.more(layer, self.gamma, positive=True)
        total = rising.totals(a, nonnegative=nonnegative)
        of_negative = z.clamp(max=0).mul_(gradient)
        if is_zero(of_negative):
            # a ReLU follows, so nothing comes back from negative outputs
            return rising.back(share_of_own_sign(z * gradient, total), a, nonnegative=nonnegative)
        # total = z + gamma * (sum of positive contributions), and all contributions sum to z; the total of negative
        # outputs with its sign turned, and what comes back subtracted
        total_of_negative = torch.sub(total, z, alpha=2 + self.gamma)
        of_positive = z.clamp(min=0).mul_(gradient)
        back = rising.back(share_of_own_sign(of_positive, total), a, nonnegative=nonnegative)
        falling = Favouring.more(layer, self.gamma, positive=False)
        shares = share_of_own_sign(of_negative, total_of_negative)
        return back.sub_(falling.back(shares, a, nonnegative=nonnegative))


@dataclass(frozen=True)
class AlphaBetaRule(Rule):
    """LRP-alpha-beta: `R_i = sum_j (alpha (c_ij)+ / sum_i (c_ij)+ - beta (c_ij)- / sum_i (c_ij)-) R_j`.

    Where an output has no contributions of one sign, that term is zero and relevance is not conserved.

    Source: Bach et al. (2015), Eq. 60.

    Args:
        alpha: Weight of the positive contributions.
        beta: Weight of the negative ones; `alpha - beta` must be 1.
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise ConfigurationError(
                f"alpha={self.alpha}, beta={self.beta}; expected beta >= 0 and alpha - beta = 1, e.g. 2 and 1."
            )

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out among both signs. Cost: two applications per sign; four where negative inputs occur."""
        # the relevance is computed for each sign, since sharing it out overwrites it
        total = self.alpha * Favouring.only(layer, positive=True).share_out(z * gradient, a)
        if self.beta:
            total -= self.beta * Favouring.only(layer, positive=False).share_out(z * gradient, a)
        return total


@dataclass(frozen=True)
class ZPlusRule(Rule):
    """LRP-z+: `R_i = sum_j (c_ij)+ / sum_i (c_ij)+ R_j`, the same as alpha 1, beta 0.

    Source: Montavon et al. (2017), Explaining nonlinear classification decisions with deep Taylor decomposition,
    their z+-rule; for inputs of both signs Bach et al. (2015), Eq. 60.
    """

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out among positive contributions. Cost: two applications; four where negative inputs occur."""
        return Favouring.only(layer, positive=True).share_out(z * gradient, a)
