"""Which layers are watched, and which dimension of their output counts neurons."""

import difflib
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightning_explain.errors import ConfigurationError

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.Threshold,
)  # fmt: skip
CHANNEL_LAYERS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
)  # fmt: skip
FEATURE_LAYERS = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RNNBase)
PRODUCERS = (*CHANNEL_LAYERS, nn.Linear, nn.Bilinear)


class Call(NamedTuple):
    """One call of a watched module.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        output: What it returned.
        padding: Key padding mask [batch, tokens] of the transformer layer that it belongs to: True, or -inf, for
            tokens that are none; None where there is no mask.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    padding: Tensor | None = None


View = Callable[[Call], Any]
"""Finds a layer's units in a call, where they are not simply its output."""


@dataclass(frozen=True)
class Layer:
    """A watched module and the dimension of its output that counts neurons.

    Attributes:
        name: Its name in `named_modules()`.
        module: The module itself.
        unit_dim: 1 for channels first, -1 for features last.
        channel_sizes: For activations: the widths of the model's channel layers.
        feature_sizes: For activations: the widths of its feature layers.
        view: Finds the units in a call of the module; None where they are its output.
        host: The transformer layer that the module belongs to, if hooks inside could change the way it computes.
        then: The functional activation that follows the module, to be applied to what it gave; None for none.
    """

    name: str
    module: nn.Module
    unit_dim: int
    channel_sizes: frozenset[int] = frozenset()
    feature_sizes: frozenset[int] = frozenset()
    view: View | None = None
    host: nn.Module | None = None
    then: Callable[[Tensor], Tensor] | None = None

    def unit_dim_of(self, output: Tensor) -> int:
        """Say which dimension of this output counts neurons.

        One activation object may serve convolutions and linear layers; then the width of the output tells.
        """
        channels, features = output.shape[1] in self.channel_sizes, output.shape[-1] in self.feature_sizes
        if output.ndim == 2 or channels == features:
            return self.unit_dim
        return 1 if channels else -1


def _unit_dims(model: nn.Module) -> dict[str, int]:
    """Say where the neurons are in each module's output, by the layer type that came last before it.

    An activation knows nothing of its input's layout, so it takes that of the layer registered before it.
    """
    current, dims = -1, {}
    for name, module in model.named_modules():
        if isinstance(module, CHANNEL_LAYERS):
            current = 1
        elif isinstance(module, FEATURE_LAYERS):
            current = -1
        dims[name] = current
    return dims


def _widths(model: nn.Module) -> tuple[frozenset[int], frozenset[int]]:
    """Return the numbers of neurons of the model's channel layers and of its feature layers."""
    channels: set[int] = set()
    features: set[int] = set()
    for module in model.modules():
        for name in ("out_channels", "num_features", "num_channels"):
            if isinstance(module, CHANNEL_LAYERS) and name in vars(module):
                channels.add(vars(module)[name])
        if isinstance(module, nn.Linear | nn.Bilinear):
            features.add(module.out_features)
    return frozenset(channels), frozenset(features)


def _default_names(model: nn.Module) -> list[str]:
    """Choose activation modules; where a model has none (functional activations), the layers that feed them."""
    modules = {name: module for name, module in model.named_modules() if name}
    activations = [name for name, module in modules.items() if isinstance(module, ACTIVATIONS)]
    if activations:
        return activations
    producers = [name for name, module in modules.items() if isinstance(module, PRODUCERS)]
    # the last producer gives the scores themselves
    return producers[:-1] if len(producers) > 1 else producers


def _matching(names: Sequence[str], pattern: str) -> list[str]:
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if found:
        return found
    close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    raise ConfigurationError(
        f"layers={pattern!r} matches no module of the model.{hint} "
        f"Its modules are: {', '.join(names[:40])}{', ...' if len(names) > 40 else ''}. Use their names or a glob."
    )


def select_layers(model: nn.Module, layers: str | Sequence[str] | None = None) -> list[Layer]:
    """Resolve layer names and globs to modules, in the model's own order.

    Args:
        model: The model to watch.
        layers: A name or glob, several of them, or None for the activation modules (for a model that has none,
            because its activations are functional: the linear, convolution and normalisation layers but the last).

    Raises:
        ConfigurationError: A glob matches nothing, or the model has nothing to watch.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [layer.name for layer in select_layers(net)]
        ['1']
        >>> [layer.name for layer in select_layers(net, ["0", "2"])]
        ['0', '2']
    """
    modules = {name: module for name, module in model.named_modules() if name}
    if layers is None:
        chosen = _default_names(model)
    else:
        patterns = [layers] if isinstance(layers, str) else list(layers)
        wanted = {name for pattern in patterns for name in _matching(list(modules), pattern)}
        chosen = [name for name in modules if name in wanted]
    if not chosen:
        raise ConfigurationError(
            f"{type(model).__name__} has no layer to watch: neither activation modules nor linear or convolution "
            "layers were found. Name the modules to watch with layers=['name', 'glob.*']."
        )
    dims, widths, none = _unit_dims(model), _widths(model), (frozenset[int](), frozenset[int]())
    found: list[Layer] = []
    for name in chosen:
        channels, features = widths if isinstance(modules[name], ACTIVATIONS) else none
        found.append(Layer(name, modules[name], dims[name], channels, features))
    return found
