"""Watching modules without a hook on them, for modules that a hook would compute differently.

Hooks switch the fused path of a transformer layer off, and make a compiler compile what it otherwise leaves alone. A
hook of all modules does neither.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from lightning_explain.capture.compiled import names_outside_compiled
from lightning_explain.capture.hooks import Hook

T = TypeVar("T")


class OutsideHook(Generic[T]):
    """Observes calls of modules through a global module hook.

    Args:
        watched: The modules, and what stands for each.
        receive: Takes that, and what was given by position, by name, and returned.

    Cost: a dictionary look-up at every module call, if anything is watched.
    """

    def __init__(self, watched: Mapping[nn.Module, T], receive: Callable[[T, Any, Any, Any], None]) -> None:
        self._watched = {id(module): each for module, each in watched.items()}
        self._modules = list(watched)
        # what is received runs in Python, not in code that a compiler makes of it, if there is one
        plain: Any = torch.compiler.disable(receive) if watched and "torch._dynamo" in sys.modules else receive
        self._receive: Callable[[T, Any, Any, Any], None] = plain
        self._handle: RemovableHandle | None = None

    def attach(self) -> None:
        """Attach the global hook, if there is anything to observe."""
        if self._watched:
            _run_as_it_is(OutsideHook._after)
            self._handle = register_keyword_hook(self._after, self._modules)

    def detach(self) -> None:
        """Detach it."""
        if self._handle is not None:
            self._handle.remove()
            forget_keyword_hook(self._handle, self._modules)
            self._handle = None

    def remove(self) -> None:
        """Detach it, as a handle does."""
        self.detach()

    def _after(self, module: nn.Module, args: Any, *rest: Any) -> None:
        # compiled code takes this up with every module that it runs, and none of those is watched here
        if id(module) in self._watched:
            self._receive(self._watched[id(module)], args, *rest)


Removable = RemovableHandle | OutsideHook[Any]
"""A hook that can be taken off."""


def hook_output(model: nn.Module, module: nn.Module, receive: Callable[[Any], None]) -> Removable:
    """Forward the output of a part of a model, through a hook that does not change how it is computed.

    Args:
        model: The model.
        module: The part.
        receive: Takes the output.
    """
    alone = names_outside_compiled(model)
    fused = isinstance(module, nn.TransformerEncoderLayer)
    if not fused and not any(part is module and name in alone for name, part in model.named_modules()):
        return module.register_forward_hook(Hook(receive))
    outside = OutsideHook({module: receive}, _hand_on)
    outside.attach()
    return outside


def _hand_on(receive: Callable[[Any], None], args: Any, kwargs: Any, output: Any) -> None:
    del args, kwargs
    receive(output)


def _run_as_it_is(function: Any) -> None:
    """Exclude a function from compilation where a compiler meets it, once per type.

    torch.compiler has nothing for this that would leave alone what is compiled around the function.
    """
    eval_frame: Any = sys.modules.get("torch._dynamo.eval_frame")
    if eval_frame is not None and hasattr(eval_frame, "skip_code"):
        eval_frame.skip_code(function.__code__)


def register_keyword_hook(
    hook: Callable[..., Any], modules: Iterable[nn.Module], *, always_call: bool = False
) -> RemovableHandle:
    """Register a global hook that takes keywords too.

    Args:
        hook: Takes module, positional arguments, keywords and output; before torch 2.6 no keywords of other modules.
        modules: Those whose keywords are wanted.
        always_call: Call it also where the module raised an error.
    """
    if hasattr(module_hooks, "_global_forward_hooks_with_kwargs"):  # since torch 2.6
        return register_module_forward_hook(hook, with_kwargs=True, always_call=always_call)
    handle = register_module_forward_hook(hook, always_call=always_call)
    for module in modules:
        vars(module)["_forward_hooks_with_kwargs"][handle.id] = True
    return handle


def forget_keyword_hook(handle: RemovableHandle, modules: Iterable[nn.Module] = ()) -> None:
    """Remove the entry that torch leaves behind after a global module hook, which would count as a hook for ever."""
    vars(module_hooks).get("_global_forward_hooks_with_kwargs", {}).pop(handle.id, None)
    for module in modules:
        vars(module)["_forward_hooks_with_kwargs"].pop(handle.id, None)
