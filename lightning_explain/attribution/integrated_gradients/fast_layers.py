"""Layers called with weights of their own while a model is explained, whatever modules call them."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lightning_explain.attribution.integrated_gradients.input_gradients import conv2d

PLAIN = (torch.conv1d, torch.conv2d, torch.conv3d, functional.linear)
"""Functions whose weights are [outputs, ...]."""

TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
"""Functions whose weights are [inputs, outputs of a group, ...]."""


@dataclass
class FastLayers(TorchFunctionMode):
    """Calls layers with weights of their own, and leaves out the batch norms that are merged into them.

    Attributes:
        by_weight: The layer's own weight, what takes its place, and the bias, by the identity of the first.
        norms: Running means of the merged batch norms by their identity.
        callers: Modules that call them.
    """

    by_weight: dict[int, tuple[Tensor, Tensor, Tensor | None]] = field(default_factory=dict)
    norms: dict[int, Tensor] = field(default_factory=dict)
    callers: set[nn.Module] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def weight_of(self, weight: Tensor) -> Tensor:
        """Return the weight that a layer runs with."""
        return self.by_weight.get(id(weight), (weight, weight, None))[1].detach()

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Change what modules call that call such layers, also where they run again in a backward pass."""
        found = {module: vars(module).get("forward") for module in self.callers}
        try:
            for module in self.callers:
                vars(module)["forward"] = FastForward(module.forward, self)
            yield
        finally:
            for module, forward in found.items():
                if forward is None:
                    vars(module).pop("forward", None)
                else:
                    vars(module)["forward"] = forward

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a torch function, a layer with another weight."""
        kwargs = kwargs or {}
        if func is functional.batch_norm:
            mean = args[1] if len(args) > 1 else kwargs["running_mean"]
            if id(mean) in self.norms:
                return args[0] if args else kwargs["input"]
        elif func in PLAIN or func in TRANSPOSED:
            x, weight, _, others, named = layer_arguments(args, kwargs)
            if id(weight) in self.by_weight:
                run = conv2d if func is torch.conv2d and x.device.type == "cpu" else func
                return run(x, *self.by_weight[id(weight)][1:], *others, **named)
        return func(*args, **kwargs)


@dataclass(frozen=True)
class FastForward:
    """The forward of a module while its layers run faster.

    Attributes:
        forward: Its own.
        layers: What runs faster.
    """

    forward: Callable[..., Any]
    layers: FastLayers

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        with self.layers:
            return self.forward(*args, **kwargs)


def layer_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor | None, tuple[Any, ...], dict[str, Any]]:
    """Return input, weight and bias of a layer's call, and what else it was given."""
    given: dict[str, Any] = {"bias": None, **dict(zip(("input", "weight", "bias"), args, strict=False)), **kwargs}
    x, weight, bias = (given.pop(name) for name in ("input", "weight", "bias"))
    return x, weight, bias, args[3:], given
