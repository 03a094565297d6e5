"""What the tests of pictures share: names of every kind, and where a colour is."""

from typing import Any

import numpy as np
from torch import Tensor

from lightning_explain.render.colour import Picture, table
from lightning_explain.render.page_layout import Panel

NAMES = [
    "",
    " ",
    "cat",
    "x" * 10_000,
    "two\nlines\tand tabs",
    "Katze 猫 кошка 🐈",
    "عربى",
    "$x",
    "$x$ and $y_{",
    r"\$a\frac",
    "<b>&amp;</b>",
    "a\0b",
]


RED, BLUE = table("RdBu_r")[-1], table("RdBu_r")[0]


def changed_rows(found: Picture, other: Picture) -> list[tuple[int, int]]:
    """Return the runs of rows, first and last, in which two pictures of one size differ."""
    assert found.shape == other.shape
    return runs((found != other).any((1, 2)))


def runs(mask: Any) -> list[tuple[int, int]]:
    """Return the first and last place of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def boxes(picture: Picture, colour: Picture) -> list[tuple[int, int, int, int]]:
    """Rectangles (top, left, height, width) of one colour, in reading order."""
    mask = (picture == colour).all(-1)
    found: list[tuple[int, int, int, int]] = []
    for top, left in zip(*np.nonzero(mask), strict=True):
        if not mask[top, left]:
            continue
        width = int(np.argmin(np.append(mask[top, left:], False)))
        height = int(np.argmin(np.append(mask[top:, left], False)))
        mask[top : top + height, left : left + width] = False
        found.append((int(top), int(left), height, width))
    return found


def big(found: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Leave out the legend, which is 16 pixels high and narrow in each colour."""
    return [box for box in found if box[2] > 16]


def one(values: Tensor, scale: float = 1.0) -> list[Panel]:
    return [Panel(name="a method", values=values, scale=scale)]


def solid(height: int, width: int, value: int) -> Picture:
    return np.full((height, width, 3), value, dtype=np.uint8)


def tiles_of(picture: Any, n_tiles: int, height: int, width: int) -> Any:
    """Cut a sprite up, tile by tile: [tiles, height, width]."""
    columns = picture.shape[1] // width
    corners = [(height * (i // columns), width * (i % columns)) for i in range(n_tiles)]
    return np.stack([picture[y : y + height, x : x + width] for y, x in corners])
