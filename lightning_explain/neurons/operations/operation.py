"""A call of a torch function as the axis rules see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from lightning_explain.neurons.axes import Dims

Lookup = Callable[[Any], Dims | None]
"""Gives the dimensions of a tensor that depends on the inputs; None for weights and constants."""


@dataclass(frozen=True)
class AxisOperation:
    """One call of a function.

    Attributes:
        name: The function's name, without the underscore of a function that works in place.
        args: Positional arguments.
        kwargs: Keyword arguments.
        out: The tensor that it returned, one of them where there are several.
        index: Which of several.
        known: Gives the dimensions of arguments, as they were before the call.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Tensor
    index: int
    known: Lookup

    def given(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument that may be positional or a keyword."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.out.shape)

    @property
    def source(self) -> Dims | None:
        """Dimensions of the first argument."""
        return self.known(self.given(0, "input"))

    @property
    def operands(self) -> list[Dims]:
        """Dimensions of all arguments that depend on the inputs."""
        found = (self.known(part) for part in tensors_in((self.args, self.kwargs)))
        return [dims for dims in found if dims is not None]


Rule = Callable[[AxisOperation], Dims | None]


def tensors_in(given: Any) -> list[Tensor]:
    """Return the tensors of nested containers, in their order."""
    if isinstance(given, Tensor):
        return [given]
    parts: Any = given
    if isinstance(given, Mapping):
        parts = cast("Mapping[Any, Any]", given).values()
    elif not isinstance(given, list | tuple):
        parts = vars(given).values() if hasattr(given, "__dataclass_fields__") else ()
    return [tensor for part in parts for tensor in tensors_in(part)]
