"""A function as a model whose whole output carries relevance, to compare its relevance with a closed form."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_explain.attribution import (
    LRP,
    Epsilon,
)

RULES = Epsilon(0.0)


class Apply(nn.Module):
    """A function whose output is summed with fixed weights, so that all of it carries relevance."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        out = self.function(*inputs).flatten(1)
        return (out * weights(out.shape[1])).sum(1)


def weights(n: int) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(5), dtype=torch.double)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def conserves(net: nn.Module, x: Tensor | tuple[Tensor, ...], rules: Epsilon = RULES) -> None:
    assert float(LRP(rules, attention="cp")(net, x).convergence_delta.abs().max()) < 1e-9
