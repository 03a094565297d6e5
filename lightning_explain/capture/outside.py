"""Watching modules that a compiler leaves alone, without a hook on them, which would make it compile them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from lightning_explain.capture.layers import Layer


class OutsideWatch:
    """Sees calls of modules by a hook of all modules.

    Args:
        layers: What is watched.
        record: Takes a layer, and what was given by position, by name, and returned.

    Cost: a dictionary look-up at every module call, if anything is watched.
    """

    def __init__(self, layers: Sequence[Layer], *, record: Callable[[Layer, Any, Any, Any], None]) -> None:
        self._layers = {id(layer.module): layer for layer in layers}
        # what is recorded runs in Python, not in code that the compiler makes of it
        self._record = torch.compiler.disable(record) if layers else record
        self._handle: RemovableHandle | None = None

    def attach(self) -> None:
        """Put the hook of all modules on, if there is anything to see."""
        if self._layers:
            self._handle = register_module_forward_hook(self._after, with_kwargs=True)

    def detach(self) -> None:
        """Take it off."""
        if self._handle is not None:
            self._handle.remove()
            forget_keyword_hook(self._handle)
            self._handle = None

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        # compiled code takes this up with every module that it runs, and none of those is among the layers
        if id(module) in self._layers:
            self._record(self._layers[id(module)], args, kwargs, output)


def forget_keyword_hook(handle: RemovableHandle) -> None:
    """Take away the entry that torch leaves behind of a hook of all modules, and then takes for a hook for ever."""
    vars(module_hooks)["_global_forward_hooks_with_kwargs"].pop(handle.id, None)
