"""Many small maps in one picture, as bytes that a viewer turns back into values and colours as it likes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.render.colour import Picture

N_COLUMNS = 8
ZERO = 128
STEPS = 32
"""A byte is `ZERO + STEPS * value / scale`; 0 is kept for NaN. Twice the steps would cost a bit
more for each pixel."""


@dataclass(frozen=True)
class Sprite:
    """Tiles set in rows of `N_COLUMNS`.

    Attributes:
        picture: uint8 [height, width, 3].
        tile: Height and width of a tile.
        scales: For values: the absolute value that the bytes `ZERO` +- `STEPS` stand for, by tile; empty for pictures.
    """

    picture: Picture
    tile: tuple[int, int]
    scales: tuple[float, ...] = ()


def fitting_tile(size: tuple[int, int], n_tiles: int, max_pixels: int) -> tuple[int, int]:
    """Choose a tile's height and width, so that all of them have at most about `max_pixels`.

    Example:
        >>> fitting_tile((28, 28), 64, 1 << 17), fitting_tile((224, 112), 64, 1 << 17)
        ((28, 28), (64, 32))
    """
    height, width = size
    shrink = min(1.0, (max_pixels / (n_tiles * height * width)) ** 0.5)
    return max(1, int(height * shrink)), max(1, int(width * shrink))


def _shrunk(maps: Tensor, tile: tuple[int, int]) -> Tensor:
    """Average maps [tiles, height, width] down to the tile's size."""
    maps = maps.detach().cpu().float()
    return maps if tuple(maps.shape[1:]) == tile else functional.adaptive_avg_pool2d(maps[:, None], tile)[:, 0]


def _in_rows(tiles: npt.NDArray[np.uint8]) -> Picture:
    """Set tiles [tiles, height, width, 3] in rows: [rows * height, columns * width, 3]."""
    n_tiles, height, width, _ = tiles.shape
    n_columns = min(N_COLUMNS, n_tiles)
    n_rows = -(-n_tiles // n_columns)
    grid = np.zeros((n_rows * n_columns, height, width, 3), dtype=np.uint8)
    grid[:n_tiles] = tiles
    grid = grid.reshape(n_rows, n_columns, height, width, 3).swapaxes(1, 2)
    return grid.reshape(n_rows * height, n_columns * width, 3)


def value_sprite(maps: Tensor, *, max_pixels: int) -> Sprite:
    """Write signed maps as bytes, each map in its own scale: 128 + 32 * value / scale, 0 for NaN.

    Args:
        maps: [tiles, height, width].
        max_pixels: Larger maps are averaged down, so that the sprite has about this many pixels at most.

    Returns:
        Tiles whose values are exact to half a step, 1/64 of the tile's scale.

    Example:
        >>> value_sprite(torch.tensor([[[0.0, -2.0, 1.0]]]), max_pixels=100).picture[0, :, 0].tolist()
        [128, 96, 144]
    """
    tile = fitting_tile((maps.shape[1], maps.shape[2]), len(maps), max_pixels)
    small = _shrunk(maps, tile)
    finite = torch.where(small.isfinite(), small, 0.0)
    scales = finite.abs().amax((1, 2))
    steps = finite / torch.where(scales > 0, scales, 1.0)[:, None, None] * STEPS
    levels = torch.where(small.isfinite(), steps.round() + ZERO, 0.0).byte().numpy()
    tiles = np.repeat(levels[..., None], 3, axis=-1)
    return Sprite(_in_rows(tiles), tile, tuple(float(f"{scale:.3g}") for scale in scales.tolist()))


def picture_sprite(pictures: list[Picture], *, max_pixels: int) -> Sprite:
    """Set pictures of one size, uint8 [height, width, 3], in one; larger ones are averaged down."""
    stacked = torch.from_numpy(np.stack(pictures))
    tile = fitting_tile((stacked.shape[1], stacked.shape[2]), len(pictures), max_pixels)
    channels = [_shrunk(stacked[..., channel], tile) for channel in range(3)]
    return Sprite(_in_rows(torch.stack(channels, dim=-1).round().byte().numpy()), tile)
