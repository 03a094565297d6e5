"""Single steps of relevance propagation, as functions that autograd goes back through by their own gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.lrp.graph import Node
from lightning_explain.attribution.lrp.input_rules import AnyRule, InputRule
from lightning_explain.attribution.lrp.maps import AffineMap


@dataclass(frozen=True)
class Call:
    """What a layer read, the map it applied, its rule, and its name where it has one."""

    read: Tensor
    layer: AffineMap
    rule: AnyRule
    name: str | None = None


class Ruled(torch.autograd.Function):
    """A layer whose backward pass is its rule."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, call: Call, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute what the layer always does."""
        z = compute(a)
        ctx.layer, ctx.rule = call.layer, call.rule
        ctx.save_for_backward(a)
        # not a copy: the trace makes one when something writes into z
        keep(ctx, z)
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Hand relevance down by the layer's rule."""
        (read,) = ctx.saved_tensors
        layer, rule = ctx.layer, ctx.rule
        # a model that opens autocast itself computes in 16 bits; relevance goes back in the type of the weights
        a, gradient = (part.to(layer.weight.dtype) for part in (read, gradients[0]))
        # it was let go of when a BatchNorm took the layer over, or something that the trace did not see wrote in it
        z = ctx.output.to(a.dtype) if keeps(ctx) else layer.apply(a, layer.weight, layer.bias)
        ctx.output = None
        if isinstance(rule, InputRule):
            handed_down = rule.relevance(layer, a, z, z * gradient)
        else:
            handed_down = rule.modified_gradient(layer, a, z, gradient)
        return handed_down.to(read.dtype), None, None


def keep(node: Node, output: Tensor) -> None:
    """Let a layer keep a tensor as its output; the version tells whether something has written into it since."""
    node.output, node.version = output.detach(), output._version


def keeps(node: Node) -> bool:
    """Whether a layer still has its output."""
    return node.output is not None and node.output._version == node.version


class PassedActivation(torch.autograd.Function):
    """An elementwise activation that hands relevance on unchanged: its gradient is output / input."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute the activation."""
        a = function(z)
        ctx.save_for_backward(torch.where(z == 0, torch.zeros_like(z), a / z))
        return a

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Hand relevance on."""
        (ratio,) = ctx.saved_tensors
        return gradients[0] * ratio, None


def passed_on(function: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
    """Run an activation so that it hands relevance on; the only boolean among its options is `inplace`."""
    z: Tensor = args[0] if args else kwargs["input"]
    if not z.requires_grad:
        return function(*args, **kwargs)
    in_place = kwargs.get("inplace", False) or any(option is True for option in args[1:])
    options = tuple(False if option is True else option for option in args[1:])
    named = {key: value for key, value in kwargs.items() if key not in ("input", "inplace")}

    def compute(read: Tensor) -> Tensor:
        return function(read, *options, **named)

    out: Any = PassedActivation.apply(z.clone() if in_place else z, compute)
    return z.copy_(out) if in_place else out
