"""A channel of a signal as a line on colours, however many time steps it has."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_explain.render.colour import Picture
from lightning_explain.render.text import INK

MOST_COLUMNS = 240
"""Longer signals are put together to so many columns."""

SHADE = 0.85
"""Brightness of what lies inside the outline of a dense signal."""

Values = npt.NDArray[np.float64]


def lanes_of(signals: Tensor) -> Tensor:
    """Bring signals [batch, time], [batch, channels, time] or [batch, time, channels] to [batch, channels, time].

    The longer side is the time.
    """
    if signals.ndim == 2:
        return signals[:, None]
    return signals if signals.shape[2] >= signals.shape[1] else signals.transpose(1, 2)


def binned(values: Tensor, n_bins: int = MOST_COLUMNS) -> Tensor:
    """Add up neighbouring time steps [..., time] into at most so many columns, so that the sum stays the same.

    Example:
        >>> binned(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), 2)
        tensor([6., 9.])
    """
    n_steps = values.shape[-1]
    if n_steps <= n_bins:
        return values
    total = torch.zeros(*values.shape[:-1], n_bins, dtype=values.dtype)
    return total.index_add_(-1, bin_of_step(n_steps, n_bins), values)


def bin_of_step(n_steps: int, n_bins: int) -> Tensor:
    """Return the column of each time step."""
    return torch.arange(n_steps) * n_bins // n_steps


def _envelope(signal: Values, n_bins: int) -> tuple[Values, Values]:
    """Return the smallest and largest value of each column."""
    starts = np.unique((np.arange(n_bins) * len(signal) + n_bins - 1) // n_bins)
    return np.minimum.reduceat(signal, starts), np.maximum.reduceat(signal, starts)


def _span(signal: Values, width: int) -> tuple[Values, Values]:
    """Return lower and upper end of the line in each of `width` pixel columns, joined to its neighbour."""
    if len(signal) > width:
        low, high = _envelope(signal, width)
    else:
        at = (np.arange(width) + 0.5) * len(signal) / width - 0.5
        low = high = np.interp(at, np.arange(len(signal)), signal)
    joined_low = np.minimum(low[1:], high[:-1])
    joined_high = np.maximum(high[1:], low[:-1])
    # each column reaches to where the one before ends
    return np.r_[low[:1], np.minimum(low[1:], joined_low)], np.r_[high[:1], np.maximum(high[1:], joined_high)]


def lane_picture(signal: Tensor, colours: Picture | None, limits: tuple[float, float], *, height: int) -> Picture:
    """Draw one channel: uint8 [height, width, 3].

    Args:
        signal: [time].
        colours: What is behind the line in each column [columns, 3]; None for white.
        limits: Values at the lower and the upper edge.
        height: In pixels.
    """
    n_columns = min(len(signal), MOST_COLUMNS)
    times = max(1, MOST_COLUMNS // n_columns)
    ground = np.full((n_columns, 3), 255, dtype=np.uint8) if colours is None else colours
    picture = np.repeat(np.repeat(ground, times, axis=0)[None], height, axis=0)
    low, high = _span(signal.double().numpy(), n_columns * times)
    size = max(limits[1] - limits[0], 1e-12)
    top, bottom = (
        np.rint((1 - (ends - limits[0]) / size) * (height - 3) + 1).clip(0, height - 1) for ends in (high, low)
    )
    rows = np.arange(height)[:, None]
    span = (rows >= top) & (rows <= bottom)
    inside = _inside(span)
    # of what is dense only the outline is ink, or it would hide the colours
    picture[inside] = (picture[inside] * SHADE).astype(np.uint8)
    picture[span & ~inside] = INK
    return picture


def _inside(span: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels whose four neighbours are marked too."""
    padded = np.pad(span, 1, constant_values=False)
    return span & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
