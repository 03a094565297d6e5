"""Weights sharded over processes (FSDP2), which are gathered layer by layer in a forward pass."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn

from lightning_explain.errors import ConfigurationError

MOST_GATHERED = 4 * 2**30
"""Bytes of weights up to which a model is held together while it is explained: 1 billion numbers of 4 bytes."""


def sharded_modules(model: nn.Module) -> list[Any]:
    """List the submodules to which `torch.distributed.fsdp.fully_shard` was applied.

    Example:
        >>> sharded_modules(nn.Linear(2, 2))
        []
    """
    if "torch.distributed.fsdp" not in sys.modules:
        return []  # nobody can have applied it, and importing it takes a while
    from torch.distributed.fsdp import FSDPModule  # noqa: PLC0415

    return [module for module in model.modules() if isinstance(module, FSDPModule)]


_held: WeakSet[Any] = WeakSet()
"""Modules whose weights are held together just now."""


@contextmanager
def weights_spread(model: nn.Module) -> Generator[None, None, None]:
    """Reshard every weight at the start and at the end, so that the model can be left as found.

    After a forward pass the outermost module keeps its weights gathered for the backward pass. A snapshot taken then
    would be of other parameters than the ones that are trained. Inside `weights_gathered` nothing happens.
    """
    modules = [module for module in sharded_modules(model) if module not in _held]
    for module in modules:
        module.reshard()
    try:
        yield
    finally:
        for module in modules:
            module.reshard()


@contextmanager
def weights_gathered(model: nn.Module) -> Generator[None, None, None]:
    """Keep the weights of a model that is not too large gathered meanwhile, so that passes need no other process.

    A collective call, but not inside itself. Beyond `MOST_GATHERED` bytes nothing happens: each pass gathers layer by
    layer, and all processes must take equally many.
    """
    modules = sharded_modules(model)
    if not modules or modules[0] in _held or not is_held_together(model):
        yield
        return
    # in the order of the modules: the outermost is the one that knows of the others
    before = [_Settings.of(module) for module in modules]
    _held.update(modules)
    try:
        for module in modules:
            module.set_reshard_after_forward(False, recurse=False)
            module.set_reshard_after_backward(False, recurse=False)
            module.unshard()
        yield
    finally:
        _held.difference_update(modules)
        for settings in before:
            settings.restore()
        for module in modules:
            module.reshard()


@dataclass(frozen=True)
class _Settings:
    """Resharding settings of a module: torch has setters for them, but no getters."""

    state: Any
    is_automatic: bool
    groups: list[tuple[Any, Any, bool]]

    @classmethod
    def of(cls, module: Any) -> "_Settings":
        state = module._get_fsdp_state()
        # otherwise done at the first forward pass, by what is set then
        state._lazy_init()
        groups = [
            (group, group.post_forward_mesh_info, group.reshard_after_backward) for group in state._fsdp_param_groups
        ]
        return cls(state, state._auto_reshard_after_forward, groups)

    def restore(self) -> None:
        self.state._auto_reshard_after_forward = self.is_automatic
        for group, after_forward, after_backward in self.groups:
            group.post_forward_mesh_info = after_forward
            group.reshard_after_backward = after_backward


def is_held_together(model: nn.Module) -> bool:
    """Return True if all weights stay available during an explanation: not sharded, or small enough to be gathered.

    Example:
        >>> is_held_together(nn.Linear(2, 2))
        True
    """
    return not sharded_modules(model) or bytes_of(model) <= MOST_GATHERED


def bytes_of(model: nn.Module) -> int:
    """Return the size in bytes of all weights together, on all processes.

    Example:
        >>> bytes_of(nn.Linear(3, 2, bias=False))
        24
    """
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def whole_tensor(tensor: Tensor) -> Tensor:
    """Gather a sharded parameter, a collective call; return any other as it is.

    Example:
        >>> import torch
        >>> whole_tensor(torch.ones(1))
        tensor([1.])
    """
    if "torch.distributed.tensor" not in sys.modules:
        return tensor
    from torch.distributed.tensor import DTensor  # noqa: PLC0415

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def check_not_sharded(model: nn.Module, what: str) -> None:
    """Refuse sharded weights that are freed after the forward pass, where the backward pass needs them.

    Raises:
        ConfigurationError: `fully_shard` was applied to some submodule.
    """
    sharded = sharded_modules(model)
    if sharded and not is_held_together(model):
        raise ConfigurationError(
            f"{what} reads a layer's weights again in the backward pass, but fully_shard (FSDP2) gathers them for one "
            f"pass and gives them up after it, since the model's {bytes_of(model) / 2**30:.1f} GiB are too much to "
            f"hold together (at most {MOST_GATHERED / 2**30:g} GiB). Use IntegratedGradients, Saliency, SmoothGrad "
            "or GradCAM, or explain the saved checkpoints afterwards, in one process."
        )
