"""Restoring a module after checkpoints were loaded into it."""

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CONTAINERS = (dict, list, set, deque)


def _saved_tensors(module: nn.Module) -> list[tuple[Tensor, Tensor, Tensor]]:
    """List parameters, buffers and loose tensors, each with its memory and a copy of its values."""
    loose = [value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor)]
    tensors: list[Tensor] = [*module.parameters(), *module.buffers(), *loose]
    return [(t, t.data, t.detach().clone()) for t in tensors if not nn.parameter.is_lazy(t)]


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list | deque):
        container.extend(content)
    else:
        container.update(content)


@contextmanager
def module_restored(module: nn.Module) -> Generator[None, None, None]:
    """Restore weights, buffers, devices, modes and attributes of a module at the end.

    Cost: as much memory again as the weights take.

    Args:
        module: What is put back, all submodules included.
    """
    attributes = [(part, dict(vars(part))) for part in module.modules()]
    # a module keeps parameters, buffers, submodules and hooks in such containers too; others may hold them as well
    containers: list[tuple[Any, Any]] = [
        (value, value.copy()) for _, kept in attributes for value in kept.values() if isinstance(value, CONTAINERS)
    ]
    tensors = _saved_tensors(module)
    try:
        yield
    finally:
        for part, kept in attributes:
            _refill(part.__dict__, kept)
        for container, content in containers:
            _refill(container, content)
        with torch.no_grad():
            for tensor, memory, values in tensors:
                memory.copy_(values)
                # a Trainer moves weights by giving them other memory
                tensor.data = memory
