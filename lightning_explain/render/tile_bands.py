"""Sprites of several tile sizes in one picture, one below the other; crops brought to one size."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lightning_explain.render.colour import Picture
from lightning_explain.render.sprites import Sprite

N_COLOURS = 160
"""Colours of the crops of an event: with the 65 levels of the heatmaps the picture keeps a palette."""

GROUND = 200
"""Grey around a crop that is not of its tile's form: receptive fields are cut off at the border of an image."""


def common_tile(sizes: Sequence[tuple[int, int]], largest: int) -> tuple[int, int]:
    """Choose the tile for crops of some sizes: that of the largest one, brought down to a longest side.

    Example:
        >>> common_tile([(5, 5), (5, 3)], 24), common_tile([(96, 48)], 24)
        ((5, 5), (24, 12))
    """
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    shrink = min(1.0, largest / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _place(size: tuple[int, int], tile: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a crop in its tile, at the scale of the largest crop."""
    return tuple(max(1, min(t, round(s * t / whole))) for s, t, whole in zip(size, tile, largest, strict=True))  # type: ignore[return-value]


def crop_tiles(crops: Sequence[Picture], tile: tuple[int, int]) -> list[Picture]:
    """Bring crops to one tile at one scale, in its top left corner; what is left over is grey."""
    largest = (max(crop.shape[0] for crop in crops), max(crop.shape[1] for crop in crops))
    tiles: list[Picture] = []
    for crop in crops:
        height, width = _place((crop.shape[0], crop.shape[1]), tile, largest)
        made = np.full((*tile, 3), GROUND, dtype=np.uint8)
        small = Image.fromarray(crop).resize((width, height), Image.Resampling.BOX)
        made[:height, :width] = np.asarray(small)
        tiles.append(made)
    return tiles


def map_tiles(maps: Sequence[Tensor], tile: tuple[int, int]) -> Tensor:
    """Bring maps [height, width] of several sizes to one tile, as `crop_tiles` does: [maps, *tile], 0 beside them.

    What comes to lie in one place is added up, so that a map keeps its sum.
    """
    largest = (max(one.shape[0] for one in maps), max(one.shape[1] for one in maps))
    made = torch.zeros(len(maps), *tile)
    for place, one in enumerate(maps):
        height, width = _place((one.shape[0], one.shape[1]), tile, largest)
        small = functional.adaptive_avg_pool2d(one.detach().cpu().float()[None, None], (height, width))[0, 0]
        made[place, :height, :width] = small * (one.numel() / small.numel())
    return made


def few_colours(picture: Picture) -> Picture:
    """Reduce a picture to at most `N_COLOURS` colours, which halves its bytes."""
    image = Image.fromarray(picture)
    if image.getcolors(N_COLOURS) is not None:
        return picture
    return np.asarray(image.quantize(N_COLOURS, method=Image.Quantize.MEDIANCUT).convert("RGB"))


def stacked(sprites: Sequence[Sprite]) -> tuple[Picture, list[int]]:
    """Set sprites one below the other, left edges in line, and return the row in which each begins."""
    width = max(sprite.picture.shape[1] for sprite in sprites)
    tops = np.cumsum([0, *(sprite.picture.shape[0] for sprite in sprites)]).tolist()
    whole = np.zeros((tops[-1], width, 3), dtype=np.uint8)
    for sprite, top in zip(sprites, tops[:-1], strict=True):
        height, own, _ = sprite.picture.shape
        whole[top : top + height, :own] = sprite.picture
    return whole, tops[:-1]
