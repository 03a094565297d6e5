"""Pictures side by side, one below the other, in a grid; enlarged and framed."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lightning_explain.render.colour import Picture
from lightning_explain.render.text import BACKGROUND, TEXT_SIZE, text, text_width

FRAME_GREY = 190


def padded(picture: Picture, *, height: int, width: int) -> Picture:
    """Set a picture into the top left corner of a white one of at least its own size."""
    canvas = np.full((max(height, picture.shape[0]), max(width, picture.shape[1]), 3), BACKGROUND, dtype=np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return canvas


def beside(pictures: Sequence[Picture], *, gap: int = 0) -> Picture:
    """Set pictures side by side on white, tops in line."""
    height = max(picture.shape[0] for picture in pictures)
    cells = [padded(picture, height=height, width=picture.shape[1] + gap) for picture in pictures]
    row = np.concatenate(cells, axis=1)
    return row[:, : row.shape[1] - gap] if gap else row


def below(pictures: Sequence[Picture], *, gap: int = 0) -> Picture:
    """Set pictures one below the other on white, left edges in line."""
    width = max(picture.shape[1] for picture in pictures)
    cells = [padded(picture, height=picture.shape[0] + gap, width=width) for picture in pictures]
    column = np.concatenate(cells)
    return column[: column.shape[0] - gap] if gap else column


def grid(cells: Sequence[Picture], n_columns: int, *, gap: int) -> Picture:
    """Set cells in rows of `n_columns`."""
    rows = [beside(cells[start : start + n_columns], gap=gap) for start in range(0, len(cells), n_columns)]
    return below(rows, gap=gap)


def framed(picture: Picture, *, margin: int = 8) -> Picture:
    """Give a picture a white margin."""
    return np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), constant_values=BACKGROUND)


def boxed(picture: Picture) -> Picture:
    """Put a thin grey line around a picture: most of a heatmap may be as white as the page."""
    return np.pad(picture, ((1, 1), (1, 1), (0, 0)), constant_values=FRAME_GREY)


def colour_bar(colours: Picture, low: str, high: str, *, width: int = 120) -> Picture:
    """Draw a legend: the colours [n, 3] from left to right between the names of their ends."""
    height = TEXT_SIZE + 4
    band = np.repeat(colours[None, np.linspace(0, len(colours) - 1, width).astype(np.intp)], height, axis=0)
    ends = [text(words, width=text_width(words) + 2, height=height) for words in (low, high)]
    return beside([ends[0], band, ends[1]], gap=6)


def resized(picture: Picture, *, target: int = 56, largest: int = 128) -> Picture:
    """Bring the longer side near `target`: whole-number enlargement of small pictures, averaging of large ones."""
    side = max(picture.shape[:2])
    if side > largest:
        size = (max(1, picture.shape[1] * largest // side), max(1, picture.shape[0] * largest // side))
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    factor = max(1, round(target / side))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
