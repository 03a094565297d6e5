"""Weights of layers that read the input: they state directly what feeds a neuron."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_explain.capture import ACTIVATIONS, Layer
from lightning_explain.weights.sharded import whole_tensor

READERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
PASSED = (
    *ACTIVATIONS, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)  # fmt: skip
"""Layers whose units are those of what they read, one by one; in eval mode dropout hands them on."""


class _Given(NamedTuple):
    """Content of a tensor when it was recorded: the input, or (with `layers`) the units of layers that read it."""

    tensor: Tensor
    version: int
    layers: tuple[nn.Module, ...]

    def is_read_by(self, args: Any) -> bool:
        """Return True if a module reads this very tensor, or a view of all of it, unmodified since."""
        read = args[0] if args else None
        return (
            isinstance(read, Tensor)
            and not read.is_nested
            and read.data_ptr() == self.tensor.data_ptr()
            and read.numel() == self.tensor.numel()
            and read.is_contiguous() == self.tensor.is_contiguous()
            and self.tensor._version == self.version
        )


def _is_plain(module: nn.Module) -> bool:
    """Return True if a module applies its weight as torch's own layer does: an adapter that extends one adds to it."""
    kind = next(kind for kind in READERS if isinstance(module, kind))
    methods = ("forward",) if kind is nn.Linear else ("forward", "_conv_forward")
    return all(name not in vars(module) and getattr(type(module), name) is getattr(kind, name) for name in methods)


class _Readers:
    """Records, during a forward pass, which layers read the input, and which watched layers read their outputs."""

    def __init__(self, sample: Tensor) -> None:
        # tensors are kept alive, so that no two share their memory
        self._given = [_Given(sample, sample._version, ())]
        self._calls: Counter[str] = Counter()
        self.found: dict[str, tuple[nn.Module, ...]] = {}

    def _source(self, args: Any) -> _Given | None:
        return next((given for given in self._given if given.is_read_by(args)), None)

    def ran(self, module: nn.Module, args: Any, output: Any) -> None:
        """Record a call of a linear or convolution layer."""
        source = self._source(args)
        if source is None or not isinstance(output, Tensor) or not _is_plain(module):
            return
        # linear layers in a row are one; a kernel of a kernel is none
        if not source.layers or all(isinstance(layer, nn.Linear) for layer in (*source.layers, module)):
            self._given.append(_Given(output, output._version, (*source.layers, module)))

    def begins(self, name: str, module: nn.Module, args: Any) -> None:
        """Record the input of a watched layer before the call, which may overwrite it."""
        key = self._next_key(name)
        source = self._source(args) if isinstance(module, PASSED) else None
        if source is not None and source.layers:
            self.found[key] = source.layers

    def watched(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """Record a call of a watched layer that may itself read the input."""
        del args
        key = self._next_key(name)
        last = self._given[-1]
        if last.tensor is output and last.layers[-1] is module:
            self.found[key] = last.layers

    def _next_key(self, name: str) -> str:
        """Count the calls of a watched layer as a recorder does."""
        call = self._calls[name]
        self._calls[name] += 1
        return f"{name}#{call}" if call else name


def _weight(layers: Sequence[nn.Module]) -> Tensor:
    """Return the current weight of a layer, parametrised or not; for consecutive linear layers the product."""
    weights: list[Tensor] = [whole_tensor(getattr(layer, "weight").detach()).float() for layer in layers]  # noqa: B009
    product = weights[0]
    for weight in weights[1:]:
        product = weight @ product
    return product.cpu().clone()


def input_weights(
    model: nn.Module, forward: Callable[[], Any], sample: Tensor, layers: Sequence[Layer]
) -> dict[str, Tensor]:
    """Return the weights of the watched layers that read the input directly, or through the layer that feeds them.

    Flattening the input counts as reading it; normalising it does not. A weight that is computed (weight norm,
    pruning) is taken as it is when the model runs. Linear layers in a row, without anything between them, have the
    product of their weights; a layer that extends torch's by a forward of its own has none. Call it inside `isolated`.

    Args:
        model: The model.
        forward: Runs the model on `sample`.
        sample: The input that it is run on.
        layers: Watched layers.

    Returns:
        Layer name (`name#1` for the second call of a layer that runs several times) -> weights [neurons, features],
        or [neurons, channels, kernel...] of a convolution. A linear layer that is applied at every step of a sequence
        has a weight for each feature of a step, not for each step.

    Cost: one forward pass.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU())
        >>> x = torch.rand(1, 2, 2)
        >>> layers = [Layer("2", net[2], -1), Layer("4", net[4], -1)]
        >>> {name: tuple(found.shape) for name, found in input_weights(net, lambda: net(x), x, layers).items()}
        {'2': (3, 4)}
    """
    readers = _Readers(sample)
    handles = [module.register_forward_hook(readers.ran) for module in model.modules() if isinstance(module, READERS)]
    # a layer with a view (attention, a recurrent layer) is no sum of weighted inputs
    for layer in (layer for layer in layers if layer.view is None):
        if isinstance(layer.module, READERS):
            handles.append(layer.module.register_forward_hook(partial(readers.watched, layer.name)))
        else:
            handles.append(layer.module.register_forward_pre_hook(partial(readers.begins, layer.name)))
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return {key: _weight(found) for key, found in readers.found.items()}
