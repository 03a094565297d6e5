"""Weights that are spread over the processes of a run (FSDP2), and gathered layer by layer while a model runs."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lightning_explain.errors import ConfigurationError


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


def whole_tensor(tensor: Tensor) -> Tensor:
    """Gather a parameter that is spread over processes, a collective call; return any other as it is.

    Example:
        >>> import torch
        >>> whole_tensor(torch.ones(1))
        tensor([1.])
    """
    if "torch.distributed.tensor" not in sys.modules:
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def check_not_sharded(model: nn.Module, what: str) -> None:
    """Refuse weights that are given up after the forward pass, where the backward pass needs them.

    Raises:
        ConfigurationError: `fully_shard` was applied to some submodule.
    """
    sharded = sharded_modules(model)
    if sharded:
        raise ConfigurationError(
            f"{what} reads a layer's weights again in the backward pass, but fully_shard (FSDP2) gathers them for "
            f"one pass and gives them up after it ({len(sharded)} such modules, the first a "
            f"{type(sharded[0]).__name__}). Use IntegratedGradients, Saliency, SmoothGrad, GradCAM or a captum method "
            "there, or explain the saved checkpoints afterwards, in one process."
        )
