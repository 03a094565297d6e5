"""Single steps of relevance propagation, as functions that autograd goes back through by their own gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.autograd_graph import Node
from lightning_explain.attribution.lrp.input_rules import AnyRule, InputRule
from lightning_explain.attribution.lrp.maps import AffineMap

Shape = tuple[int, ...]


@dataclass(frozen=True)
class RelevanceCall:
    """Input of a layer, the map it applied, its rule, and its name where it has one.

    Attributes:
        read: The layer's input.
        layer: The layer itself.
        rule: Its rule.
        name: Its name, if it has one.
        scalings: Scale and shift of the batch norms behind it. Weights are scaled when they are needed, since copies of
            all of them at once may take more memory than a pass.
    """

    read: Tensor
    layer: AffineMap
    rule: AnyRule
    name: str | None = None
    scalings: tuple[tuple[Tensor, Tensor], ...] = ()


def merged(layer: AffineMap, scalings: tuple[tuple[Tensor, Tensor], ...]) -> AffineMap:
    """Merge a layer with the batch norms behind it."""
    for scale, shift in scalings:
        layer = layer.rescaled(scale, shift)
    return layer


class Ruled(torch.autograd.Function):
    """A layer whose backward pass is its rule."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, call: RelevanceCall, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute the layer's ordinary output."""
        z = writable(compute(a))
        ctx.layer, ctx.rule, ctx.scalings = call.layer, call.rule, call.scalings
        ctx.save_for_backward(a)
        # not a copy: the trace makes one when something writes into z
        keep(ctx, z)
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Hand relevance down by the layer's rule."""
        (read,) = ctx.saved_tensors
        layer, rule = merged(ctx.layer, ctx.scalings), ctx.rule
        # a model that opens autocast itself computes in 16 bits; relevance goes back in the type of the weights
        a, gradient = (part.to(layer.weight.dtype) for part in (read, gradients[0]))
        # it was let go of when a BatchNorm took the layer over, or something that the trace did not see wrote in it;
        # and one in 16 bits is not the sum of what `a` brings
        is_kept = keeps(ctx) and ctx.output.dtype == a.dtype
        z = ctx.output if is_kept else layer.apply(a, layer.weight, layer.bias)
        ctx.output = None
        if isinstance(rule, InputRule):
            handed_down = rule.relevance(layer, a, z, z * gradient)
        else:
            handed_down = rule.modified_gradient(layer, a, z, gradient)
        return handed_down.to(read.dtype), None, None


def writable(output: Tensor) -> Tensor:
    """Return a tensor that may be an autograd function's output and be written into, which no view may."""
    return output.clone() if output._is_view() else output


def keep(node: Node, output: Tensor) -> None:
    """Let a layer keep a tensor as its output; the version tells whether something has written into it since."""
    node.output, node.version = output.detach(), output._version


def keeps(node: Node) -> bool:
    """Return True while a layer still has its output."""
    return node.output is not None and node.output._version == node.version


def ratio_of(z: Tensor, a: Tensor) -> Tensor:
    """Divide an activation's output by its input; 0 where that was 0, which has no relevance.

    Example:
        >>> ratio_of(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.5]))
        tensor([0.5000, 0.0000])
    """
    return (a / z).nan_to_num_(0.0, 0.0, 0.0)


class PassedActivation(torch.autograd.Function):
    """An elementwise activation that hands relevance on unchanged: its gradient is output / input."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        function: Callable[[Tensor], Tensor],
        ratio: Callable[[Tensor], Tensor] | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Compute the activation.

        Args:
            ctx: Autograd's.
            z: What it reads.
            function: The activation.
            ratio: Output over input from the input alone, if there is a function for that.
            kept: What `z` holds, if the activation writes into it.
        """
        a = function(z)
        if kept is not None:
            ctx.mark_dirty(z)
        read = z if kept is None else kept
        ctx.ratio = ratio
        ctx.save_for_backward(ratio_of(read, a) if ratio is None else read)
        return a

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Hand relevance on."""
        (saved,) = ctx.saved_tensors
        back = gradients[0] * saved if ctx.ratio is None else ctx.ratio(saved).mul_(gradients[0])
        return back, None, None, None


class Shared(torch.autograd.Function):
    """A factor of a product, which gets a share of its relevance."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, share: float) -> Tensor:
        """Return it as it is."""
        ctx.share = share
        return a.view_as(a)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Hand down its share."""
        return gradients[0] * ctx.share, None


def shared(a: Tensor, share: float, *, is_marked: bool = False) -> Tensor:
    """Let a factor have a share of the relevance: all for 1, none for 0.

    Args:
        a: The factor.
        share: Its share.
        is_marked: Whether it gets a node of its own even with all of the relevance.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> torch.autograd.grad(shared(x, 0.5) * 2, x)[0]
        tensor(1.)
    """
    if share == 1 and not is_marked:
        return a
    found: Any = Shared.apply(a, share) if share else a.detach()
    return found


class Normalised(torch.autograd.Function):
    """A normalisation whose spread counts as a constant; what remains, centring and scaling, is linear."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        compute: Callable[[], Tensor],
        scale: Tensor | None,
        spread: Tensor,
        grouped: Shape,
        centred: Shape,
    ) -> Tensor:
        """Compute `(x - mean) * spread * scale + shift`.

        Args:
            ctx: Autograd's.
            x: What is normalised.
            compute: Returns the result.
            scale: Weight, shaped so that it broadcasts with the groups; None for 1.
            spread: One over the standard deviation of each group.
            grouped: The shape in which each group fills whole dimensions.
            centred: The dimensions over which the mean is subtracted; none where it is not.
        """
        ctx.grouped, ctx.centred, ctx.shape, ctx.dtype = grouped, centred, x.shape, x.dtype
        ctx.save_for_backward(spread, *(() if scale is None else (scale,)))
        return writable(compute())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Go back through the scaling and the centring."""
        spread, *scale = ctx.saved_tensors
        gradient = gradients[0].reshape(ctx.grouped)
        if scale:
            gradient = gradient * scale[0]
        if ctx.centred:
            gradient = gradient - gradient.mean(ctx.centred, keepdim=True)
        return (gradient * spread).reshape(ctx.shape).to(ctx.dtype), None, None, None, None, None


OWN = frozenset({Ruled, PassedActivation, Shared, Normalised})
"""The functions of this file, as autograd's nodes know them."""
