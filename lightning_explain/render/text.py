"""Lines and paragraphs of text as pictures: a millisecond where a matplotlib figure takes a hundred."""

import math
from bisect import bisect_right
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightning_explain.render.colour import Picture, few_greys

BACKGROUND = 255
INK = (32, 32, 32)
TEXT_SIZE = 12
SLACK = 2
"""Pixels by which a line is at most wider than its words one by one, where letters move apart."""

TEXT_GREYS = 85
"""Letters take a third of a picture's bytes; their edges look the same in four greys."""


@lru_cache(maxsize=8)
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


@lru_cache(maxsize=4096)
def text_width(words: str, size: int = TEXT_SIZE) -> int:
    """Return the width of a line of text in pixels."""
    return int(np.ceil(font(size).getlength(words)))


def fitting(words: str, width: int, size: int = TEXT_SIZE) -> str:
    """Cut a line that is too long for `width` pixels, with an ellipsis."""
    line = shortened(words, 400)
    # no letter is wider than it is high
    if len(line) <= width // size or text_width(line, size) <= width:
        return line
    lengths = range(1, len(line))
    n_fitting = bisect_right(lengths, width, key=lambda n_letters: text_width(shortened(line, n_letters), size))
    return shortened(line, max(1, n_fitting))


def wrapped(words: str, width: int, size: int = TEXT_SIZE) -> list[str]:
    """Break a text into lines of at most `width` pixels; a longer word has a line of its own.

    Example:
        >>> wrapped("one two three", 50)
        ['one two', 'three']
    """
    lines, space = [""], text_width(" ", size)
    bound = 0  # the line is no wider: its words one by one, of which most come again
    for word in words.split():
        longer, bound = f"{lines[-1]} {word}".strip(), bound + space + text_width(word, size)
        if bound + SLACK <= width or not lines[-1] or text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
            bound = text_width(word, size)
    return lines


@lru_cache(maxsize=2048)
def letters(words: str, size: int, anchor: str) -> tuple[Image.Image, int, int]:
    """Return a line as a mask of grey, and its place to the right of and below an anchor of Pillow's.

    Most lines of a picture are those of the picture before: they are drawn once. Read only.
    """
    left, top, right, bottom = font(size).getbbox(words, anchor=anchor)
    x, y = math.floor(left), math.floor(top)
    mask = Image.new("L", (max(1, math.ceil(right) - x), max(1, math.ceil(bottom) - y)))
    ImageDraw.Draw(mask).text((-x, -y), words, fill=255, font=font(size), anchor=anchor)
    return mask, x, y


@lru_cache(maxsize=1024)
def text(words: str, *, width: int, height: int = TEXT_SIZE + 4, size: int = TEXT_SIZE, align: str = "left") -> Picture:
    """Write one line on white: uint8 [height, width, 3]; what does not fit is cut off with an ellipsis.

    Most lines of a picture, class names and legends, are those of the picture before: they are drawn once. Read only.
    """
    line = fitting(words, width, size)
    image = Image.new("RGB", (width, height), (BACKGROUND,) * 3)
    x, anchor = {"left": (0, "lm"), "center": (width // 2, "mm"), "right": (width - 1, "rm")}[align]
    ImageDraw.Draw(image).text((x, height // 2), line, fill=INK, font=font(size), anchor=anchor)
    line_picture = few_greys(np.asarray(image), step=TEXT_GREYS)
    line_picture.setflags(write=False)
    return line_picture


def paragraph(words: str, *, width: int, size: int = TEXT_SIZE) -> Picture:
    """Write several lines, wrapped at `width` pixels: uint8 [height, width, 3]."""
    return np.concatenate([text(line, width=width, size=size) for line in wrapped(words, width, size)])
