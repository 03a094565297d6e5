"""Share of an explanation inside a mask."""

import torch
from torch import Tensor

from lightning_explain.attribution.result import Attribution
from lightning_explain.errors import ConfigurationError


def mass_in_mask(attribution: Attribution | Tensor, mask: Tensor) -> Tensor:
    """Return the share of |attribution| inside a mask, such as an object or a watermark.

    Args:
        attribution: Result of a method with one input, or its values [batch, ...].
        mask: 1 or True inside, 0 or False outside (shares between are allowed): [batch or 1, ...], broadcasting to
            the values; one without the channel dimension, [batch or 1, height, width], counts for all channels.

    Returns:
        Shares from 0 to 1 [batch]; NaN where all attributions are 0.

    Raises:
        ConfigurationError: Several inputs, a mask that does not fit, or one with values outside [0, 1].

    Example:
        >>> mass_in_mask(torch.tensor([[3.0, -1.0]]), torch.tensor([[True, False]]))
        tensor([0.7500])
    """
    values = values_of(attribution)
    mask = _fitting(mask, values)
    size = values.abs()
    # 0 / 0 is NaN, which is meant
    return (size * mask).flatten(1).sum(1) / size.flatten(1).sum(1)


def values_of(attribution: Attribution | Tensor) -> Tensor:
    """Return the values of an attribution of one input, as [batch, features] at least.

    Raises:
        ConfigurationError: It explains several inputs, or is empty.
    """
    parts = attribution.parts if isinstance(attribution, Attribution) else (attribution,)
    if len(parts) != 1 or parts[0].ndim == 0:
        raise ConfigurationError(
            f"The attribution has {len(parts)} parts; expected one tensor [batch, ...]. Measure inputs one at a time."
        )
    values = parts[0].detach()
    return values[:, None] if values.ndim == 1 else values


def _fitting(mask: Tensor, values: Tensor) -> Tensor:
    given = list(mask.shape)
    mask = mask.detach().to(device=values.device, dtype=values.dtype)
    if mask.ndim == values.ndim - 1:
        mask = mask.unsqueeze(1)
    fits = mask.ndim == values.ndim and all(m in (1, v) for m, v in zip(mask.shape, values.shape, strict=True))
    if not fits:
        raise ConfigurationError(
            f"mask has shape {given}; expected one that broadcasts to the attributions {list(values.shape)}, with "
            "the sample as first dimension (mask[None] for one mask for all), or the same without the channels."
        )
    if bool(((mask < 0) | (mask > 1) | mask.isnan()).any()):
        raise ConfigurationError(
            f"mask has values from {float(mask.min())} to {float(mask.max())}; expected 0 (outside) to 1 (inside). "
            "Compare first, e.g. mask > 0."
        )
    return torch.broadcast_to(mask, values.shape)
