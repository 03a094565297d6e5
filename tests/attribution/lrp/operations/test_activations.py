"""Elementwise activations hand their relevance on unchanged, by all of their names."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution import (
    LRP,
    ZeroRule,
)
from lightning_explain.errors import ConfigurationError
from tests.attribution.lrp.operations.applied import RULES, Apply, close, conserves, drawn, weights

MODULES = [
    nn.GELU(), nn.SiLU(), nn.SiLU(inplace=True), nn.Tanh(), nn.ELU(inplace=True), nn.ReLU6(), nn.Mish(),
    nn.Softsign(), nn.Hardswish(inplace=True), nn.PReLU(), nn.LeakyReLU(0.1, inplace=True), nn.Hardtanh(inplace=True),
]  # fmt: skip


@pytest.mark.parametrize("activation", MODULES)
def test_activations_hand_relevance_on_unchanged(activation: nn.Module):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 9, bias=False), activation, nn.Linear(9, 2, bias=False)]
    model = nn.Sequential(*layers).double()
    x = 3 * torch.randn(5, 4).double()
    relevance = LRP({nn.Linear: ZeroRule()}).layer_relevance(model, x, 0, layers=["0", "1"])
    close(relevance["0"], relevance["1"])
    assert LRP({nn.Linear: ZeroRule()})(model, x, 0).convergence_delta.abs().max() < 1e-12


ACTIVATIONS = {
    "softplus": functional.softplus, "gelu": lambda x: functional.gelu(x, approximate="tanh"), "sigmoid": torch.sigmoid,
    "method": Tensor.sigmoid, "expit": torch.special.expit, "square": torch.square, "power": lambda x: x**3,
    "by hand": lambda x: x * torch.sigmoid(1.7 * x), "tanh by hand": lambda x: 0.5 * x * (1 + torch.tanh(x)),
    "hardswish by hand": lambda x: x * functional.relu6(x + 3) / 6, "clamp": lambda x: x.clamp(-1, 1),
    "clip in place": lambda x: x.clone().clip_(-1, 1), "silu in place": lambda x: functional.silu(x.clone(), True),
    "hardsigmoid": functional.hardsigmoid, "squared relu": lambda x: torch.relu(x).square(), "erf": torch.erf,
    "log": lambda x: torch.log1p(x.square()), "sin": torch.sin, "celu": functional.celu, "exp": torch.exp,
    "logsigmoid": functional.logsigmoid, "gelu by hand": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "module": nn.Softplus(), "shrink": functional.softshrink, "of torch.ops": torch.ops.aten.silu,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_hand_relevance_on_by_any_name(name: str):
    x, function = drawn(3, 5) + 0.01, ACTIVATIONS[name]
    close(LRP(RULES)(Apply(function), x).values, function(x) * weights(5))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sign() * x.abs().sqrt(),
        lambda x: functional.lp_pool1d(x, 2, 2),
        lambda x: torch.hypot(x, x.flip(1)),
        lambda x: x.quantile(0.3, dim=1),
    ],
)
def test_signs_in_products_are_constants_and_quantiles_are_means(function) -> None:
    conserves(Apply(function), drawn(3, 6, 4))


def test_a_sign_that_is_all_there_is_has_no_rule() -> None:
    with pytest.raises(ConfigurationError, match="sign"):
        LRP()(Apply(lambda x: x.sign()), drawn(3, 4))
