"""Products of several activations, and products with constants."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_explain.attribution import (
    LRP,
    EpsilonRule,
    GammaRule,
    ZeroRule,
    ZPlusRule,
)
from tests.attribution.lrp.operations.applied import RULES, Apply, close, drawn, weights


@pytest.mark.parametrize(
    ("function", "signal"),
    [
        (lambda x, y: x * torch.sigmoid(y), 1.0),
        (lambda x, y: functional.hardsigmoid(y).mul(x), 1.0),
        (lambda x, y: x.clone().mul_(y.softmax(1)), 1.0),
        (lambda x, y: torch.addcmul(torch.zeros(()).double(), x, torch.tanh(y)), 1.0),
        (lambda x, y: x * functional.silu(y), 1.0),
        (lambda x, y: functional.glu(torch.cat([x, y], 1)), 1.0),
        (lambda x, y: x * (1 - torch.sigmoid(y))[:, None].squeeze(1), 1.0),
        (lambda x, y: torch.tanh(x) * torch.sigmoid(y), 1.0),
        (lambda x, y: x * y, 0.5),
        (lambda x, y: x * (3 * y), 0.5),
        (lambda x, y: x / (1 + y.square()), 1.0),
    ],
)
def test_products_go_by_what_is_a_gate(function, signal: float):
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    relevance = function(x, y) * weights(4)
    found = LRP(RULES)(Apply(function), (x, y))
    close(found.parts[0], signal * relevance)
    close(found.parts[1], (1 - signal) * relevance)


CONSTANT = drawn(4, 5, seed=3)


BY_CONSTANT = {
    "matmul": lambda x: x @ CONSTANT,
    "einsum": lambda x: torch.einsum("bi,io->bo", x, CONSTANT),
    "from the left": lambda x: (CONSTANT.T @ x[:, :, None])[:, :, 0],
    "addmm": lambda x: torch.addmm(torch.zeros(5).double(), x, CONSTANT),
    "bmm": lambda x: torch.bmm(x[:, None], CONSTANT.expand(len(x), 4, 5))[:, 0],
    "mm": lambda x: x.mm(CONSTANT),
}


@pytest.mark.parametrize("name", BY_CONSTANT)
@pytest.mark.parametrize("rule", [ZeroRule(), EpsilonRule(0.3), ZPlusRule(), GammaRule(0.5)])
def test_a_product_with_a_constant_has_the_rule_of_linear_layers(name: str, rule):
    layer = nn.Linear(4, 5, bias=False).double()
    layer.weight.data = CONSTANT.T.contiguous()
    x, method = drawn(3, 4), LRP({nn.Linear: rule})
    close(method(Apply(BY_CONSTANT[name]), x).values, method(Apply(layer), x).values)


EQUATIONS = {
    "btd,dhe->bhte": (4, 2, 3),
    "btd , te -> bde": (3, 2),
    "btd,tde->be": (3, 4, 2),
    "btd,kj->btd": (2, 5),
    # these go back by the gradient: a sum over the explained operand alone, an ellipsis, a size that stands for others
    "btd,de->be": (4, 2),
    "...d,de->...e": (4, 2),
    "btd,btd->bt": (1, 3, 4),
    "btd,de": (4, 2),
}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_with_constants_is_a_layer_whatever_its_equation(equation: str, is_first: bool) -> None:
    x, constant = drawn(2, 3, 4), drawn(*EQUATIONS[equation], seed=3)
    if not is_first:
        before, arrow, after = equation.partition("->")
        equation = ",".join(reversed(before.split(","))) + arrow + after

    def function(a: torch.Tensor) -> torch.Tensor:
        return torch.einsum(equation, a, constant) if is_first else torch.einsum(equation, constant, a)

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((function(leaf).flatten(1) * weights(function(x)[0].numel())).sum(), leaf)
    close(LRP({nn.Linear: ZeroRule()})(Apply(function), x).values, x * gradient)
