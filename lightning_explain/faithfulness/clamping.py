"""Units of one layer held at fixed values during a forward pass, each in a block of samples of its own."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode

from lightning_explain.capture import Call, Layer, first_activations
from lightning_explain.capture.outside import forget_keyword_hook
from lightning_explain.neurons.arrangement import units_of
from lightning_explain.neurons.functional import AppliedFunction
from lightning_explain.neurons.views import TokenFeatures


@dataclass(frozen=True)
class Clamp:
    """A unit and the value that it is held at in some rows of the batch.

    Attributes:
        rows: The rows.
        unit: The unit.
        value: Its value at every position; of an attention head a vector.
    """

    rows: slice
    unit: int
    value: float | Tensor


def is_part_of_output(layer: Layer) -> bool:
    """Return True if a layer's units are parts of its output.

    An attention head is part of what a projection is given, and a recurrent layer's unit works on inside the layer.
    """
    return layer.view is None or isinstance(layer.view, TokenFeatures)


@dataclass
class MeantCall:
    """Counts the calls of a layer until the one that is meant.

    Attributes:
        layer: The layer.
        key: The call that is meant: `name`, `name#1`, ...
        n_calls: Calls so far.
    """

    layer: Layer
    key: str
    n_calls: int = 0

    def is_now(self) -> bool:
        """Count a call; return True if it is the one."""
        number = self.n_calls
        self.n_calls += 1
        return self.key == (f"{self.layer.name}#{number}" if number else self.layer.name)


def _bare(layer: Layer) -> Layer:
    """Return the layer without the functions that follow it."""
    return replace(layer, then=None, calls=tuple(replace(use, then=None) for use in layer.calls))


def _written(values: Tensor, layer: Layer, key: str, clamps: Sequence[Clamp], n_samples: int) -> bool:
    """Write clamped units into a contiguous tensor, in place; return False where its units are unknown."""

    def arranged(tensor: Tensor) -> Tensor | None:
        given = tensor if layer.view is None else Call((), {}, tensor)
        units = units_of(given, _bare(layer), key, n_samples=n_samples)
        return None if units is None else units.values.movedim(units.unit_dim, -1)

    units = arranged(values)
    if units is None:
        return False
    if units.untyped_storage().data_ptr() == values.untyped_storage().data_ptr():
        for clamp in clamps:
            units[clamp.rows, ..., clamp.unit] = clamp.value
        return True
    # where arranging copies, the places of a unit are found by arranging the numbers of all places
    numbers = torch.arange(values.numel(), dtype=torch.float64, device=values.device).view(values.shape)
    places = arranged(numbers)
    if places is None:
        return False
    for clamp in clamps:
        values.view(-1)[places[clamp.rows, ..., clamp.unit].long()] = clamp.value
    return True


@dataclass
class _Clamper:
    """Replaces the output of a layer's call, and records that it did."""

    layer: Layer
    key: str
    clamps: Sequence[Clamp]
    n_samples: int
    call: MeantCall
    happened: bool = False
    awaited: list[Tensor] = field(default_factory=list[Tensor])

    def clamped(self, output: Tensor, *, in_place: bool) -> Tensor:
        changed = output.clone(memory_format=torch.contiguous_format)
        if _written(changed, self.layer, self.key, self.clamps, self.n_samples):
            self.happened = True
        if not in_place:
            return changed
        # others hold this very tensor
        return output.copy_(changed)

    def after(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Exchange the units in a module's output, or wait for the function that follows it."""
        del args
        values = first_activations(output)
        if module is not self.layer.module or values is None or not self.call.is_now():
            return None
        if self.layer.use(self.key).then is not None:
            self.awaited = [values]
            return None
        changed = self.clamped(values, in_place=bool(getattr(module, "inplace", False)))
        if isinstance(output, Tensor):
            return changed
        made = getattr(type(output), "_make", type(output))  # of a named tuple
        return made(changed if part is values else part for part in output)

    def after_function(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Apply a layer's functional activation, and exchange the units in what it gives."""
        output = function(*args, **kwargs)
        if not (self.awaited and args and args[0] is self.awaited[0]):
            return output
        self.awaited = []
        return self.clamped(output, in_place=True)


class _FunctionWatch(TorchFunctionMode):
    """Sees the calls of one torch function."""

    def __init__(self, function: Any, clamper: _Clamper) -> None:
        super().__init__()
        self._function, self._clamper = function, clamper

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func is not self._function:
            return func(*args, **(kwargs or {}))
        return self._clamper.after_function(func, *args, **(kwargs or {}))


@contextmanager
def _hooked(layer: Layer, clamper: _Clamper) -> Generator[None, None, None]:
    """Put the hook on: on all modules where a hook on the module would have it compiled."""
    if layer.left_alone and layer.host is None:
        handle = register_module_forward_hook(clamper.after)
    else:
        handle = layer.module.register_forward_hook(clamper.after)
    try:
        yield
    finally:
        handle.remove()
        forget_keyword_hook(handle)


@contextmanager
def _function_exchanged(layer: Layer, then: Any, clamper: _Clamper) -> Generator[None, None, None]:
    """Let the function that follows the layer give exchanged units."""
    if isinstance(then, AppliedFunction) or layer.host is None:
        # a decoder layer applies it without a module of its own
        with _FunctionWatch(then.function if isinstance(then, AppliedFunction) else then, clamper):
            yield
        return
    host: Any = layer.host
    found = host.activation
    host.activation = partial(clamper.after_function, then)
    try:
        yield
    finally:
        host.activation = found


@contextmanager
def clamped(layer: Layer, key: str, clamps: Sequence[Clamp], *, n_samples: int) -> Generator[_Clamper, None, None]:
    """Hold units of one call of a layer at fixed values in the forward pass made inside.

    Call it inside `isolated` and without autograd.

    Args:
        layer: The layer, as `unit_layers` and `described` give it.
        key: The call: `name`, `name#1`, ...
        clamps: The units, their values, and the rows of the batch in which they hold.
        n_samples: Rows of the batch.

    Yields:
        An object whose `happened` is True once the units were set.
    """
    clamper = _Clamper(layer, key, clamps, n_samples, MeantCall(layer, key))
    then = layer.use(key).then
    with ExitStack() as stack:
        stack.enter_context(_hooked(layer, clamper))
        if then is not None:
            stack.enter_context(_function_exchanged(layer, then, clamper))
        yield clamper
