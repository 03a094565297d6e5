"""Forward hooks that are inert in copies of the module they are attached to."""

from collections.abc import Callable
from typing import Any

from torch import nn


def _ignore(*_: Any) -> None:
    """Do nothing: the hook left in a copy of a watched module."""


def _inert() -> Callable[..., None]:
    return _ignore


class Hook:
    """A forward hook that forwards outputs; inert in a copy or a pickle of the module.

    Args:
        receive: Takes the output.
        in_explanations: True if it looks at the passes of explanations too.
    """

    def __init__(self, receive: Callable[[Any], None], *, in_explanations: bool = False) -> None:
        self._receive, self.in_explanations = receive, in_explanations

    def __call__(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Forward the module's output."""
        self._receive(output)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        # a mean teacher's copy of the network is no part of the run that is watched
        return _inert, ()


class CallHook:
    """A forward hook that forwards arguments, keyword arguments and output; inert in copies, like `Hook`.

    Args:
        receive: Takes the three.
        in_explanations: True if it looks at the passes of explanations too.
    """

    def __init__(self, receive: Callable[[Any, Any, Any], None], *, in_explanations: bool = False) -> None:
        self._receive, self.in_explanations = receive, in_explanations

    def __call__(self, _module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Forward the call."""
        self._receive(args, kwargs, output)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _inert, ()
