"""Numbers of an event that are read as numbers: those of tables, words and entities, as base64 of their bytes."""

import base64
from typing import Any

import torch
from torch import Tensor

MOST_SINGLES = 1 << 15
"""Numbers that are written in 32 bits, 175 kB; more of them in 16 bits, each sample in its own scale."""


def packed_numbers(values: Tensor) -> dict[str, Any]:
    """Write numbers [samples, positions] in few letters.

    A picture of 8 bits would say 0.223 for 0.1999 beside a largest value of 7; 16 bits keep three digits.

    Args:
        values: [samples, positions]; infinity becomes NaN.

    Returns:
        `values` (base64), `values_type` (`"f4"`: little-endian 32-bit floats; `"f2"`: 16-bit floats, in multiples of
        the sample's scale) and `scales` (the largest absolute value of each sample).

    Example:
        >>> packed_numbers(torch.tensor([[0.5, -2.0]]))
        {'values': 'AAAAPwAAAMA=', 'values_type': 'f4', 'scales': [2.0]}
    """
    numbers = values.detach().cpu().float()
    numbers = torch.where(numbers.isfinite(), numbers, torch.nan)
    scales = [float(f"{scale:.3g}") for scale in numbers.nan_to_num().abs().amax(1).tolist()]
    if numbers.numel() <= MOST_SINGLES:
        content, kind = numbers.numpy().astype("<f4"), "f4"
    else:
        full = torch.tensor([scale or 1.0 for scale in scales])
        content, kind = (numbers / full[:, None]).numpy().astype("<f2"), "f2"
    return {
        "values": base64.b64encode(content.tobytes()).decode(),
        "values_type": kind,
        "scales": scales,
    }
