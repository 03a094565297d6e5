"""Watched layers with what a forward pass shows of their calls, as a monitor knows them."""

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_explain.capture import Layer
from lightning_explain.isolation import isolated
from lightning_explain.neurons import unit_layers
from lightning_explain.neurons.functional import followed, functional_use
from lightning_explain.neurons.units import described


def followed_layers(net: nn.Module, *inputs: Tensor, names: Sequence[str] | None = None) -> list[Layer]:
    """Return a network's layers, or those of some names."""
    with isolated(net):
        trace = followed(net, net, [part[:1].clone() for part in inputs])
        return described(unit_layers(net, names), trace, functional_use(net, trace))
