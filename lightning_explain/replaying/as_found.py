"""Leaving a module as it was before its checkpoints were loaded into it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def _saved_tensors(module: nn.Module) -> list[tuple[Tensor, Tensor, Tensor]]:
    """List parameters and buffers, each with the memory that it uses and a copy of its values."""
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    return [(t, t.data, t.detach().clone()) for t in tensors if not nn.parameter.is_lazy(t)]


@contextmanager
def left_as_found(module: nn.Module) -> Generator[None, None, None]:
    """Put weights, buffers, devices, modes and attributes of a module back at the end.

    Cost: as much memory again as the weights take.

    Args:
        module: What is put back, all submodules included.
    """
    attributes: list[tuple[nn.Module, dict[str, Any]]] = []
    for part in module.modules():
        kept = dict(vars(part))
        # a module keeps parameters, buffers, submodules and hooks in dictionaries
        attributes.append((part, {k: v.copy() if isinstance(v, dict) else v for k, v in kept.items()}))
    tensors = _saved_tensors(module)
    try:
        yield
    finally:
        for part, kept in attributes:
            part.__dict__.clear()
            part.__dict__.update(kept)
        with torch.no_grad():
            for tensor, memory, values in tensors:
                memory.copy_(values)
                # a Trainer moves weights by giving them other memory
                tensor.data = memory
