"""Convolutions of images that know the gradient at their input, and keep nothing for it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input

Transposed = Callable[[Tensor, torch.Size], Tensor]
"""From gradients at the output, and the shape of the input, to gradients at the input."""


class AffineFunction(torch.autograd.Function):
    """A function whose gradient at its input depends on nothing but the gradient at its output.

    Autograd keeps the input of every convolution for the gradient of its weights, which explanations never take.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor], transposed: Transposed) -> Tensor:
        """Run the function."""
        ctx.transposed, ctx.shape = transposed, x.shape
        return function(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradient at the input."""
        return ctx.transposed(gradients[0], ctx.shape), None, None


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, *args: Any, **kwargs: Any) -> Tensor:
    """Convolve as torch does, with the gradient at the input only.

    Args:
        x: Maps [batch, channels, height, width].
        weight: [outputs, channels of a group, height, width], without a gradient.
        bias: [outputs], without a gradient.
        args: Stride, padding, dilation, groups.
        kwargs: The same by their names.

    Example:
        >>> x, weight = torch.ones(1, 1, 3, 3, requires_grad=True), torch.full((1, 1, 2, 2), 2.0)
        >>> torch.autograd.grad(conv2d(x, weight, None).sum(), x)[0]
        tensor([[[[2., 4., 2.],
                  [4., 8., 4.],
                  [2., 4., 2.]]]])
    """
    convolve = partial(_convolved, weight=weight, bias=bias, args=args, kwargs=kwargs)
    given: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    given.update(zip(given, args, strict=False), **kwargs)
    if not x.requires_grad or not torch.is_grad_enabled() or x.ndim != 4 or isinstance(given["padding"], str):
        return convolve(x)
    return AffineFunction.apply(x, convolve, _transposed(weight, **given))  # pyright: ignore[reportReturnType]


def _convolved(
    x: Tensor, *, weight: Tensor, bias: Tensor | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    return torch.conv2d(x, weight, bias, *args, **kwargs)


def _transposed(weight: Tensor, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Transposed:
    """Choose the quickest way back through a convolution."""
    strides, pads, steps = (_pair(numbers) for numbers in (stride, padding, dilation))
    kernel = (weight.shape[2], weight.shape[3])
    if strides == (1, 1):
        if kernel == (1, 1) and pads == (0, 0) and groups == 1:
            return partial(_by_pixel, weight.flatten(1))
        edges = tuple(step * (size - 1) - pad for step, size, pad in zip(steps, kernel, pads, strict=True))
        if groups == len(weight) and weight.shape[1] == 1 and min(edges) >= 0:
            flipped = weight.flip(2, 3).contiguous(memory_format=torch.channels_last)
            return partial(_by_channel, flipped, edges, steps)
    return partial(_by_torch, weight, (strides, pads, steps, groups))


def _pair(numbers: Any) -> tuple[int, int]:
    first, *others = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    return first, *(others or [first])  # pyright: ignore[reportReturnType]


def _by_pixel(weight: Tensor, gradients: Tensor, shape: torch.Size) -> Tensor:
    """Multiply the channels of each pixel by a matrix."""
    del shape
    return (gradients.permute(0, 2, 3, 1) @ weight).permute(0, 3, 1, 2)


def _by_channel(
    flipped: Tensor, edges: tuple[int, ...], dilation: tuple[int, int], gradients: Tensor, shape: torch.Size
) -> Tensor:
    """Convolve each channel with its kernel turned around, which runs faster than torch's own way back."""
    del shape
    return functional.conv2d(gradients, flipped, None, 1, edges, dilation, len(flipped))


def _by_torch(weight: Tensor, options: tuple[Any, ...], gradients: Tensor, shape: torch.Size) -> Tensor:
    return conv2d_input(shape, weight, gradients, *options)
