"""What an input is compared with: the point where the path of integrated gradients starts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.result import parts_of
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError

Baseline = str | Inputs | Callable[..., Any]
"""`"zeros"`, a tensor (or tuple) that broadcasts to the inputs, or a callable from inputs to one."""

NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda part: torch.zeros_like(part[:1]),
}


def baseline_name(baseline: Baseline) -> str:
    """Name a baseline for tags and records.

    Example:
        >>> baseline_name("zeros"), baseline_name(torch.ones(3))
        ('zeros', 'tensor')
    """
    if isinstance(baseline, str):
        return baseline
    if callable(baseline):
        return str(getattr(baseline, "__name__", type(baseline).__name__))
    return "tensor"


def _fitting(part: Any, like: Tensor) -> Tensor:
    """Bring one baseline to [1 or batch, ...] on the input's device, or refuse it."""
    if not isinstance(part, Tensor):
        raise ConfigurationError(f"baseline gave {type(part).__name__}; expected a tensor of shape {list(like.shape)}.")
    part = part.detach().to(device=like.device, dtype=like.dtype)
    part = part.reshape((1,) * (like.ndim - part.ndim) + part.shape)
    fits = part.ndim == like.ndim and all(a in (1, b) for a, b in zip(part.shape, like.shape, strict=True))
    if not fits:
        raise ConfigurationError(
            f"baseline has shape {list(part.shape)}; expected {list(like.shape)} or one that broadcasts to it "
            f"(one sample: {list(like.shape[1:])})."
        )
    # an expanded view is enough: it is only read
    return part.expand(len(part), *like.shape[1:])


def resolve_baseline(baseline: Baseline, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Turn a baseline option into tensors, each [1, ...] (shared by all samples) or [batch, ...].

    Args:
        baseline: Name, tensor(s) or callable; a callable takes the inputs as given to the method.
        inputs: The explained inputs.

    Raises:
        ConfigurationError: Unknown name, wrong number of parts, or a shape that does not broadcast.

    Example:
        >>> resolve_baseline("zeros", (torch.ones(5, 2),))[0].shape
        torch.Size([1, 2])
    """
    if isinstance(baseline, str):
        if baseline not in NAMED:
            raise ConfigurationError(
                f"baseline={baseline!r} is unknown; expected one of {sorted(NAMED)}, a tensor or a callable."
            )
        return tuple(NAMED[baseline](part) for part in inputs)
    # a callable sees the inputs as the method was given them: one tensor, or a tuple of several
    as_given = inputs if len(inputs) != 1 else next(iter(inputs))
    given: Any = baseline(as_given) if callable(baseline) else baseline
    parts = parts_of(given)
    if len(parts) != len(inputs):
        raise ConfigurationError(
            f"baseline has {len(parts)} parts, but there are {len(inputs)} inputs: give one for each."
        )
    return tuple(_fitting(part, like) for part, like in zip(parts, inputs, strict=True))
