"""Activations that are functions (`F.relu`) rather than modules: which layers feed them, found by one trial forward."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lightning_explain.capture.layers import ACTIVATIONS

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


def _applied(tensor: Tensor, *, function: Callable[..., Tensor], rest: tuple[Any, ...], options: Any) -> Tensor:
    writes = function.__name__.endswith("_") or True in rest or options.get("inplace", False)
    # never into the run's own tensor
    return function(tensor.clone() if writes else tensor, *rest, **options)


@dataclass
class FunctionalUse:
    """Where a model applies functional activations.

    Attributes:
        fed: Name of a module -> the function that is applied to its output.
        unseen: Functions whose argument no module returned, with the module in whose forward they are called:
            "relu in 'layer1.0'".
    """

    fed: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict[str, Callable[[Tensor], Tensor]])
    unseen: list[str] = field(default_factory=list[str])


class _Trace(TorchFunctionMode):
    """Sees every function called, the module in whose forward it is called, and which module gave its argument."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.use = FunctionalUse()
        self._names = {module: name for name, module in model.named_modules()}
        self._running: list[nn.Module] = []
        # tensors are kept alive, so that no two share an identity
        self._given: dict[int, tuple[str, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name = getattr(func, "__name__", "").rstrip("_")
        if name in FUNCTIONS and args and isinstance(args[0], Tensor):
            self._note(func, name, args, kwargs or {})
        return func(*args, **(kwargs or {}))

    def _note(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> None:
        if self._running and isinstance(self._running[-1], ACTIVATIONS):
            return  # the function that an activation module consists of
        source, _ = self._given.get(id(args[0]), ("", None))
        if source:
            self.use.fed.setdefault(source, partial(_applied, function=func, rest=args[1:], options=kwargs))
            return
        where = self._names[self._running[-1]] if self._running else ""
        told = f"{name} in {where!r}" if where else f"{name} in the model's own forward"
        if told not in self.use.unseen:
            self.use.unseen.append(told)

    @contextmanager
    def following(self) -> Generator[None, None, None]:
        """Keep track of the modules that run."""
        handles = [
            handle
            for module in self._names
            for handle in (module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave))
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        del args
        self._running.append(module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        del args
        self._running.pop()
        # the innermost module that returned a tensor is the one that made it
        if isinstance(output, Tensor) and not isinstance(module, ACTIVATIONS) and self._names[module]:
            self._given.setdefault(id(output), (self._names[module], output))


def functional_activations(model: nn.Module, forward: Callable[[], Any]) -> FunctionalUse:
    """Find the functional activations of a model and the modules that feed them.

    Call it inside `isolated`: the trial forward is a real one.

    Args:
        model: The model.
        forward: Runs it on any input.

    Cost: one forward pass.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a = nn.Linear(2, 2)
        ...     def forward(self, x):
        ...         return (x + self.a(x).relu()).sigmoid()
        >>> net, x = Net(), nn.Linear(2, 1).weight
        >>> use = functional_activations(net, lambda: net(x))
        >>> list(use.fed), use.unseen
        (['a'], ["sigmoid in the model's own forward"])
    """
    trace = _Trace(model)
    with trace.following(), trace:
        forward()
    return trace.use
