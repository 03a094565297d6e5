"""Functional activations (`F.relu`), and the layers that feed them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from lightning_explain.capture.watched_layers import ACTIVATIONS, PRODUCERS
from lightning_explain.neurons.axes import Dims, is_units, size_of
from lightning_explain.neurons.forward_trace import ForwardTrace, FunctionCall
from lightning_explain.neurons.tracing import AxisTracer

FUNCTIONS = frozenset(
    [
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "rrelu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "sigmoid",
        "tanh",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "softplus",
        "softsign",
        "threshold",
    ]
)


@dataclass(frozen=True)
class AppliedFunction:
    """A function with the arguments of its call, ready to be applied to other tensors.

    Attributes:
        function: As torch has it.
        args: Positional arguments after the tensor.
        options: Keyword arguments.
    """

    function: Callable[..., Tensor]
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, tensor: Tensor) -> Tensor:
        """Apply the function, never in place."""
        writes = self.function.__name__.endswith("_") or True in self.args or self.options.get("inplace", False)
        return self.function(tensor.clone() if writes else tensor, *self.args, **self.options)


@dataclass
class FunctionalUse:
    """The functional activations of a model.

    Attributes:
        fed: Name of a module -> which of its calls -> the function that is applied to what that call gave.
        wrapped: Names of modules without parts, not torch's own, that apply a function somewhere within: custom
            activations, whose outputs are the neurons.
        unseen: Functions whose argument no module returned, with the module in whose forward they are called:
            "relu in 'layer1.0'".
    """

    fed: dict[str, dict[int, AppliedFunction]] = field(default_factory=dict[str, dict[int, AppliedFunction]])
    wrapped: list[str] = field(default_factory=list[str])
    unseen: list[str] = field(default_factory=list[str])

    def add(self, name: str, call: int, function: AppliedFunction) -> bool:
        """Add a call that feeds a function; return False if it feeds another function already."""
        return self.fed.setdefault(name, {}).setdefault(call, function) is function


def _same_axes(one: Dims, other: Dims) -> bool:
    """Return True if two tensors are related by elementwise operations only."""
    return len(one) == len(other) and all(
        size_of(a) == size_of(b) and is_units(a) == is_units(b) and [f.axis.root for f in a] == [f.axis.root for f in b]
        for a, b in zip(one, other, strict=True)
    )


def _is_wrapped(found: FunctionCall, trace: ForwardTrace) -> bool:
    """Return True if a function is one step of a custom activation, whose output is counted instead."""
    module = found.inside[-1]
    if isinstance(module, PRODUCERS) or next(module.children(), None) is not None:
        return False
    gave = trace.calls[module][found.call].gave
    return gave is not None and gave is not found.gave and _same_axes(gave, found.gave)


def _returned(found: FunctionCall, trace: ForwardTrace) -> bool:
    """Return True if a module without submodules returns the function's result."""
    module = found.inside[-1]
    is_part = next(module.children(), None) is None
    return is_part and trace.calls[module][found.call].gave is found.gave


def functional_use(model: nn.Module, trace: ForwardTrace) -> FunctionalUse:
    """Find functional activations in a traced forward pass.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a = nn.Linear(2, 2)
        ...     def forward(self, x):
        ...         return (x + self.a(x).relu()).sigmoid()
        >>> net, x = Net(), nn.Linear(2, 1).weight.detach()
        >>> use = functional_use(net, followed(net, net, (x,)))
        >>> list(use.fed), use.unseen
        (['a'], ["sigmoid in the model's own forward"])
    """
    names = {module: name for name, module in model.named_modules()}
    use = FunctionalUse()
    for found in trace.functions:
        inner = found.inside[-1] if found.inside else model
        if isinstance(inner, ACTIVATIONS):
            continue  # the function that an activation module consists of
        where = names.get(inner, "")
        if where and _is_wrapped(found, trace):
            use.wrapped += [where] if where not in use.wrapped else []
        elif found.source is not None:
            applied = AppliedFunction(found.function, found.args, found.options)
            if not use.add(names[found.source[0]], found.source[1], applied):
                _unseen(use, found.name, where)
        elif where and _returned(found, trace):
            use.wrapped += [where] if where not in use.wrapped else []
        else:
            _unseen(use, found.name, where)
    return use


def _unseen(use: FunctionalUse, name: str, where: str) -> None:
    described = f"{name} in {where!r}" if where else f"{name} in the model's own forward"
    if described not in use.unseen:
        use.unseen.append(described)


def followed(
    model: nn.Module, call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> ForwardTrace:
    """Trace one forward pass; call it inside `isolated`, since the model really runs.

    Args:
        model: The model whose modules are noted.
        call: What is called, the model or a part of it.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Cost: one forward pass.
    """
    tracer, given = AxisTracer(model, FUNCTIONS), (args, kwargs or {})
    with tracer.following(given):
        output = call(*args, **(kwargs or {}))
    tracer.settle(given, output)
    return tracer.trace
