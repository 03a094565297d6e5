"""A sheet to draw on: smooth lines and shapes first, words last."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from lightning_explain.render.colour import Picture
from lightning_explain.render.text import INK, letters

FINE = 2
"""Lines are drawn so many times larger and averaged, so that they are smooth."""

GREY, WHITE = (150, 150, 150), (255, 255, 255)
SOFT = (110, 110, 110)
RED, BLUE = (178, 24, 43), (33, 102, 172)

Colour = tuple[int, int, int]
Point = tuple[float, float]

_T = np.linspace(0.0, 1.0, 20)
_BEZIER = np.stack([(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3])
_SLOPE = np.stack([-3 * (1 - _T) ** 2, 3 * (1 - _T) * (1 - 3 * _T), 3 * _T * (2 - 3 * _T), 3 * _T**2])


def sign_colour(value: float) -> Colour:
    """Return red for positive, blue for negative, grey for 0."""
    return RED if value > 0 else BLUE if value < 0 else GREY


def pale(colour: Colour, strength: float) -> Colour:
    """Mix a colour with white; strength 1 leaves it as it is.

    Example:
        >>> pale((0, 100, 200), 0.5)
        (128, 178, 228)
    """
    red, green, blue = (round(255 - (255 - part) * strength) for part in colour)
    return red, green, blue


def ink_on(fill: Colour) -> Colour:
    """Choose black or white words for a ground."""
    return WHITE if sum(fill) < 390 else INK


def few_colours(picture: Picture, n_colours: int = 250) -> Picture:
    """Reduce a picture to so many colours that its PNG is small."""
    reduced = Image.fromarray(picture).quantize(n_colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return np.asarray(reduced.convert("RGB"))


class Sheet:
    """A white sheet, first fine for lines and shapes, then, from the first word on, in its own size.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._image = Image.new("RGB", (width * FINE, height * FINE), WHITE)
        self._pen = ImageDraw.Draw(self._image)
        self._is_fine = True

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * FINE, y * FINE) for x, y in points]

    def ribbon(self, start: Point, end: Point, colour: Colour, width: float) -> None:
        """Draw a band that leaves and arrives level, as a smooth S."""
        bend = (end[0] - start[0]) * 0.45
        self._band(start, end, (start[0] + bend, end[0] - bend), colour, width)

    def bow(self, start: Point, end: Point, colour: Colour, width: float) -> None:
        """Draw a band that leaves to the right and comes back from there."""
        far = max(start[0], end[0]) + 14 + abs(end[1] - start[1]) * 0.2
        self._band(start, end, (far, far), colour, width)

    def _band(self, start: Point, end: Point, bends: tuple[float, float], colour: Colour, width: float) -> None:
        corners = np.array([[start[0], *bends, end[0]], [start[1], start[1], end[1], end[1]]])
        x, y = corners @ _BEZIER * FINE
        dx, dy = corners @ _SLOPE
        half = max(0.5, width * FINE / 2) / np.maximum(np.hypot(dx, dy), 1e-9)
        upper, lower = (np.stack([x + side * dy * half, y - side * dx * half], 1) for side in (1, -1))
        self._pen.polygon(np.concatenate([upper, lower[::-1]]).flatten().tolist(), fill=colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draw a straight line."""
        self._pen.line(self._scaled(points), fill=colour, width=max(1, round(width * FINE)), joint="curve")

    def circle(self, x: float, y: float, radius: float, fill: Colour, ring: Colour, width: float) -> None:
        """Draw a disc with a ring around it."""
        box = self._scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self._pen.ellipse(box, fill=fill, outline=ring, width=round(width * FINE))

    def block(self, x: float, y: float, half: tuple[float, float], fill: Colour, ring: Colour, width: float) -> None:
        """Draw a rectangle with round corners, given its middle and half its size."""
        box = self._scaled([(x - half[0], y - half[1]), (x + half[0], y + half[1])])
        self._pen.rounded_rectangle(box, radius=4 * FINE, fill=fill, outline=ring, width=round(width * FINE))

    def frame(self, box: tuple[float, float, float, float], colour: Colour, width: float) -> None:
        """Outline a rectangle: left, top, right, bottom."""
        left, top, right, bottom = box
        self._pen.rectangle(self._scaled([(left, top), (right, bottom)]), outline=colour, width=round(width * FINE))

    def picture(self, picture: Picture, left: int, top: int, width: int, height: int) -> None:
        """Set a picture into a rectangle: enlarged pixel by pixel, or averaged."""
        image = Image.fromarray(picture)
        smaller = width * FINE < picture.shape[1]
        resampling = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
        self._image.paste(image.resize((width * FINE, height * FINE), resampling), (left * FINE, top * FINE))

    def write(self, x: float, y: float, words: str, *, size: int = 11, anchor: str = "mm", fill: Colour = INK) -> None:
        """Write a line, at whole pixels; nothing but words can be drawn after it."""
        if self._is_fine:
            self._image, self._is_fine = self._image.reduce(FINE), False
        mask, right, down = letters(words, size, anchor)
        self._image.paste(fill, (round(x) + right, round(y) + down), mask)

    def done(self) -> Picture:
        """Return the sheet as uint8 [height, width, 3]."""
        if self._is_fine:
            return np.asarray(self._image.reduce(FINE))
        return np.asarray(self._image)
