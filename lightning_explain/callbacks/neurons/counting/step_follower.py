"""Repeating the module calls of a step in isolation, just before they are made, to see what happens in them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_explain.batches import input_of
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.callbacks.neurons.counting.sample_order import is_reordered
from lightning_explain.capture import is_recording_paused, names_inside_compiled
from lightning_explain.isolation import is_whole
from lightning_explain.neurons.forward_trace import ForwardTrace
from lightning_explain.neurons.functional import FUNCTIONS
from lightning_explain.neurons.operations.operation import tensors_in
from lightning_explain.neurons.tracing import AxisTracer
from lightning_explain.schedule import Stopwatch

MOST_CALLS = 8
"""Calls of a step that are followed; a sampler may call its network hundreds of times, each time alike."""


def _copied(given: Any) -> Any:
    """Copy the tensors of nested containers, and other objects shallowly: the pass that is followed must not write."""
    if isinstance(given, Tensor):
        return given.detach().clone()
    if isinstance(given, list | tuple):
        parts = [_copied(part) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    if type(given) is dict:
        return {key: _copied(part) for key, part in given.items()}
    return given if isinstance(given, nn.Module) or not hasattr(given, "__dict__") else copy.copy(given)


def _hooks_on(module: nn.Module) -> dict[int, Any]:
    return vars(module)["_forward_hooks"]


def _is_measure(module: nn.Module) -> bool:
    """Return True for losses and metrics, which have no neurons."""
    return type(module).__module__ == "torch.nn.modules.loss" or any(
        kind.__name__ == "Metric" for kind in type(module).__mro__
    )


def _reachable(pl_module: nn.Module) -> list[nn.Module]:
    """Return the modules on which a hook changes nothing of how the model computes."""
    compiled = names_inside_compiled(pl_module)
    fused = [name for name, module in pl_module.named_modules() if isinstance(module, nn.TransformerEncoderLayer)]
    return [
        module
        for name, module in pl_module.named_modules()
        if name not in compiled
        and not any(name == host or name.startswith(f"{host}.") for host in fused)
        and not _is_measure(module)
        and not isinstance(module, torch.jit.ScriptModule)
    ]


class StepFollower:
    """Repeats, in isolation, the outermost module calls of one step just before they are made, and follows them.

    So a module is called as the step calls it, whatever the step passes on of its batch.

    Args:
        pl_module: The module.
        receive: Called after each pass with what was seen so far.
        stopwatch: For the time spent.
        enter: Called with module, arguments and keywords of a call that goes on after it was followed.
        in_training: Follow training in train mode, not in eval mode, whose calls are the same in most networks.
        batch: As the step gets it: a call may be given its samples in another order.

    Attributes:
        n_followed: Calls that were followed.
        error: The exception of a call that could not be followed; None if all could.

    Cost: one forward pass more, in the batch that is followed.
    """

    def __init__(
        self,
        pl_module: nn.Module,
        *,
        receive: Callable[[ForwardTrace], None],
        stopwatch: Stopwatch,
        enter: Callable[[nn.Module, Any, Any], None] | None = None,
        in_training: bool = False,
        batch: Any = None,
    ) -> None:
        self._batch = tensors_in(batch)
        self._in_training = in_training
        self._module = pl_module
        self._receive = receive
        self._enter = enter
        self._stopwatch = stopwatch
        self._tracer = AxisTracer(pl_module, FUNCTIONS)
        self._open: nn.Module | None = None
        self._busy = False
        self._followed: Any = None
        self._handles: list[RemovableHandle] = []
        self._hooks: dict[nn.Module, frozenset[int]] = {}
        self._paused = False
        self.n_followed = 0
        self.error: Exception | None = None

    def attach(self) -> None:
        """Wait for the step's calls."""
        for module in _reachable(self._module):
            before = module.register_forward_pre_hook(self._before, with_kwargs=True)
            after = module.register_forward_hook(self._after, with_kwargs=True, always_call=True)
            self._handles += [before, after]
        self._hooks = {module: frozenset(_hooks_on(module)) for module in self._module.modules()}

    def detach(self) -> None:
        """Wait no longer."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._followed = None

    def pause(self, *, paused: bool) -> None:
        """Follow nothing for a while, as the backward pass may run layers again; or continue."""
        self._paused = paused

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        # a strategy puts the step itself in the place of `forward` for a moment
        if self._busy or self._paused or self._open is not None or "forward" in vars(module):
            return
        if is_recording_paused():
            return  # another monitor explains between the batch's begin and its step
        self._open = module
        if self.n_followed < MOST_CALLS and is_whole(self._module):
            with self._stopwatch.spending():
                self.follow(module, args, kwargs)
                if self._enter is not None:
                    self._enter(module, args, kwargs)

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        del args, kwargs
        if self._busy or module is not self._open:
            return
        self._open = None
        if self._followed is not None:
            self._tracer.adopt(output, self._followed)

    def follow(self, call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Make a call in isolation and follow it; what fails is noted in `error`."""
        modes = [(module, module.training and self._in_training) for module in self._module.modules()]
        gradients = torch.is_grad_enabled()
        self._busy, self._followed = True, None
        try:
            with undisturbed(self._module), torch.set_grad_enabled(gradients):
                for module, training in modes:
                    module.training = training
                self._leave_out_hooks_of_the_step()
                given = (_copied(tuple(args)), _copied(dict(kwargs)))
                self._tracer.knows_as(given, (args, kwargs))
                originals = tensors_in((args, kwargs))
                moved = [
                    copied
                    for copied, original in zip(tensors_in(given), originals, strict=True)
                    if is_reordered(original, self._batch)
                ]
                with self._tracer.following(given, moved):
                    output = call(*given[0], **given[1])
                self._tracer.settle(given, output)
                self._followed = output
            self.n_followed += 1
            self._receive(self._tracer.trace)
        except Exception as error:  # noqa: BLE001 - a module that cannot be called so is watched all the same
            self.error = error
        finally:
            self._busy = False

    def follow_batch(self, batch: Any, question: Question) -> None:
        """Follow a call with a batch's inputs, where no hook may sit on what the step calls."""
        try:
            question.check(self._module)
            inputs = input_of(batch, question.input)
        except Exception as error:  # noqa: BLE001 - as in `follow`
            self.error = error
            return
        self.follow(question.call(self._module), inputs if isinstance(inputs, tuple) else (inputs,), {})

    def _leave_out_hooks_of_the_step(self) -> None:
        """Let hooks that the step itself put on see nothing of this pass; the isolation puts them back."""
        for module, known in self._hooks.items():
            for number in set(_hooks_on(module)) - known:
                del _hooks_on(module)[number]
