"""From a call of a torch function to the affine map that it applies."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.lrp.maps import AffineMap, ChannelScaling, Convolution, Dense
from lightning_explain.errors import ConfigurationError

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _per_dimension(value: Any, n: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * n
    given = tuple(int(part) for part in value)
    return given if len(given) == n else given * n


def _fixed(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


def _same_padding(weight: Tensor, dilation: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split the padding of `padding="same"` into an even one and what is left at the end, for `functional.pad`."""
    totals = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    return tuple(total // 2 for total in totals), tuple(end for total in reversed(totals) for end in (0, total % 2))


def _convolution(
    input: Tensor,  # noqa: A002 - torch's own argument names, by which users may call
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, AffineMap]:
    n = weight.ndim - 2
    dilation = _per_dimension(dilation, n)
    missing: tuple[int, ...] = ()
    if padding == "same":
        padding, missing = _same_padding(weight, dilation)
    padding = (0,) * n if padding == "valid" else _per_dimension(padding, n)
    steps, none = _per_dimension(stride, n), (0,) * n
    return input, Convolution(weight.detach(), _fixed(bias), steps, padding, dilation, groups, False, none, missing)


def _transposed_convolution(  # noqa: PLR0917
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[Tensor, AffineMap]:
    n = weight.ndim - 2
    steps, paddings, dilations, ends = (_per_dimension(v, n) for v in (stride, padding, dilation, output_padding))
    return input, Convolution(weight.detach(), _fixed(bias), steps, paddings, dilations, groups, True, ends)


def _dense(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, AffineMap]:  # noqa: A002
    return input, Dense(weight.detach(), _fixed(bias))


def layer_of(kind: type[nn.Module], args: Any, kwargs: Any) -> tuple[Tensor, AffineMap]:
    """Return the input of a layer type's function, and the map it applies."""
    if kind is nn.Linear:
        return _dense(*args, **kwargs)
    if kind in TRANSPOSED:
        return _transposed_convolution(*args, **kwargs)
    return _convolution(*args, **kwargs)


def scaling_of(  # noqa: PLR0917
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, ChannelScaling]:
    """Return the input of `F.batch_norm`, and the scaling by its running statistics.

    Raises:
        ConfigurationError: It uses the statistics of the batch, which mixes samples.
    """
    del momentum
    if training or running_mean is None or running_var is None:
        raise ConfigurationError(
            "LRP has no rule for a BatchNorm that uses the statistics of the batch (training=True or "
            "track_running_stats=False), since its samples are not independent. Use one with running statistics."
        )
    with torch.no_grad():
        scale = torch.rsqrt(running_var + eps)
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale
        return input, ChannelScaling(scale, shift if bias is None else shift + bias)
