"""What views see of a run, and attention heads by loops."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from lightning_explain.capture import Call, Recorder
from lightning_explain.neurons.units import unit_layers
from lightning_explain.neurons.views import Units


def seen(net: nn.Module, run: Any, layers: Any = None) -> dict[str, Units]:
    """What the views of the watched layers make of one run."""

    def reduce(output: Any, layer: Any, key: str) -> Any:
        return layer.view(output) if isinstance(output, Call) else Units(output)

    recorder = Recorder(unit_layers(net, layers), reduce=reduce)
    recorder.attach()
    try:
        recorder.start()
        run()
        return recorder.stop()
    finally:
        recorder.detach()


def heads_by_loops(mha: nn.MultiheadAttention, x: Tensor, padding: Tensor | None, mask: Tensor | None = None) -> Any:
    """Sizes of the heads' outputs [batch, tokens, heads], sample by sample and head by head, in numpy."""
    weight, bias = mha.in_proj_weight.detach().double().numpy(), mha.in_proj_bias.detach().double().numpy()
    n, length, width = x.shape
    size = width // mha.num_heads
    sizes = np.zeros((n, length, mha.num_heads))
    for b in range(n):
        projected = x[b].double().numpy() @ weight.T + bias
        q, k, v = np.split(projected, 3, axis=1)
        for h in range(mha.num_heads):
            part = slice(h * size, (h + 1) * size)
            scores = q[:, part] @ k[:, part].T / np.sqrt(size)
            if mask is not None:
                scores = np.where(mask.numpy(), -np.inf, scores)
            if padding is not None:
                scores[:, padding[b].numpy()] = -np.inf
            share = np.exp(scores - scores.max(1, keepdims=True))
            out = (share / share.sum(1, keepdims=True)) @ v[:, part]
            sizes[b, :, h] = np.sqrt((out**2).sum(1))
    return sizes
