"""Rules, images and classes that tests of relevance propagation share, and a comparison."""

import torch
from torch import Tensor, nn

from lightning_explain.attribution import (
    AlphaBetaRule,
    ByLayer,
    Epsilon,
    EpsilonGammaBox,
    EpsilonPlusFlat,
    EpsilonRule,
    WSquareRule,
    ZeroRule,
    ZPlusRule,
)

ALL_ZERO = {nn.Linear: ZeroRule(), nn.Conv2d: ZeroRule(), nn.BatchNorm2d: ZeroRule(), nn.BatchNorm1d: ZeroRule()}


COMPOSITES = {
    "default": None,
    "epsilon": Epsilon(1e-12),
    "zero": ALL_ZERO,
    "plus flat": EpsilonPlusFlat(1e-12),
    "gamma box": EpsilonGammaBox(-6.0, 6.0, epsilon=1e-12),
    "alpha-beta": {nn.Conv2d: AlphaBetaRule(), nn.Linear: EpsilonRule(1e-12)},
    "w2 first": ByLayer({nn.Conv2d: ZPlusRule(), nn.Linear: ZeroRule()}, {nn.Conv2d: WSquareRule()}),
}


IMAGES = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


CLASSES = torch.tensor([0, 3, 1])


def input_x_gradient(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf).gather(1, target[:, None]).sum(), leaf)
    return x * gradient


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
