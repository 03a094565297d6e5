"""Putting small pictures and words together: a millisecond where a matplotlib figure takes a hundred."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightning_explain.render.colour import Picture, few_greys

BACKGROUND = 255
INK = (32, 32, 32)
TEXT_SIZE = 12
TEXT_GREYS = 85
"""Letters take a third of a picture's bytes; their edges look the same in four greys."""


@lru_cache(maxsize=4)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that all pictures are lettered in."""
    return ImageFont.load_default(size)


def shortened(words: str, n_letters: int) -> str:
    """Cut a text that is too long, and take line breaks out of it.

    Example:
        >>> shortened("a very long class name", 9)
        'a very l…'
    """
    line = " ".join(words.split())
    return line if len(line) <= n_letters else line[: n_letters - 1] + "…"


def text_width(words: str, size: int = TEXT_SIZE) -> int:
    """Return how many pixels a line of text takes."""
    return int(np.ceil(font(size).getlength(words)))


def _fitting(words: str, width: int, size: int) -> str:
    line = shortened(words, 400)
    n_letters = len(line)
    while n_letters > 1 and text_width(line, size) > width:
        n_letters -= 1
        line = shortened(words, n_letters)
    return line


@lru_cache(maxsize=1024)
def text(words: str, *, width: int, height: int = TEXT_SIZE + 4, size: int = TEXT_SIZE, align: str = "left") -> Picture:
    """Write one line on white: uint8 [height, width, 3]; what does not fit is cut off with an ellipsis.

    Most lines of a picture, class names and legends, are those of the picture before: they are drawn once. Read only.
    """
    line = _fitting(words, width, size)
    image = Image.new("RGB", (width, height), (BACKGROUND,) * 3)
    x, anchor = {"left": (0, "lm"), "center": (width // 2, "mm"), "right": (width - 1, "rm")}[align]
    ImageDraw.Draw(image).text((x, height // 2), line, fill=INK, font=font(size), anchor=anchor)
    line_picture = few_greys(np.asarray(image), step=TEXT_GREYS)
    line_picture.setflags(write=False)
    return line_picture


def paragraph(words: str, *, width: int, size: int = TEXT_SIZE) -> Picture:
    """Write several lines, wrapped at `width` pixels: uint8 [height, width, 3]."""
    lines: list[str] = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return np.concatenate([text(line, width=width, size=size) for line in lines])


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
