"""Passes that are cut, for the tests of what is read off them."""

import torch
from torch import Tensor, nn

from lightning_explain.attribution import Epsilon
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.isolation import explaining
from lightning_explain.paths.propagation.cuts import run_in_cuts
from lightning_explain.paths.propagation.way_back import WayBack


def walked(net: nn.Module, *inputs: Tensor, target: int | None = 0) -> WayBack:
    """Run a network, cut at every place, without epsilon."""
    with explaining(net):
        indices = None if target is None else torch.full((len(inputs[0]),), target)
        return WayBack(run_in_cuts(net, inputs, indices, Epsilon(0.0), Choices("cp"), names_from=net))


def gradients_of(way: WayBack) -> dict[int, Tensor]:
    return way.from_score(torch.ones_like(way.score))


class Function(nn.Module):
    """Layers `a`, `b`, `c` and a function of them and the inputs."""

    def __init__(self, function, *sizes: tuple[int, int]) -> None:
        super().__init__()
        self.function = function
        for name, (n_in, n_out) in zip("abc", sizes, strict=False):
            setattr(self, name, nn.Linear(n_in, n_out))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)
