"""Numbers to colours: tables that colour-blind readers can tell apart."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from torch import Tensor

Picture = npt.NDArray[np.uint8]
"""An image as uint8 [height, width, 3]."""

LEVELS = 24
"""Colour steps of a table: few enough that pictures compress well, too many for the eye to count."""

UNDEFINED = 160
"""The grey of NaN: no colour of a table, so that it cannot be read as a value."""


@lru_cache(maxsize=4)
def table(name: str) -> Picture:
    """Return a matplotlib colour map as uint8 [LEVELS + 1, 3]; the middle entry of a diverging one is its centre."""
    colours = colormaps[name](np.linspace(0.0, 1.0, LEVELS + 1))
    return np.rint(colours[:, :3] * 255).astype(np.uint8)


def _look_up(shares: npt.NDArray[np.float64], name: str) -> Picture:
    index = np.rint(np.nan_to_num(np.clip(shares, 0.0, 1.0)) * LEVELS).astype(np.intp)
    colours = table(name)[index]
    colours[np.isnan(shares)] = UNDEFINED
    return colours


def signed_colours(values: Tensor, scale: float) -> Picture:
    """Colour signed values: red for positive, blue for negative, white for 0; NaN is drawn grey.

    Args:
        values: Any shape [...].
        scale: Absolute value that gets the full colour.

    Returns:
        uint8 [..., 3].
    """
    relative = values.detach().cpu().double().numpy() / (scale if scale > 0 else 1.0)
    return _look_up((relative + 1) / 2, "RdBu_r")


def share_colours(values: Tensor) -> Picture:
    """Colour shares from 0 (dark) to 1 (bright): uint8 [..., 3]; NaN is drawn grey."""
    return _look_up(values.detach().cpu().double().numpy(), "cividis")


def grey(values: Tensor, *, step: int = 3) -> Picture:
    """Draw values from 0 (black) to 1 (white) as grey, `step` of 255 levels apart: uint8 [..., 3]."""
    levels = few_greys(np.clip(values.detach().cpu().double().numpy(), 0.0, 1.0) * 255, step=step)
    return np.repeat(levels[..., None], 3, axis=-1)


def few_greys(levels: npt.NDArray[Any], *, step: int = 3) -> Picture:
    """Round grey levels 0 to 255 to multiples of `step`, a divisor of 255: 86 levels for 3.

    With the colours of a table, a picture then stays within the 256 colours of a small PNG; the fewer levels, the
    smaller it is.
    """
    return (np.rint(levels / step) * step).astype(np.uint8)
