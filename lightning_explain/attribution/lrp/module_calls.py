"""The module that makes a call, and the module that made a node of the autograd graph."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from lightning_explain.attribution.lrp.operations.handler import sequence_number


def in_words(path: str, kind: type[nn.Module]) -> str:
    """Name a module by its path and its type."""
    return f"{path!r} ({kind.__name__})" if path else f"the model itself ({kind.__name__})"


class ModuleCalls:
    """Inside this context it is known which module runs.

    Nothing is put on the modules themselves, but their parameters do not require grad meanwhile.

    Args:
        model: The model, for the names of its modules; it is only read.
    """

    def __init__(self, model: nn.Module) -> None:
        named = list(model.named_modules())
        self._names = {id(module): (name, type(module)) for name, module in reversed(named)}
        self._owners: dict[int, tuple[str, type[nn.Module]]] = {}
        parameters: dict[int, nn.Parameter] = {}
        module: Any
        for name, module in named:
            own = [tensor for tensor in module._parameters.values() if tensor is not None]
            parameters |= {id(tensor): tensor for tensor in own}
            for tensor in (*own, *module._buffers.values()):
                # the first one, as in named_parameters, where modules share it
                if tensor is not None:
                    self._owners.setdefault(id(tensor), (name, type(module)))
        self._parameters = list(parameters.values())
        self._trained: list[nn.Parameter] = []
        self._running: list[tuple[nn.Module, int]] = []
        self._calls: list[tuple[int, int, str]] = []
        self._handles: list[Any] = []

    def __enter__(self) -> "ModuleCalls":
        self._running.clear()
        # weights that are computed from others (weight norm) must not look like something to explain
        self._trained = [parameter for parameter in self._parameters if parameter.requires_grad]
        for parameter in self._trained:
            parameter.requires_grad_(False)
        self._handles = [
            register_module_forward_pre_hook(self._begin), register_module_forward_hook(self._end),
        ]  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        for parameter in self._trained:
            parameter.requires_grad_(True)

    def _begin(self, module: nn.Module, args: Any) -> None:
        del args
        if id(module) in self._names:
            self._running.append((module, sequence_number()))

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        del args, output
        if id(module) not in self._names:
            return
        # calls that an exception ended have no end of their own
        while self._running:
            ended, began = self._running.pop()
            self._calls.append((began, sequence_number(), in_words(*self._names[id(ended)])))
            if ended is module:
                break

    @property
    def current(self) -> tuple[str, type[nn.Module]] | None:
        """Name and type of the innermost module that runs."""
        return self._names[id(self._running[-1][0])] if self._running else None

    @property
    def n_heads(self) -> int:
        """Number of heads of the innermost module, if it is torch's attention; 0 for others."""
        module = self._running[-1][0] if self._running else None
        return module.num_heads if isinstance(module, nn.MultiheadAttention) else 0

    def described(self) -> str:
        """Name the innermost module that runs."""
        return "The model" if self.current is None else in_words(*self.current)

    def caller(self, tensors: Sequence[Any], kind: type[nn.Module]) -> tuple[str | None, type[nn.Module]]:
        """Return the name of the layer that makes a call, and its type if that is a `kind`.

        It is the module that runs, whatever weights it was given, unless they belong to a module inside it: attention
        of torch reads the weights of its `out_proj`, but never calls it.

        Args:
            tensors: Weights and biases of the call.
            kind: The type of layer that makes such calls.
        """
        owner = next((self._owners[id(tensor)] for tensor in tensors if id(tensor) in self._owners), None)
        found = self.current
        if found is None or (owner is not None and (not found[0] or owner[0].startswith(found[0] + "."))):
            found = owner or found
        if found is None or (not found[0] and not issubclass(found[1], kind)):
            return None, kind
        return found[0], found[1] if issubclass(found[1], kind) else kind

    def maker(self, number: int) -> str:
        """Return path and type of the innermost module that made the node with a sequence number; empty if none did."""
        around = [(end - began, named) for began, end, named in self._calls if began <= number < end]
        # of several that made nothing else the innermost, which ended first
        return min(around, key=lambda found: found[0], default=(0, ""))[1]
