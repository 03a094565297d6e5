"""Calls of torch functions as the trace meets them, by whichever of its names a function was called."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.maps import AffineMap

ALIASES = {
    "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "ipow": "pow", "imatmul": "matmul",
    "radd": "add", "rmul": "mul", "multiply": "mul", "divide": "div", "true_divide": "div", "truediv": "div",
    "subtract": "sub", "absolute": "abs", "clip": "clamp", "special_expit": "sigmoid", "expit": "sigmoid",
    "special_softmax": "softmax", "special_log_softmax": "log_softmax", "special_erf": "erf", "float_power": "pow",
    "linalg_matmul": "matmul", "arctan": "atan", "rpow": "exp", "idiv": "div", "rdiv": "reciprocal",
    "rtruediv": "reciprocal",
}  # fmt: skip
"""Other names of the same operations."""


LIKE_ANOTHER = frozenset({"type_as", "view_as", "reshape_as", "expand_as", "to"})
"""Operations that take nothing of their second tensor but its form."""

CONVERSIONS = frozenset({"__bool__", "__float__", "__int__", "__complex__", "item", "tolist"})
"""Operations that make something of Python's own out of a tensor; `x.float()` is none."""


@dataclass(frozen=True)
class Operation:
    """One call.

    Attributes:
        function: What was called.
        name: The operation's name: `mul` for `torch.mul`, `Tensor.mul_` and `x *= y` alike.
        args: Its arguments by position.
        kwargs: Its arguments by keyword.
        in_place: Whether the result is written into the first argument.
    """

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    in_place: bool = False

    def run(self) -> Any:
        """Run it as it is."""
        return self.function(*self.args, **self.kwargs)

    @property
    def n_read(self) -> int | None:
        """The number of tensors whose values are read; None for all."""
        return 1 if self.name in LIKE_ANOTHER else None

    def tensors(self) -> list[Tensor]:
        """List the tensors among the arguments, also those in lists."""
        found: list[Tensor] = []
        for value in (*self.args, *self.kwargs.values()):
            if isinstance(value, Tensor):
                found.append(value)
            elif isinstance(value, list | tuple | dict):
                found += tensors_in(value)
        return found


@runtime_checkable
class Tracer(Protocol):
    """Interface of the trace for the rules of operations."""

    choices: Choices

    def depends(self, value: Any) -> bool:
        """Return True for a tensor that is computed from the explained inputs."""
        ...

    def rank(self, tensor: Tensor) -> int:
        """Return a tensor's rank as a gate, as `gates.Rank`."""
        ...

    def note_rank(self, result: Any, rank: int) -> None:
        """Remember a result's rank as a gate."""
        ...

    def kept(self, target: Tensor) -> Tensor:
        """Return the current values of a tensor, for when something has written into it."""
        ...

    def layer(self, a: Tensor, layer: AffineMap, kind: type[nn.Module], tensors: Sequence[Any]) -> Tensor:
        """Apply a layer by the rule that the composite has for it."""
        ...

    def inside(self) -> AbstractContextManager[Any]:
        """Meet the operations inside another one."""
        ...

    def trusted(self) -> AbstractContextManager[Any]:
        """Accept operations inside with their own gradients."""
        ...

    def expands(self, output: Tensor, lost: Callable[[Tensor], Tensor]) -> None:
        """Take note of an operation that hands on a Taylor expansion: what is lost of the gradient at its output."""
        ...

    def heads(self, output: Tensor) -> Tensor:
        """Take note of the output of an attention, [batch, heads, tokens, dimensions]; return what to go on with."""
        ...

    def state(self, hidden: Tensor, part: str) -> Tensor:
        """Take note of a recurrent layer's state after a step [batch, hidden]; return what to go on with.

        Args:
            hidden: The state.
            part: Layer and direction within the module, as torch names its weights: `l0`, `l1_reverse`.
        """
        ...


Handler = Callable[[Tracer, Operation], Any]
"""Runs an operation so that its backward pass is its rule."""


def tensors_in(value: Any) -> list[Tensor]:
    """List the tensors in an argument or a result."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return tensors_in(list(cast("dict[Any, Any]", value).values()))
    if isinstance(value, list | tuple):
        return [tensor for part in cast("list[Any]", value) for tensor in tensors_in(part)]
    return []


@lru_cache(maxsize=4096)
def name_of(function: Callable[..., Any]) -> tuple[str, bool]:
    """Return the name of an operation, and whether it writes into its first argument.

    Example:
        >>> name_of(torch.Tensor.mul_), name_of(torch.Tensor.__iadd__), name_of(torch.nn.functional.relu)
        (('mul', True), ('add', True), ('relu', False))
    """
    # of torch.ops: `mul.Tensor`
    name = str(getattr(function, "__name__", function)).split(".")[0]
    if name in CONVERSIONS:
        return name, False
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        in_place = name.startswith("i") and name in ALIASES
    else:
        in_place = name.endswith("_")
        name = name.strip("_")
    return ALIASES.get(name, name), in_place or name == "setitem"


def out_of_place(operation: Operation) -> Operation:
    """Return the same operation on a copy of what it would write into, which it may keep for the way back.

    Activations say by a boolean, the only one among their options, whether they work in place.
    """
    target = operation.args[0] if operation.args else operation.kwargs["input"]
    args = tuple(False if option is True else option for option in operation.args[1:])
    kwargs = {key: value for key, value in operation.kwargs.items() if key not in ("inplace", "input")}
    function = operation.function
    if operation.in_place:
        function = next(getattr(place, operation.name) for place in PLACES if hasattr(place, operation.name))
    return Operation(function, operation.name, (target.clone(), *args), kwargs)


def works_in_place(operation: Operation) -> bool:
    """Return True for `x.relu_()` and `relu(x, inplace=True)` alike."""
    if operation.in_place or operation.kwargs.get("inplace", False):
        return True
    # the functions of activations that take `inplace` by position
    return operation.name in POSITIONAL_IN_PLACE and any(option is True for option in operation.args[1:])


PLACES = (Tensor, torch, functional)
"""Where torch has its functions."""

POSITIONAL_IN_PLACE = frozenset({
    "relu6", "hardtanh", "silu", "mish", "elu", "selu", "celu", "hardswish", "hardsigmoid", "leaky_relu", "threshold",
    "rrelu", "relu",
})  # fmt: skip


@lru_cache(maxsize=512)
def opened(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return a function of torch that is written in Python, so that a trace meets the operations inside it.

    torch asks at the beginning of such a function whether someone wants to take it over. The copy does not ask.

    Returns:
        The copy; None for functions that are not written in Python, or that never ask.

    Example:
        >>> opened(torch.nn.functional.normalize) is None, opened(torch.nn.functional.softplus) is None
        (False, True)
    """
    if not isinstance(function, FunctionType) or not str(function.__module__).startswith("torch"):
        return None
    asking = {name for name in function.__code__.co_names if name.startswith("has_torch_function")}
    if not asking:
        return None

    def nobody(*args: Any, **kwargs: Any) -> bool:
        del args, kwargs
        return False

    copy = FunctionType(
        function.__code__,
        {**function.__globals__, **dict.fromkeys(asking, nobody)},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def sequence_number() -> int:
    """Return the number that the next node of the autograd graph will have."""
    return int(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
