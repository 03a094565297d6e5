"""The affine maps that relevance passes through: dense layers, convolutions and per-channel scaling.

Each knows how to apply any weights shaped like its own, and how to apply their transpose. That is all a rule
needs, so a rule is written once and serves every layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional


@runtime_checkable
class AffineMap(Protocol):
    """`z = weight * a + bias`, for some way of multiplying; the parameters are only read."""

    @property
    def weight(self) -> Tensor:
        """The layer's own weights."""
        ...

    @property
    def bias(self) -> Tensor | None:
        """One number per output channel, or None."""
        ...

    def apply(self, a: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map inputs `a` [batch, ...] with the given weights."""
        ...

    def transpose(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """Map `s`, shaped like the output, back to the shape of the input `like`."""
        ...

    def spread(self, s: Tensor, like: Tensor) -> Tensor:
        """Map back as `transpose` does with weights of 1."""
        ...

    def rescaled(self, scale: Tensor, shift: Tensor) -> "AffineMap":
        """Merge a scaling of the output channels that follows: `scale * z + shift`, each [channels]."""
        ...


def transpose_each(layer: AffineMap, s: Tensor, weights: Sequence[Tensor], like: Tensor) -> list[Tensor]:
    """Map back with several weights; side by side where that reads `s` only once."""
    if not isinstance(layer, Convolution):
        return [layer.transpose(s, weight, like) for weight in weights]
    return layer.transpose_each(s, weights, like)


def _shifted(bias: Tensor | None, scale: Tensor, shift: Tensor) -> Tensor:
    return shift if bias is None else bias * scale + shift


@dataclass(frozen=True)
class Dense:
    """A linear layer: inputs [..., in], weight [out, in].

    Example:
        >>> dense = Dense(torch.tensor([[2.0, -1.0]]), None)
        >>> dense.apply(torch.ones(1, 2), dense.weight)
        tensor([[1.]])
        >>> dense.transpose(torch.ones(1, 1), dense.weight, torch.ones(1, 2))
        tensor([[ 2., -1.]])
    """

    weight: Tensor
    bias: Tensor | None

    def apply(self, a: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map inputs [..., in] to [..., out]."""
        return functional.linear(a, weight, bias)

    def transpose(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """Map [..., out] back to [..., in]."""
        del like
        return s @ weight

    def spread(self, s: Tensor, like: Tensor) -> Tensor:
        """Give every input the sum of the outputs."""
        return s.sum(-1, keepdim=True).expand_as(like)

    def rescaled(self, scale: Tensor, shift: Tensor) -> "Dense":
        """Merge a scaling of the outputs."""
        return replace(self, weight=self.weight * scale[:, None], bias=_shifted(self.bias, scale, shift))


def _layout(image: Tensor) -> torch.memory_format:
    is_image = image.ndim == 4 and image.device.type == "cpu"
    return torch.channels_last if is_image else torch.contiguous_format


def laid_out(image: Tensor) -> Tensor:
    """Lay an image, or the weights for images, out as convolutions are fastest with; most are already."""
    return image.contiguous(memory_format=_layout(image))


@dataclass(frozen=True)
class Convolution:
    """A convolution or transposed convolution over any number of spatial dimensions.

    Images are laid out channels last on a CPU, which convolutions there are up to twice as fast with.

    Attributes:
        weight: [out, in / groups, ...], transposed [in, out / groups, ...].
        bias: [out] or None.
        stride: One number per spatial dimension, as are `padding`, `dilation` and `output_padding`.
        transposed: Whether it is a transposed convolution.
        groups: Into how many separate groups the channels fall.
        end_padding: Zeros to add at the end of each spatial dimension, as `functional.pad` takes them.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    output_padding: tuple[int, ...]
    end_padding: tuple[int, ...] = ()

    def apply(self, a: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map inputs [batch, in, ...] to [batch, out, ...]."""
        if self._is_dense(a):
            out = functional.linear(a.flatten(1), weight.flatten(1), bias)
            return out.reshape(*out.shape, *[1] * (a.ndim - 2))
        return torch.convolution(
            self._padded(laid_out(a)), weight, bias, self.stride, self.padding, self.dilation,
            self.transposed, self.output_padding, self.groups,
        )  # fmt: skip

    def transpose(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """Map [batch, out, ...] back to [batch, in, ...]."""
        if self._is_dense(like):
            return (s.flatten(1) @ weight.flatten(1)).reshape(like.shape)
        # torch asks what was read for its shape and layout alone
        read = self._padded(torch.empty_like(like, memory_format=_layout(like)))
        gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
            laid_out(s), read, weight, None, self.stride, self.padding, self.dilation,
            self.transposed, self.output_padding, self.groups, [True, False, False],
        )  # fmt: skip
        return gradients[0][tuple(slice(size) for size in like.shape)]

    def transpose_each(self, s: Tensor, weights: Sequence[Tensor], like: Tensor) -> list[Tensor]:
        """Map back with several weights, side by side, since layers that read an image have few channels."""
        if self.transposed or self.groups > 1:
            return [self.transpose(s, weight, like) for weight in weights]
        wide = like.new_empty((len(like), len(weights) * like.shape[1], *like.shape[2:]))
        return list(self.transpose(s, torch.cat(list(weights), dim=1), wide).chunk(len(weights), dim=1))

    def spread(self, s: Tensor, like: Tensor) -> Tensor:
        """Map back with weights of 1: all channels of a group are alike, so it is done for one of them."""
        if self.transposed:
            return self.transpose(s, torch.ones_like(self.weight), like)
        by_group = s.unflatten(1, (self.groups, -1)).sum(2)
        alike = like.unflatten(1, (self.groups, -1))
        back = self.transpose(by_group, torch.ones_like(self.weight[: self.groups, :1]), alike[:, :, 0])
        return back.unsqueeze(2).expand_as(alike).flatten(1, 2)

    def _is_dense(self, a: Tensor) -> bool:
        """Return True where the weights cover the input once: torch would lay out all of them anew for each call."""
        is_plain = self.groups == 1 and not (self.transposed or any(self.padding) or any(self.end_padding))
        return is_plain and a.shape[2:] == self.weight.shape[2:] and self.weight[0, 0].numel() > 1

    def _padded(self, a: Tensor) -> Tensor:
        # torch copies even where there is nothing to pad
        return functional.pad(a, self.end_padding) if any(self.end_padding) else a

    def rescaled(self, scale: Tensor, shift: Tensor) -> "Convolution":
        """Merge a scaling of the output channels."""
        bias = _shifted(self.bias, scale, shift)
        if not self.transposed:
            return replace(self, weight=self.weight * scale.reshape(-1, *[1] * (self.weight.ndim - 1)), bias=bias)
        # the output channels of group g are the second dimension of the g-th block of rows
        by_group = self.weight.unflatten(0, (self.groups, -1))
        factor = scale.reshape(self.groups, 1, -1, *[1] * (self.weight.ndim - 2))
        return replace(self, weight=(by_group * factor).flatten(0, 1), bias=bias)


@dataclass(frozen=True)
class ChannelScaling:
    """A scaling of each channel: inputs [batch, channels, ...], weight [channels]; BatchNorm in eval mode."""

    weight: Tensor
    bias: Tensor | None

    def apply(self, a: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Scale and shift each channel."""
        shape = (-1, *[1] * (a.ndim - 2))
        if bias is None:
            return a * weight.reshape(shape)
        return torch.addcmul(bias.reshape(shape), a, weight.reshape(shape))

    def transpose(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """Scale each channel: a diagonal map is its own transpose."""
        del like
        return self.apply(s, weight)

    def spread(self, s: Tensor, like: Tensor) -> Tensor:
        """Give each input its own output."""
        del like
        return s

    def rescaled(self, scale: Tensor, shift: Tensor) -> "ChannelScaling":
        """Merge a second scaling."""
        return replace(self, weight=self.weight * scale, bias=_shifted(self.bias, scale, shift))


@dataclass(frozen=True)
class Contraction:
    """Any product of inputs and constants that is linear in both: `matmul` and `einsum` with constants.

    Attributes:
        weight: The constants.
        function: Takes inputs and constants.
        bias: None.
        back: Takes what comes back and the constants, if there is a function for that.
    """

    weight: Tensor
    function: Callable[[Tensor, Tensor], Tensor]
    bias: Tensor | None = None
    back: Callable[[Tensor, Tensor], Tensor] | None = None

    def apply(self, a: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Multiply."""
        del bias
        return self.function(a, weight)

    def transpose(self, s: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """Go back by the gradient of the product, which is its transpose."""
        if self.back is not None:
            return self.back(s, weight)
        with torch.enable_grad():
            start = torch.zeros_like(like, requires_grad=True)
            (back,) = torch.autograd.grad(self.function(start, weight), start, s, create_graph=s.requires_grad)
        return back

    def spread(self, s: Tensor, like: Tensor) -> Tensor:
        """Map back with constants of 1."""
        return self.transpose(s, torch.ones_like(self.weight), like)

    def rescaled(self, scale: Tensor, shift: Tensor) -> "Contraction":
        """Never asked for: its output has no fixed dimension of channels."""
        raise NotImplementedError
