"""Rules of layer-wise relevance propagation: each hands a layer's relevance down to its input.

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

from lightning_explain.attribution.lrp.maps import AffineMap
from lightning_explain.attribution.lrp.signs import Favouring, is_nonnegative, is_zero, where_negative, where_positive
from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import check_fields


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
        check_fields(self, EpsilonRule)
        if self.epsilon < 0:
            raise ConfigurationError(f"epsilon={self.epsilon}; expected 0 or a small positive number, e.g. 1e-6.")

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Scale the gradient by `|z| / (|z| + epsilon)`. Cost: one transposed application."""
        if self.epsilon:
            # in the memory of the denominators: fresh memory costs more than what is done in it
            size = z.abs().add_(self.epsilon)
            gradient = torch.addcdiv(gradient, gradient, size, value=-self.epsilon, out=size)
        return layer.transpose(gradient, layer.weight, a)


@dataclass(frozen=True)
class GammaRule(Rule):
    """LRP-gamma: contributions of the output's own sign count `1 + gamma` times.

    For `z_j >= 0`: `R_i = sum_j (c_ij + gamma (c_ij)+) / (z_j + gamma sum_i (c_ij)+) R_j`, and with `(.)-` for
    `z_j < 0`. On inputs >= 0 and outputs that a ReLU follows this is the usual rule; on others (the sum of a
    residual block may be fed by negative `z_j`) the usual denominator can vanish and this one cannot.

    Source: Montavon et al. (2019), section 10.2.1; for both signs Andeol et al. (2021), Learning domain invariant
    representations by joint Wasserstein distance minimization.

    Args:
        gamma: 0 gives LRP-0, infinity z+ (where `z_j` is positive).
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        check_fields(self, GammaRule)
        if self.gamma < 0:
            raise ConfigurationError(f"gamma={self.gamma}; expected 0 or more, e.g. 0.25.")

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out by sign of `z`. Cost: 2 applications, 3 where inputs or outputs are negative and count."""
        nonnegative = is_nonnegative(a)
        rising = Favouring(layer, 1 + self.gamma, 1)
        total = rising.totals(a, nonnegative=nonnegative, z=z)
        of_negative = self._of_negative(z, total, gradient)
        # in the memory of the totals: fresh memory costs more than what is done in it. A total is at least as large as
        # its output, rounding aside
        of_positive = torch.div(z, total, out=total).clamp_(0, 1).mul_(gradient)
        where_positive(of_positive, z, out=of_positive)
        if of_negative is None:
            return rising.back(of_positive, a, nonnegative=nonnegative)
        # inputs >= 0 get (w + gamma (w)+) of the one less (w + gamma (w)-) of the other, those < 0 the other way round:
        # with (w)+ and (w)- as the halves of w +- |w| two applications are enough for all four
        back = layer.transpose(of_positive - of_negative, layer.weight * (1 + self.gamma / 2), a)
        of_sizes = layer.transpose(of_positive.add_(of_negative), layer.weight.abs() * (self.gamma / 2), a)
        return back.add_(of_sizes) if nonnegative else torch.addcmul(back, of_sizes, a.sign(), out=back)

    def _of_negative(self, z: Tensor, total: Tensor, gradient: Tensor) -> Tensor | None:
        """Return the relevance of negative outputs, with its sign turned; None if nothing comes back from any.

        Args:
            z: The layer's output.
            total: `z + gamma * (sum of positive contributions)`. All contributions sum to `z`, so the total of negative
                outputs follows from it.
            gradient: At the output.
        """
        if is_nonnegative(z):
            return None
        shares = where_negative(gradient, z, out=torch.empty_like(z))
        if is_zero(shares):  # a ReLU follows
            return None
        torch.sub(total, z, alpha=2 + self.gamma, out=shares)
        torch.div(z, shares, out=shares).clamp_(-1, 0).mul_(gradient)
        return where_negative(shares, z, out=shares)


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
        check_fields(self, AlphaBetaRule)
        if self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise ConfigurationError(
                f"alpha={self.alpha}, beta={self.beta}; expected beta >= 0 and alpha - beta = 1, e.g. 2 and 1."
            )

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out among both signs. Cost: two applications per sign; three where negative inputs occur."""
        total = self.alpha * Favouring(layer, 1, 0).share_out(gradient, a, z)
        if self.beta:
            total -= self.beta * Favouring(layer, 0, 1).share_out(gradient, a, z)
        return total


@dataclass(frozen=True)
class ZPlusRule(Rule):
    """LRP-z+: `R_i = sum_j (c_ij)+ / sum_i (c_ij)+ R_j`, the same as alpha 1, beta 0.

    Source: Montavon et al. (2017), Explaining nonlinear classification decisions with deep Taylor decomposition,
    their z+-rule; for inputs of both signs Bach et al. (2015), Eq. 60.
    """

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Share out among positive contributions. Cost: two applications; three where negative inputs occur."""
        return Favouring(layer, 1, 0).share_out(gradient, a, z)
