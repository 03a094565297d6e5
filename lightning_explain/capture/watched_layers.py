"""Selection of watched layers, and the unit dimension of their outputs."""

import difflib
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightning_explain.capture.compiled import names_outside_compiled
from lightning_explain.capture.padding_masks import MaskSource
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
REORDERED = "r"
"""In a layout: samples in another order than in the batch, or some of them."""


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


def first_activations(output: Any) -> Tensor | None:
    """Return the activations in a layer's result; recurrent layers return them first in a tuple."""
    if isinstance(output, tuple | list):
        output = next((part for part in output if isinstance(part, Tensor)), None)
    if isinstance(output, Tensor) and not output.is_nested and output.is_floating_point() and output.ndim >= 2:
        return output
    return None


View = Callable[[Call], Any]
"""Finds a layer's units in a call, where they are not simply its output."""


@dataclass(frozen=True)
class CallUse:
    """Layout of one call of a watched module.

    Attributes:
        layout: For each dimension of what is counted, what lies along it: `b` samples, `u` units, `t` the tokens that
            a padding mask speaks of, `p` other positions, `r` samples in another order than the batch's, or some of
            them; several letters where dimensions were put together, the outermost first. None where nothing tells.
        then: The functional activation that is applied to what the call gave; None for none.
        counted: Whether the call is counted: not where the layer is watched for a function, and none follows.
        mask: Where the padding mask of the tokens is seen.
    """

    layout: tuple[str, ...] | None = None
    then: Callable[[Tensor], Tensor] | None = None
    counted: bool = True
    mask: MaskSource | None = None

    @property
    def is_reordered(self) -> bool:
        """True if it cannot be said which sample of the batch a row belongs to."""
        return self.layout is not None and any(REORDERED in letters for letters in self.layout)


@dataclass(frozen=True)
class Layer:
    """A watched module and the unit dimension of its output.

    Attributes:
        name: Its name in `named_modules()`.
        module: The module itself.
        unit_dim: Which dimension counts units: 1 for layers with channels first, -1 for layers with features last;
            None where the module does not say it, since an activation takes whatever layout it is given.
        view: Finds the units in a call of the module; None where they are its output.
        host: The transformer layer that the module belongs to, if hooks inside could change the way it computes.
        then: The functional activation that follows every call of the module; None for none.
        fed: Whether the layer is watched for the functions that follow its calls.
        left_alone: Whether a compiler leaves the module alone as long as no hook sits on it.
        calls: What was found out of its calls in a forward pass, in their order; empty before that.
    """

    name: str
    module: nn.Module
    unit_dim: int | None
    view: View | None = None
    host: nn.Module | None = None
    then: Callable[[Tensor], Tensor] | None = None
    fed: bool = False
    left_alone: bool = False
    calls: tuple[CallUse, ...] = ()

    def use(self, key: str) -> CallUse:
        """Return the layout of the call with a key: `name`, `name#1`, ..."""
        number = int(key.rpartition("#")[2]) if key != self.name else 0
        if number < len(self.calls):
            return self.calls[number]
        # more calls than in the forward pass that was followed: they are taken to be alike if all of those were
        if self.calls and all(use == self.calls[0] for use in self.calls):
            return self.calls[0]
        return CallUse(then=self.then, counted=not self.fed)

    def layout_of(self, output: Tensor, key: str) -> tuple[str, ...] | None:
        """Return the layout of an output; None if it is unknown."""
        layout = self.use(key).layout
        if layout is not None and len(layout) == output.ndim:
            return layout
        if output.ndim == 2:
            return ("b", "u")
        if self.unit_dim is None or layout is not None:
            return None
        units = self.unit_dim % output.ndim
        return tuple("b" if place == 0 else "u" if place == units else "p" for place in range(output.ndim))


def _unit_dim(module: nn.Module) -> int | None:
    """Return the unit dimension of a module's output, if its type determines it."""
    if isinstance(module, CHANNEL_LAYERS):
        return 1
    return -1 if isinstance(module, FEATURE_LAYERS) else None


def _default_names(model: nn.Module) -> list[str]:
    """Choose activation modules; in a model without any (functional activations), the layers that feed them."""
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
    alone = names_outside_compiled(model)
    return [Layer(name, modules[name], _unit_dim(modules[name]), left_alone=name in alone) for name in chosen]
