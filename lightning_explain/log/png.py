"""Small PNG files: heatmaps have few colours, and a palette halves their size."""

from collections import OrderedDict
from hashlib import sha1
from io import BytesIO
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from lightning_explain.render.colour import Picture

PALETTE_SIZE = 256

EFFORT = 6
"""Of zlib: 7 takes a third longer for 2 % fewer bytes, 8 three times as long for 7 %."""

KEPT = 8
"""Pictures whose files are kept: one that goes to several loggers, or is the same again, is encoded once."""

_kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()


def _numbers(image: Image.Image) -> npt.NDArray[np.integer[Any]]:
    """Return each pixel's colour as one number below 2^24."""
    return np.asarray(image.convert("RGBX")).view("<u4")[..., 0] & 0xFFFFFF


def _with_palette(image: Image.Image, colours: list[tuple[int, int, int]]) -> Image.Image:
    channels = np.array(sorted(colours), dtype=np.uint8)
    # a place for every colour there is: only the pages that hold one of ours are ever touched, so it costs no memory
    index_of = np.empty(1 << 24, dtype=np.uint8)
    index_of[_numbers(Image.fromarray(channels[None]))[0]] = np.arange(len(channels))
    indices = Image.fromarray(index_of[_numbers(image)])
    indices.putpalette(channels.tobytes())
    return indices


def png_bytes(picture: Picture) -> bytes:
    """Encode a picture [height, width, 3] losslessly; with a palette if it has at most 256 colours.

    The last few pictures are known by their content, and not encoded again.

    Example:
        >>> png_bytes(np.zeros((4, 4, 3), dtype=np.uint8))[1:4]
        b'PNG'
    """
    pixels = np.ascontiguousarray(picture)
    key = pixels.shape, sha1(pixels.data, usedforsecurity=False).digest()
    content = _kept.pop(key, None)  # put back at the end: the one that was used longest ago is dropped
    _kept[key] = _encoded(pixels) if content is None else content
    if len(_kept) > KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def _encoded(picture: Picture) -> bytes:
    image = Image.fromarray(picture)
    found = image.getcolors(PALETTE_SIZE)
    if found is not None:
        image = _with_palette(image, [cast(tuple[int, int, int], colour) for _, colour in found])
    file = BytesIO()
    image.save(file, format="PNG", compress_level=EFFORT)
    return file.getvalue()
