"""Right gradients of batch norms for a single sample."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

# of torch's own: what all its batch norms derive from, and the functions without what a mode makes of them
BatchNorm: Any = nn.BatchNorm2d.__base__
_torch: Any = torch


@contextmanager
def gradients_aligned(module: nn.Module) -> Generator[None, None, None]:
    """Bring gradients at batch norms into the memory layout of their inputs.

    torch 2.13 puts them in wrong places on a CPU where a batch of one has a gradient of other strides than its input,
    as tokens folded into maps and back have (XCiT, LeViT), without a word.

    Cost: nothing without batch norms; a copy of a gradient where the layouts differ.

    Example:
        >>> norm = nn.BatchNorm1d(2).eval()
        >>> with gradients_aligned(norm):
        ...     norm(torch.ones(1, 2, 3)).shape
        torch.Size([1, 2, 3])
    """
    if not any(isinstance(submodule, BatchNorm) for submodule in module.modules()):
        yield
        return
    # of all modules, not one of each norm: that would count as a reader of the layer before it
    handle = register_module_forward_hook(_align)
    try:
        yield
    finally:
        handle.remove()


def _align(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    if not isinstance(module, BatchNorm) or not args or not isinstance(output, Tensor):
        return
    given = cast(Tensor, args[0])
    if len(output) != 1 or output.ndim < 3 or output.grad_fn is None or output.shape != given.shape:
        return

    def aligned(gradient: Tensor) -> Tensor | None:
        return None if gradient.stride() == given.stride() else torch.empty_like(given).copy_(gradient)

    # what follows the functions of a forward need not know
    with _torch._C.DisableTorchFunction():
        output.register_hook(aligned)
