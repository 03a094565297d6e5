"""Activation checkpointing during explanations: parts of a forward pass that run again in the backward pass."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint as torch_checkpoint

REENTRANT, NON_REENTRANT = "CheckpointFunction", "_checkpoint_without_reentrant_generator"
"""What `torch.utils.checkpoint.checkpoint` looks up in its module for either kind."""


class _WithoutReentry:
    """Replaces reentrant checkpointing, which `torch.autograd.grad` cannot traverse, by the non-reentrant kind."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return torch_checkpoint.checkpoint(function, *args, use_reentrant=False, preserve_rng_state=preserve)


class _Kept:
    """Replaces reentrant checkpointing: the part runs once and keeps its activations."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        del preserve
        return function(*args)


def _kept(*_args: Any, **_kwargs: Any) -> Generator[None, None, None]:
    """Replacement for the contexts of non-reentrant checkpointing around a part."""
    yield


@contextmanager
def _replaced(**parts: Any) -> Generator[None, None, None]:
    """Replace names that torch looks up, where this release of torch has them."""
    before = {name: getattr(torch_checkpoint, name) for name in parts if hasattr(torch_checkpoint, name)}
    for name in before:
        setattr(torch_checkpoint, name, parts[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(torch_checkpoint, name, value)


def checkpointing_without_reentry() -> Any:
    """Return a context in which reentrant activation checkpointing is replaced by the non-reentrant kind.

    Gradients are the same, and activations are still computed again instead of kept.
    """
    return _replaced(**{REENTRANT: _WithoutReentry})


def checkpointing_off() -> Any:
    """Return a context in which activation checkpointing keeps activations, at the memory of a plain pass.

    It is for what must meet every operation in the forward pass: one that runs again meets nothing.

    Example:
        >>> import torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with checkpointing_off():
        ...     y = torch_checkpoint.checkpoint(torch.exp, x, use_reentrant=True)
        >>> y.grad_fn.name()
        'ExpBackward0'
    """
    return _replaced(**{REENTRANT: _Kept, NON_REENTRANT: _kept})
