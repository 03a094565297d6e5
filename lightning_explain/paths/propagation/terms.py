"""Rules of layer-wise relevance propagation as sums of products, of which every factor has its own place."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.lrp.maps import AffineMap
from lightning_explain.attribution.lrp.rules import EpsilonRule, GammaRule, Rule, ZPlusRule
from lightning_explain.attribution.lrp.signs import Favouring, is_nonnegative, parts_by_sign, share


@dataclass(frozen=True, eq=False)
class Term:
    """One term of a rule: element i gets `a_i * sum_j weight_ij * s_j`.

    Attributes:
        weight: The layer's weights, as the rule changes them.
        s: Relevance per unit of output, shaped like it [batch, ...].
        sign: +1 or -1 where the term holds only for inputs of that sign (0 counts as positive); 0 for all.
    """

    weight: Tensor
    s: Tensor
    sign: int = 0


def _of_both_signs(positive: Tensor, negative: Tensor, s: Tensor, a: Tensor) -> list[Term]:
    return [Term(positive, s, 0)] if is_nonnegative(a) else [Term(positive, s, 1), Term(negative, s, -1)]


def _gamma_terms(rule: GammaRule, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> list[Term]:
    above = Favouring(layer, 1, 0).totals(a, nonnegative=is_nonnegative(a))
    s = share(z * gradient, torch.where(z >= 0, z + rule.gamma * above, z + rule.gamma * (z - above)))
    weight = layer.weight.detach()
    favour_positive, favour_negative = (weight + rule.gamma * part for part in parts_by_sign(weight))
    negative = s.masked_fill(z >= 0, 0.0)
    terms = _of_both_signs(favour_positive, favour_negative, s - negative, a)
    if bool(negative.any()):
        terms += _of_both_signs(favour_negative, favour_positive, negative, a)
    return terms


def terms_of(rule: Rule, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> tuple[Term, ...]:
    """Return a rule as a sum of terms, each a product of input, weight and output.

    Args:
        rule: Zero, epsilon, gamma or z+.
        layer: The map from `a` to `z`.
        a: What the layer read.
        z: Its output.
        gradient: Relevance divided by `z`.
    """
    weight = layer.weight.detach()
    if isinstance(rule, EpsilonRule):
        size = z.abs()
        return (Term(weight, gradient * size / (size + rule.epsilon) if rule.epsilon else gradient),)
    if isinstance(rule, GammaRule):
        return tuple(_gamma_terms(rule, layer, a, z, gradient))
    if isinstance(rule, ZPlusRule):
        total = Favouring(layer, 1, 0).totals(a, nonnegative=is_nonnegative(a))
        return tuple(_of_both_signs(*parts_by_sign(weight), share(z * gradient, total), a))
    return (Term(weight, gradient),)


def of_sign(part: Tensor, read: Tensor, sign: int) -> Tensor:
    """Keep a layer's part where its input has a sign; everything for sign 0."""
    if sign == 0:
        return part
    return torch.where(read >= 0 if sign > 0 else read < 0, part, torch.zeros_like(part))
