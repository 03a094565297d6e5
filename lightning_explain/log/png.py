"""Pictures as PNG files, small: ours have few colours, and a palette halves them."""

from io import BytesIO
from typing import cast

import numpy as np
from PIL import Image

from lightning_explain.render.colour import Picture

PALETTE_SIZE = 256
PER_CHANNEL = np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)


def _with_palette(picture: Picture, colours: list[tuple[int, int, int]]) -> Image.Image:
    channels = np.array(sorted(colours), dtype=np.uint8)
    # looked up as one number per colour: the order of the triples is the order of the numbers
    index = np.searchsorted(channels @ PER_CHANNEL, picture @ PER_CHANNEL)
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(channels.tobytes())
    return image


def png_bytes(picture: Picture) -> bytes:
    """Encode a picture [height, width, 3] without loss; with a palette where it has at most 256 colours.

    Example:
        >>> png_bytes(np.zeros((4, 4, 3), dtype=np.uint8))[1:4]
        b'PNG'
    """
    image = Image.fromarray(picture)
    found = image.getcolors(PALETTE_SIZE)
    if found is not None:
        image = _with_palette(picture, [cast(tuple[int, int, int], colour) for _, colour in found])
    file = BytesIO()
    image.save(file, format="PNG", compress_level=9)
    return file.getvalue()
