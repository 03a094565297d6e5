"""A network with its counted neurons, that the tests of feeding share."""

import torch
from torch import Tensor, nn

from lightning_explain import IntegratedGradients
from lightning_explain.neurons import ActiveNeurons, LayerProfile

METHOD = IntegratedGradients(n_steps=4)


def counted(net: nn.Module, layer: str, x: Tensor, y: Tensor, min_rate: float = 0.5) -> LayerProfile:
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.append(out.detach().clone()))
    net(x)
    handle.remove()
    output = kept[0]
    metric = ActiveNeurons(int(y.max()) + 1, output.shape[1], unit_dim=1)
    metric.update(output, y)
    return LayerProfile.of(metric.compute(), min_rate)


def mlp() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3))
    return net.eval(), torch.randn(24, 6), torch.arange(24) % 3
