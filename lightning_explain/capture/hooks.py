"""Forward hooks that mean nothing in a copy of the module they sit on."""

from collections.abc import Callable
from typing import Any

from torch import nn


def _ignore(*_: Any) -> None:
    """Do nothing: the hook that is left in a copy of a watched module."""


def _inert() -> Callable[..., None]:
    return _ignore


class Hook:
    """A forward hook that hands outputs on; in a copy or a pickle of the module it does nothing.

    Args:
        receive: Takes the output.
    """

    def __init__(self, receive: Callable[[Any], None]) -> None:
        self._receive = receive

    def __call__(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Hand the module's output on."""
        self._receive(output)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        # a mean teacher's copy of the network is no part of the run that is watched
        return _inert, ()


class CallHook:
    """A forward hook that hands on arguments, keyword arguments and output; inert in copies, as `Hook`.

    Args:
        receive: Takes the three.
    """

    def __init__(self, receive: Callable[[Any, Any, Any], None]) -> None:
        self._receive = receive

    def __call__(self, _module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Hand the call on."""
        self._receive(args, kwargs, output)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _inert, ()
