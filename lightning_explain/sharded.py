"""Weights that are spread over the processes of a run (FSDP2), and gathered layer by layer while a model runs."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn


def sharded_modules(model: nn.Module) -> list[Any]:
    """List the submodules to which `torch.distributed.fsdp.fully_shard` was applied.

    Example:
        >>> sharded_modules(nn.Linear(2, 2))
        []
    """
    if "torch.distributed.fsdp" not in sys.modules:
        return []  # nobody can have applied it, and importing it takes a while
    from torch.distributed.fsdp import FSDPModule

    return [module for module in model.modules() if isinstance(module, FSDPModule)]


@contextmanager
def weights_spread(model: nn.Module) -> Generator[None, None, None]:
    """Begin and end with every weight spread over the processes, so that the model can be left as found.

    After a forward pass the outermost module keeps its weights gathered for the backward pass. A snapshot taken then
    would be of other parameters than the ones that are trained.
    """
    sharded = sharded_modules(model)
    _spread(sharded)
    try:
        yield
    finally:
        _spread(sharded)


def _spread(modules: list[Any]) -> None:
    for module in modules:
        module.reshard()
