"""Watching layers with forward hooks: which layers, which of their dimensions is the neuron, what they gave."""

import difflib
import fnmatch
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

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


@dataclass(frozen=True)
class Layer:
    """A watched module and the dimension of its output that counts neurons.

    Attributes:
        name: Its name in `named_modules()`.
        module: The module itself.
        unit_dim: 1 for channels first, -1 for features last.
        channel_sizes: For activations: the widths of the model's channel layers.
        feature_sizes: For activations: the widths of its feature layers.
    """

    name: str
    module: nn.Module
    unit_dim: int
    channel_sizes: frozenset[int] = frozenset()
    feature_sizes: frozenset[int] = frozenset()

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
    dims, widths = _unit_dims(model), _widths(model)
    return [
        Layer(name, modules[name], dims[name], *(widths if isinstance(modules[name], ACTIVATIONS) else ()))
        for name in chosen
    ]


def _first_tensor(output: Any) -> Tensor | None:
    """Take the tensor of a layer's output; recurrent layers return it first in a tuple."""
    if isinstance(output, tuple | list):
        output = next((part for part in output if isinstance(part, Tensor)), None)
    if isinstance(output, Tensor) and not output.is_nested and output.is_floating_point() and output.ndim >= 2:
        return output
    return None


class _Pause:
    """Whether explanations are running, so that recorders must look away from their forward passes."""

    depth = 0


@contextmanager
def recording_paused() -> Generator[None, None, None]:
    """Keep every recorder from seeing the forward passes made inside."""
    _Pause.depth += 1
    try:
        yield
    finally:
        _Pause.depth -= 1


Reduce = Callable[[Tensor, Layer, str], Any]
"""Takes a layer's output, the layer, and the key it is recorded under."""


def _kept(output: Tensor, layer: Layer, key: str) -> Tensor:
    del layer, key
    # a copy, unless it is part of a graph: a functional in-place activation may follow
    return output if output.requires_grad else output.clone()


class Recorder:
    """Keeps what `reduce` makes of each watched layer's output while it is `recording`.

    A module that runs several times in one step (one ReLU object shared by several layers) is kept once per
    call: `relu`, `relu#1`, `relu#2`. The reduction runs in the hook, so an in-place operation that follows
    cannot change what was seen, and no activation is kept alive. It runs detached and without autograd. Inside a
    compiled region the hook keeps a copy instead, which is reduced at the end of the recording.

    Args:
        layers: What to watch.
        reduce: Called with (output, layer, key), its result is kept; by default the output itself is.
        differentiable: Keep the output in the graph instead (to take gradients at it).
        explaining: See the forward passes made inside `recording_paused` (an explanation's own recorder) instead
            of those made outside (a recorder of the training run).
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        reduce: Reduce = _kept,
        differentiable: bool = False,
        explaining: bool = False,
    ) -> None:
        self.layers = tuple(layers)
        self._explaining = explaining
        self.recording = False
        self.seen: dict[str, Any] = {}
        self._reduce = reduce
        self._differentiable = differentiable
        self._calls: dict[str, int] = {}
        self._raw: dict[str, tuple[Tensor, Layer]] = {}
        self._handles: list[RemovableHandle] = []

    def attach(self) -> None:
        """Put the hooks on; does nothing when they are on."""
        if not self._handles:
            self._handles = [
                layer.module.register_forward_hook(Hook(partial(self.record, layer))) for layer in self.layers
            ]

    def detach(self) -> None:
        """Take the hooks off; does nothing when they are off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.recording = False

    def start(self) -> None:
        """Forget what was seen and record from here on."""
        self.seen = {}
        self._raw = {}
        self._calls = {}
        self.recording = True

    def stop(self) -> dict[str, Any]:
        """End recording and hand over what was seen: layer name (`#n` for its n-th further call) -> reduction."""
        self.recording = False
        seen, self.seen = self.seen, {}
        raw, self._raw = self._raw, {}
        with torch.no_grad():
            seen |= {key: self._reduce(tensor, layer, key) for key, (tensor, layer) in raw.items()}
        return seen

    def record(self, layer: Layer, output: Any) -> None:
        """Take a layer's output, if this is the time for it; called by the hook."""
        if not self.recording or (_Pause.depth > 0) != self._explaining:
            return
        tensor = _first_tensor(output)
        if tensor is None:
            return
        call = self._calls.get(layer.name, 0)
        self._calls[layer.name] = call + 1
        key = f"{layer.name}#{call}" if call else layer.name
        if torch.compiler.is_compiling():
            # a compiler traces this: it must not meet the reduction, which may time itself or warn
            self._raw[key] = (tensor if self._differentiable else tensor.detach().clone(), layer)
        elif self._differentiable:
            self.seen[key] = self._reduce(tensor, layer, key)
        else:
            with torch.no_grad():
                self.seen[key] = self._reduce(tensor.detach(), layer, key)


def _ignore(_module: nn.Module, _args: Any, _output: Any) -> None:
    """Do nothing: the hook that is left in a copy of a watched module."""


def _inert() -> Callable[..., None]:
    return _ignore


class Hook:
    """A forward hook that hands outputs on; in a copy or a pickle of the module it does nothing.

    Args:
        receive: Takes the output.
    """

    def __init__(self, receive: Callable[[Any], None]) -> None:
        self._receive = receive

    def __call__(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Hand the module's output on."""
        self._receive(output)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        # a mean teacher's copy of the network is no part of the run that is watched
        return _inert, ()


@contextmanager
def watched(
    layers: Sequence[Layer], *, reduce: Reduce = _kept, differentiable: bool = False
) -> Generator[Recorder, None, None]:
    """Record the given layers for an explanation, and take the hooks off at the end, also when it raises.

    Recorders of the training run look away meanwhile.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with watched(select_layers(net)) as recorder:
        ...     recorder.start()
        ...     _ = net(torch.ones(4, 2))
        ...     list(recorder.stop())
        ['1']
    """
    recorder = Recorder(layers, reduce=reduce, differentiable=differentiable, explaining=True)
    with recording_paused():
        recorder.attach()
        try:
            yield recorder
        finally:
            recorder.detach()
