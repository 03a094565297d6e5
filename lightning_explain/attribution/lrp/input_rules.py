"""Rules for layers that read the model's input, where an input of zero may get relevance too.

An image's black pixel is as much an observation as a white one, so these rules hand out relevance itself
rather than `activation * gradient`. Notation as in `rules`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.lrp.maps import AffineMap, transpose_each
from lightning_explain.attribution.lrp.rules import Rule
from lightning_explain.attribution.lrp.signs import parts_by_sign, share
from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import check_fields


class InputRule(ABC):
    """A rule for layers that read the model's input: an input of zero may get relevance too."""

    @abstractmethod
    def relevance(self, layer: AffineMap, a: Tensor, z: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input `a`, given the output `z` and its relevance."""


AnyRule = Rule | InputRule


def _per_total(layer: AffineMap, a: Tensor, relevance: Tensor, weight: Tensor) -> Tensor:
    """Divide by the weights that reach each output; one at a padded border has fewer inputs than the others."""
    return share(relevance, layer.apply(torch.ones_like(a[:1]), weight))


@dataclass(frozen=True)
class FlatRule(InputRule):
    """Flat: `R_i = sum_j R_j / n_j`: all `n_j` inputs of an output get the same.

    Source: Lapuschkin et al. (2019), Unmasking Clever Hans predictors, supplement; Bach et al. (2016).
    """

    def relevance(self, layer: AffineMap, a: Tensor, z: Tensor, relevance: Tensor) -> Tensor:
        """Share out evenly. Cost: a transposed application of a layer with one channel."""
        del z
        return layer.spread(_per_total(layer, a, relevance, torch.ones_like(layer.weight)), a)


@dataclass(frozen=True)
class WSquareRule(InputRule):
    """w2: `R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j`, for inputs that are not bounded.

    Source: Montavon et al. (2017), deep Taylor decomposition, their w2-rule.
    """

    def relevance(self, layer: AffineMap, a: Tensor, z: Tensor, relevance: Tensor) -> Tensor:
        """Share out by squared weight. Cost: one transposed application."""
        del z
        weight = layer.weight.square()
        return layer.transpose(_per_total(layer, a, relevance, weight), weight, a)


@dataclass(frozen=True)
class ZBoxRule(InputRule):
    """zB: `R_i = sum_j q_ij / sum_i q_ij R_j` with `q_ij = x_i w_ij - low_i (w_ij)+ - high_i (w_ij)-`.

    Source: Montavon et al. (2017), deep Taylor decomposition, their zB-rule; Montavon et al. (2019), section 10.3.2.

    Args:
        low: Smallest possible input: a number, or a tensor that broadcasts to one sample, e.g. [channels, 1, 1].
        high: Largest possible input.
    """

    low: float | Tensor
    high: float | Tensor

    def __post_init__(self) -> None:
        check_fields(self, ZBoxRule)
        if bool((torch.as_tensor(self.low) >= torch.as_tensor(self.high)).any()):
            raise ConfigurationError(f"low={self.low}, high={self.high}; expected low < high everywhere.")

    def relevance(self, layer: AffineMap, a: Tensor, z: Tensor, relevance: Tensor) -> Tensor:
        """Share out by distance from the box. Cost: two transposed applications, done as one.

        Raises:
            ConfigurationError: Some input lies outside the box.
        """
        low, high = (torch.as_tensor(end).to(a).expand_as(a[:1]) for end in (self.low, self.high))
        slack = 1e-5 * (high - low)
        if bool(((a < low - slack) | (a > high + slack)).any()):
            raise ConfigurationError(
                f"ZBoxRule got inputs from {float(a.min()):.4g} to {float(a.max()):.4g}, outside its box. Give low= "
                "and high= the smallest and largest value an input can take, after any normalisation."
            )
        above, below = parts_by_sign(layer.weight)
        # what reaches each output, without the bias
        total = z - layer.apply(low, above, layer.bias) - layer.apply(high, below)
        s = share(relevance, total)
        # a w - low (w)+ - high (w)-, where (w)- = w - (w)+
        by_weight, by_positive = transpose_each(layer, s, (layer.weight, above), a)
        return (a - high) * by_weight + (high - low) * by_positive
