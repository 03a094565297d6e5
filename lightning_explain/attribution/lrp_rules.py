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
    low, high = total.aminmax()
    if bool((low <= 0) & (high >= 0)):
        total.masked_fill_(total == 0, 1.0)
    return relevance.div_(total)


def is_nonnegative(a: Tensor) -> bool:
    """Whether no entry is negative, as after a ReLU."""
    return a.numel() == 0 or bool(a.amin() >= 0)


def parts_by_sign(a: Tensor) -> tuple[Tensor, Tensor]:
    """Split into positive and negative part, which sum to `a`."""
    return a.clamp(min=0), a.clamp(max=0)


def _clamped(values: Tensor, *, positive: bool) -> Tensor:
    return values.clamp(min=0) if positive else values.clamp(max=0)


def one_sign_total(layer: AffineMap, a: Tensor, *, positive: bool, nonnegative: bool) -> Tensor:
    """Sum the contributions of one sign: `sum_i (c_ij)+ + (b_j)+`, or the same with `-`; shaped like the output.

    Cost: one application of the layer, two unless `a` is known to be nonnegative.
    """
    same, bias = _clamped(layer.weight, positive=positive), layer.bias
    bias = bias if bias is None else _clamped(bias, positive=positive)
    if nonnegative:
        return layer.apply(a, same, bias)
    a_above, a_below = parts_by_sign(a)
    return layer.apply(a_above, same, bias) + layer.apply(a_below, _clamped(layer.weight, positive=not positive))


def back_by_sign(layer: AffineMap, s: Tensor, a: Tensor, *, for_positive: Tensor, for_negative: Tensor) -> Tensor:
    """Map `s` back with weights that depend on the sign of each input. Cost: two transposed applications."""
    return torch.where(a >= 0, layer.transpose(s, for_positive, a), layer.transpose(s, for_negative, a))


def one_sign_gradient(layer: AffineMap, a: Tensor, relevance: Tensor, *, positive: bool) -> Tensor:
    """Share out the relevance, which is overwritten, among contributions of one sign.

    Returns:
        That divided by `a_i`, so that inputs of zero do no harm.
    """
    nonnegative = is_nonnegative(a)
    s = share(relevance, one_sign_total(layer, a, positive=positive, nonnegative=nonnegative))
    same = _clamped(layer.weight, positive=positive)
    if nonnegative:
        return layer.transpose(s, same, a)
    return back_by_sign(layer, s, a, for_positive=same, for_negative=_clamped(layer.weight, positive=not positive))


@dataclass(frozen=True)
class ZeroRule(Rule):
    """LRP-0: `R_i = sum_j c_ij / z_j R_j`. On ReLU networks it equals input times gradient.

    Source: Bach et al. (2015), Eq. 56; Montavon et al. (2019), section 10.2.
    """

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Return the plain gradient. Cost: one transposed application."""
        del z
        return layer.transpose(gradient, layer.weight, a)


@dataclass(frozen=True)
class EpsilonRule(Rule):
    """LRP-epsilon: `R_i = sum_j c_ij / (z_j + epsilon sign(z_j)) R_j` with sign(0) = +1; small `z_j` count less.

    Source: Bach et al. (2015), Eq. 58.

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

    Source: Montavon et al. (2019), section 10.2.3; for both signs Andeol et al. (2021).

    Args:
        gamma: 0 gives LRP-0, infinity z+ (where `z_j` is positive).
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ConfigurationError(f"gamma={self.gamma}; expected 0 or more, e.g. 0.25.")

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out by sign of `z`. Cost: 2 applications; 3 where negative outputs, 6 where negative inputs occur."""
        nonnegative, relevance = is_nonnegative(a), z * gradient
        above = one_sign_total(layer, a, positive=True, nonnegative=nonnegative)
        s = share(relevance, torch.where(z >= 0, z + self.gamma * above, z + self.gamma * (z - above)))
        negative = s.masked_fill(z >= 0, 0.0)
        if not bool(negative.any()):
            # a ReLU follows, so nothing comes back from negative outputs
            return self._back(layer, s, a, favoured=1, nonnegative=nonnegative)
        of_positive = self._back(layer, s - negative, a, favoured=1, nonnegative=nonnegative)
        return of_positive + self._back(layer, negative, a, favoured=-1, nonnegative=nonnegative)

    def _back(self, layer: AffineMap, s: Tensor, a: Tensor, *, favoured: int, nonnegative: bool) -> Tensor:
        """Map `s` back, favouring contributions of one sign."""
        own, other = (
            layer.weight + self.gamma * _clamped(layer.weight, positive=favoured * sign > 0) for sign in (1, -1)
        )
        if nonnegative:
            return layer.transpose(s, own, a)
        return back_by_sign(layer, s, a, for_positive=own, for_negative=other)


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
        total = self.alpha * one_sign_gradient(layer, a, z * gradient, positive=True)
        if self.beta:
            total -= self.beta * one_sign_gradient(layer, a, z * gradient, positive=False)
        return total


@dataclass(frozen=True)
class ZPlusRule(Rule):
    """LRP-z+: `R_i = sum_j (c_ij)+ / sum_i (c_ij)+ R_j`, the same as alpha 1, beta 0.

    Source: Montavon et al. (2017), section 4; for inputs of both signs Bach et al. (2015), Eq. 60.
    """

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out among positive contributions. Cost: two applications; four where negative inputs occur."""
        return one_sign_gradient(layer, a, z * gradient, positive=True)
