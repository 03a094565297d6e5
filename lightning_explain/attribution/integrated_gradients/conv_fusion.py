"""Layers that run faster while a model is explained: merged with their batch norm, channels last."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from lightning_explain.attribution.integrated_gradients.fast_layers import (
    PLAIN,
    TRANSPOSED,
    FastLayers,
    layer_arguments,
)
from lightning_explain.attribution.integrated_gradients.passes import ran_out_of_memory
from lightning_explain.attribution.scores import Scores
from lightning_explain.capture.hooks import CallHook, Hook
from lightning_explain.weights.sharded import is_held_together

TRIAL_ROWS = 2
"""Samples on which the faster model must give the same scores."""

ABOUT_A_TENSOR = frozenset(
    (
        *(Tensor.dim, Tensor.size, Tensor.numel, Tensor.stride, Tensor.is_contiguous, Tensor.is_floating_point),
        *(
            getattr(Tensor, name).__get__
            for name in ("shape", "ndim", "dtype", "device", "layout", "is_cuda", "requires_grad")
        ),
    )
)
"""What asks for no number in a tensor."""


@contextmanager
def fast_convolutions(model: Scores, inputs: tuple[Tensor, ...]) -> Generator[FastLayers, None, None]:
    """Run convolutions and linear layers faster, where this gives the same scores; call it inside `explaining`.

    A batch norm in eval mode is a scaling of the channels, so it is merged into the weights of the layer whose output
    it alone reads. On the CPU, convolutions of images also run faster with channels as the last dimension in memory.
    Both happen where torch functions are called, so that it does not matter what kind of module calls them; neither
    changes a parameter. Weights that are computed, norms whose input is read by anything else (a hook
    that is not a recorder of this package too) and those that run more than once stay as they are.

    Args:
        model: What is explained; nothing happens for what is no `nn.Module`, has no convolution and no batch norm, or
            is so large that its weights stay sharded over several processes.
        inputs: The inputs; a few of them are run through the model both ways.

    Yields:
        The layers; none where the scores were others.

    Cost: two forward passes and a backward pass of at most two samples.
    """
    layers = FastLayers()
    if _could_be_faster(model):
        few = tuple(part[:TRIAL_ROWS] for part in inputs)
        try:
            with torch.no_grad():
                layers = _tried(model, few)
        except (MemoryError, RuntimeError) as problem:
            # what only saves time must not fail for want of memory: the passes that follow may be smaller
            if not ran_out_of_memory(problem):
                raise
    if not layers.by_weight:
        yield layers
        return
    with layers.running():
        yield layers


def _could_be_faster(model: Scores) -> TypeGuard[nn.Module]:
    """Return True if a model has an image's convolution, or the running statistics of a batch norm."""
    # weights that are gathered for a pass and given up after it cannot be held
    if not isinstance(model, nn.Module) or not is_held_together(model):
        return False
    images = any(parameter.ndim == 4 for parameter in model.parameters())
    return images or any(name.endswith("running_var") for name, _ in model.named_buffers())


