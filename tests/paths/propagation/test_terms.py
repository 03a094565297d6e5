"""Rules of relevance propagation as sums of products: against loops over single contributions."""

import pytest
import torch
from torch import Tensor

from lightning_explain.attribution import EpsilonRule, GammaRule, ZeroRule, ZPlusRule
from lightning_explain.attribution.lrp.maps import Dense
from lightning_explain.paths.propagation.terms import of_sign, terms_of


def drawn(n_in: int, n_out: int) -> tuple[Dense, Tensor, Tensor]:
    """A dense layer, signed inputs of which one is zero, and relevance of its outputs."""
    torch.manual_seed(0)
    layer = Dense(torch.randn(n_out, n_in).double(), torch.randn(n_out).double())
    a = torch.randn(3, n_in).double()
    a[0, 0] = 0.0
    return layer, a, torch.randn(3, n_out).double()


def by_terms(rule: object, layer: Dense, a: Tensor, relevance: Tensor) -> Tensor:
    """Relevance of the inputs: of every term, input times weight times output."""
    z = layer.apply(a, layer.weight, layer.bias)
    terms = terms_of(rule, layer, a, z, relevance / z)
    return sum((of_sign(a, a, term.sign) * (term.s @ term.weight) for term in terms), torch.zeros_like(a))


def by_loops(rule: object, layer: Dense, a: Tensor, relevance: Tensor) -> Tensor:
    """The same from the rules' definitions, one contribution at a time."""
    found = torch.zeros_like(a)
    for sample, inputs in enumerate(a.tolist()):
        for j, weights in enumerate(layer.weight.tolist()):
            parts = [x * w for x, w in zip(inputs, weights, strict=True)]
            bias = float(layer.bias[j])
            z = sum(parts) + bias
            side = 1 if z >= 0 else -1
            if isinstance(rule, EpsilonRule):
                total = z + rule.epsilon * side
            elif isinstance(rule, GammaRule):
                favoured = [rule.gamma * part * (part * side > 0) for part in (*parts, bias)]
                parts = [part + more for part, more in zip(parts, favoured, strict=False)]
                total = z + sum(favoured)
            elif isinstance(rule, ZPlusRule):
                total = sum(max(part, 0.0) for part in (*parts, bias))
                parts = [max(part, 0.0) for part in parts]
            else:
                total = z
            for i, part in enumerate(parts):
                found[sample, i] += part / total * float(relevance[sample, j]) if total else 0.0
    return found


@pytest.mark.parametrize(
    "rule", [ZeroRule(), EpsilonRule(0.1), EpsilonRule(0.0), GammaRule(0.5), ZPlusRule()], ids=repr
)
@pytest.mark.parametrize("signed", [False, True])
def test_the_terms_of_a_rule_add_up_to_its_definition(rule: object, signed: bool) -> None:
    layer, a, relevance = drawn(4, 5)
    a = a if signed else a.abs()
    torch.testing.assert_close(by_terms(rule, layer, a, relevance), by_loops(rule, layer, a, relevance))


def test_inputs_without_a_negative_one_need_fewer_terms() -> None:
    layer, a, relevance = drawn(4, 5)
    signs = {}
    for name, inputs in {"signed": a, "positive": a.abs()}.items():
        z = layer.apply(inputs, layer.weight, layer.bias)
        signs[name] = [term.sign for term in terms_of(ZPlusRule(), layer, inputs, z, relevance / z)]
    assert signs == {"signed": [1, -1], "positive": [0]}


def test_zero_counts_as_positive() -> None:
    part, read = torch.tensor([5.0, 6.0, 7.0]), torch.tensor([-1.0, 0.0, 1.0])
    assert of_sign(part, read, 1).tolist() == [0, 6, 7]
    assert of_sign(part, read, -1).tolist() == [5, 0, 0]
    assert of_sign(part, read, 0) is part


def test_units_that_got_nothing_hand_nothing_on() -> None:
    layer = Dense(torch.ones(2, 3).double(), None)
    zero = torch.zeros(1, 3).double()
    (term,) = terms_of(ZPlusRule(), layer, zero, torch.zeros(1, 2).double(), torch.ones(1, 2).double())
    assert torch.equal(zero * (term.s @ term.weight), zero)
