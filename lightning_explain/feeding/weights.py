"""Layers that read the input: there the weights themselves say what feeds a neuron."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.capture import Layer
from lightning_explain.sharded import whole_tensor

READERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _same_values(a: Any, b: Tensor) -> bool:
    """Say whether a tensor is another one, or a view of all of it (flattened, say)."""
    return (
        isinstance(a, Tensor)
        and not a.is_nested
        and a.data_ptr() == b.data_ptr()
        and a.numel() == b.numel()
        and a.is_contiguous() == b.is_contiguous()
    )


class _Readers:
    """Notes, while the model runs, which layers read the input, and which watched ones read what they give."""

    def __init__(self, sample: Tensor) -> None:
        self._sample = sample
        # outputs are kept alive, so that no two share their memory
        self._given: list[tuple[nn.Module, Tensor]] = []
        self.found: dict[str, nn.Module] = {}

    def read(self, module: nn.Module, args: Any, output: Any) -> None:
        """See a linear or convolution layer run."""
        if args and _same_values(args[0], self._sample) and isinstance(output, Tensor):
            self._given.append((module, output))

    def watched(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """See a watched layer run."""
        del output
        for reader, given in self._given:
            if reader is module or (args and _same_values(args[0], given)):
                self.found.setdefault(name, reader)


def input_weights(
    model: nn.Module, forward: Callable[[], Any], sample: Tensor, layers: Sequence[Layer]
) -> dict[str, Tensor]:
    """Return the weights of the watched layers that read the input directly, or the layer that feeds them does.

    Flattening the input counts as reading it; normalising it does not. Call it inside `isolated`.

    Args:
        model: The model.
        forward: Runs the model on `sample`.
        sample: The input that it is run on.
        layers: Watched layers.

    Returns:
        Layer name -> weights [neurons, features], or [neurons, channels, kernel...] of a convolution.

    Cost: one forward pass.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU())
        >>> x = torch.rand(1, 2, 2)
        >>> layers = [Layer("2", net[2], -1), Layer("4", net[4], -1)]
        >>> {name: tuple(found.shape) for name, found in input_weights(net, lambda: net(x), x, layers).items()}
        {'2': (3, 4)}
    """
    readers = _Readers(sample)
    handles = [module.register_forward_hook(readers.read) for module in model.modules() if isinstance(module, READERS)]
    # a layer with a view (attention, a recurrent layer) is no sum of weighted inputs
    plain = [layer for layer in layers if layer.view is None]
    handles += [layer.module.register_forward_hook(partial(readers.watched, layer.name)) for layer in plain]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    weights = {name: whole_tensor(module.get_parameter("weight").detach()) for name, module in readers.found.items()}
    return {name: weight.float().cpu().clone() for name, weight in weights.items()}