def watched_as_is(model: Scores, rows: tuple[Tensor, ...], *, fast: bool = True) -> tuple[FastLayers, Any]:
    """Run a model as it is; return the layers that could run faster, if any are wanted, and what it puts out."""
    with torch.no_grad():
        if not fast or not _could_be_faster(model):
            return FastLayers(), model(*_cloned(rows))
        look = _Look({id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
        with look.at(model):
            output = model(*_cloned(rows))
        return look.layers(), output


def _tried(model: nn.Module, few: tuple[Tensor, ...]) -> FastLayers:
    """Return the layers that may run faster; none if the scores change."""
    layers, expected = watched_as_is(model, few)
    if not layers.by_weight or not isinstance(expected, Tensor):
        return FastLayers()
    with layers.running():
        found = _differentiated(model, few)
    if found is None:
        return FastLayers()
    # far above rounding, far below another function
    same = torch.finfo(expected.dtype).eps ** 0.5 if expected.is_floating_point() else 0.0
    return layers if bool((found - expected).abs().max() <= same * expected.abs().max()) else FastLayers()


def _differentiated(model: nn.Module, few: tuple[Tensor, ...]) -> Tensor | None:
    """Return the scores; None for a model that cannot be differentiated in this way, such as by `torch.func`."""
    with torch.enable_grad():
        rows = tuple(part.requires_grad_(part.is_floating_point()) for part in _cloned(few))
        try:
            scores = model(*rows)
            if scores.requires_grad:
                torch.autograd.grad(scores.sum(), [part for part in rows if part.requires_grad], allow_unused=True)
        except Exception as problem:  # whatever it is, the model as it is will tell
            if ran_out_of_memory(problem):
                raise
            return None
    return scores.detach()


def _cloned(few: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.clone() for part in few)


@dataclass(frozen=True)
class _Norm:
    """A call of a batch norm."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    @classmethod
    def of_call(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Norm | None":
        """Read the arguments of `functional.batch_norm`; None where it uses the batch's own statistics."""
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        mean, variance = given["running_mean"], given["running_var"]
        if mean is None or variance is None or given.get("training", False):
            return None
        return cls(mean, variance, given.get("weight"), given.get("bias"), given.get("eps", 1e-5))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return what it multiplies the channels by, and what it adds then."""
        scale = (self.variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight.detach()
        shift = -self.mean * scale
        return scale, shift if self.bias is None else shift + self.bias.detach()

    def fits(self, weight: Tensor, output: Tensor) -> bool:
        """Return True if it can be merged into a layer: channels are the layer's outputs, in numbers as exact."""
        exact = weight.dtype in (torch.float32, torch.float64)
        return exact and output.ndim == weight.ndim and self.mean.dtype == self.variance.dtype == weight.dtype


@dataclass(frozen=True)
class _Call:
    """The arguments and the output of one call of a layer."""

    function: Callable[..., Tensor]
    weight: Tensor
    bias: Tensor | None
    output: Tensor
    caller: nn.Module

    def merged(self, norm: _Norm | None) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias, scaled as the batch norm scales the channels."""
        weight, bias = self.weight.detach(), None if self.bias is None else self.bias.detach()
        if norm is not None:
            scale, shift = norm.scale_and_shift()
            bias = shift if bias is None else bias * scale + shift
            weight = _scaled(weight, scale, transposed=self.function in TRANSPOSED)
        if weight.ndim == 4 and weight.device.type == "cpu" and self.function is torch.conv2d:
            # `contiguous` would leave the strides of a single input channel, and the convolution goes by strides
            weight = weight.to(memory_format=torch.channels_last)
        return weight, bias


def _scaled(weight: Tensor, scale: Tensor, *, transposed: bool) -> Tensor:
    """Scale the outputs of a layer."""
    if not transposed:
        return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    n_groups = len(scale) // weight.shape[1]
    by_group = scale.reshape(n_groups, 1, -1, *(1,) * (weight.ndim - 2))
    return (weight.unflatten(0, (n_groups, -1)) * by_group).flatten(0, 1)


class _Look(TorchFunctionMode):
    """Watches one forward pass: which layers run, and what reads what they put out."""

    def __init__(self, own: dict[int, Tensor]) -> None:
        super().__init__()
        self._own = own
        self._calls: dict[int, list[_Call]] = {}
        self._made: dict[int, _Call] = {}  # by the identity of the output, which the call keeps alive
        self._read: set[int] = set()
        self._norms: list[tuple[_Call, _Norm, nn.Module]] = []
        self._running: list[nn.Module] = []
        self._n_norms: Counter[int] = Counter()
        self._n_readers: Counter[int] = Counter()

    @contextmanager
    def at(self, model: nn.Module) -> Generator[None, None, None]:
        """Watch the functions that a model calls, and what its hooks are given."""
        hooked = [module for module in model.modules() if _has_hooks(module)]
        handles = [module.register_forward_hook(self._hook, with_kwargs=True) for module in hooked]
        handles += [
            register_module_forward_pre_hook(self._begin),
            register_module_forward_hook(self._end, always_call=True),
        ]
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, module: nn.Module, args: Any) -> None:
        del args
        self._running.append(module)

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        del module, args, output
        self._running.pop()

    def _hook(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        del module
        self._note_read((*args, *kwargs.values(), output))

    def _note_read(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, list | tuple):
                self._note_read(value)  # pyright: ignore[reportUnknownArgumentType]
            elif id(value) in self._made:
                self._read.add(id(value))

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a torch function and note it."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is functional.batch_norm:
            self._note_norm(args, kwargs)
        elif func not in ABOUT_A_TENSOR:
            self._note_read((*args, *kwargs.values()))
        if func in PLAIN or func in TRANSPOSED:
            _, weight, bias, _, _ = layer_arguments(args, kwargs)
            if self._running and id(weight) in self._own and (bias is None or id(bias) in self._own):
                call = _Call(func, weight, bias, output, self._running[-1])
                self._calls.setdefault(id(weight), []).append(call)
                self._made[id(output)] = call
        return output

    def _note_norm(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        norm, x = _Norm.of_call(args, kwargs), args[0] if args else kwargs["input"]
        call = self._made.get(id(x))
        if not self._running or norm is None or call is None or not norm.fits(call.weight, x):
            self._note_read([x])
        else:
            self._norms.append((call, norm, self._running[-1]))
            self._n_readers[id(call)] += 1
        if norm is not None:
            self._n_norms[id(norm.mean)] += 1

    def layers(self) -> FastLayers:
        """Return the layers that are better called another way."""
        found, merged = FastLayers(), dict[int, _Norm]()
        for call, norm, caller in self._norms:
            once = len(self._calls[id(call.weight)]) == self._n_norms[id(norm.mean)] == self._n_readers[id(call)] == 1
            if once and id(call.output) not in self._read:
                merged[id(call.weight)] = norm
                found.norms[id(norm.mean)] = norm.mean
                found.callers.add(caller)
        for key, calls in self._calls.items():
            own = calls[0].weight
            weight, bias = calls[0].merged(merged.get(key))
            if weight.data_ptr() != own.data_ptr() or weight.stride() != own.stride():
                found.by_weight[key] = (own, weight, bias)
                found.callers.update(call.caller for call in calls)
        return found


def _has_hooks(module: nn.Module) -> bool:
    """Return True if somebody else watches or changes what a module is given or gives."""
    hooks = (*vars(module)["_forward_hooks"].values(), *vars(module)["_forward_pre_hooks"].values())
    # other recorders are paused while a model is explained
    return any(hook.in_explanations if isinstance(hook, Hook | CallHook) else True for hook in hooks)
