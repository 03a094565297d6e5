"""Pictures that hold numbers, and the pictures that a page shows of them."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_explain.report.checked import numbers

Numbers = NDArray[np.float32]
Bytes = NDArray[np.uint8]

COLUMNS = 8
ZERO = 128
STEPS = 32
MOST_PIXELS = 16_000_000

FOR = (222, 54, 42)
AGAINST = (44, 122, 224)
UNDEFINED = (150, 150, 150, 255)
SHARES = ((0, 34, 78), (59, 73, 108), (112, 113, 115), (165, 156, 116), (254, 232, 56))
"""From 0, dark, to 1, bright; told apart by colour-blind readers, on light and on dark pages."""

RISE = 0.65
"""Power by which strength grows with size: below 1, so that weak attributions are seen on dark pages too."""

LEVELS = 40
"""Steps of strength of a colour; few, since a picture of few colours is small."""


def opened(png: bytes) -> Bytes | None:
    """Decode a PNG: [height, width, 3]; None if it is none, or too large."""
    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except Exception:  # whatever a broken picture makes the decoder raise: there is nothing to show then  # noqa: BLE001
        return None


def cut(sheet: Bytes, tile: tuple[int, int], index: int) -> Bytes | None:
    """Cut a tile out of a picture of tiles; None if it has no such tile."""
    height, width = tile
    columns = max(1, min(COLUMNS, sheet.shape[1] // width))
    top, left = index // columns * height, index % columns * width
    if index < 0 or top + height > sheet.shape[0] or left + width > sheet.shape[1]:
        return None
    return sheet[top : top + height, left : left + width]


def values_of(tile: Bytes, scale: float) -> Numbers:
    """Turn the bytes of a heatmap's tile into numbers: NaN for 0."""
    level = tile[..., 0].astype(np.float32)
    return np.where(level == 0, np.nan, (level - ZERO) / STEPS * scale).astype(np.float32)


def packed_values(method: Mapping[str, Any], n_samples: int) -> Numbers | None:
    """Read attributions that travel as numbers: [samples, positions]; None where a method's entry holds none."""
    try:
        content = base64.b64decode(method["values"], validate=True)
        flat = np.frombuffer(content, dtype="<f2" if method.get("values_type") == "f2" else "<f4").astype(np.float32)
        found = flat.reshape(n_samples, -1) if n_samples and flat.size else None
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    if found is None or method.get("values_type") != "f2":
        return found
    scales = np.asarray(numbers(method.get("scales")), dtype=np.float32)
    return found * scales[:, None] if len(scales) == n_samples else None


def _indexed(index: NDArray[Any], palette: Sequence[tuple[int, ...]]) -> bytes:
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette([part for colour in palette for part in colour[:3]])
    file = BytesIO()
    image.save(file, format="PNG", transparency=bytes(colour[3] for colour in palette), optimize=True)
    return file.getvalue()


def signed_picture(values: Numbers, full: float) -> bytes:
    """Draw signed numbers as a PNG: red for positive, blue for negative, the stronger the less transparent.

    Zero is transparent, so that one picture suits light pages and dark ones.

    Args:
        values: [height, width]; NaN becomes grey.
        full: The size that gets the full colour.
    """
    level = np.clip(np.nan_to_num(values) / (full if full > 0 else 1), -1, 1)
    index = np.where(np.isnan(values), 2 * LEVELS + 1, np.rint(level * LEVELS) + LEVELS)
    strength = [round(255 * (abs(k) / LEVELS) ** RISE) for k in range(-LEVELS, LEVELS + 1)]
    palette: list[tuple[int, ...]] = [
        (*(FOR if k > 0 else AGAINST), a) for k, a in zip(range(-LEVELS, LEVELS + 1), strength, strict=True)
    ]
    return _indexed(index, [*palette, UNDEFINED])


def share_picture(values: Numbers) -> bytes:
    """Draw shares from 0 to 1 as a PNG; NaN becomes grey."""
    index = np.where(np.isnan(values), LEVELS + 1, np.rint(np.clip(np.nan_to_num(values), 0, 1) * LEVELS))
    stops = np.linspace(0, 1, len(SHARES))
    channels = [np.interp(np.arange(LEVELS + 1) / LEVELS, stops, [stop[c] for stop in SHARES]) for c in range(3)]
    palette = [(*(round(float(c)) for c in colour), 255) for colour in zip(*channels, strict=True)]
    return _indexed(index, [*palette, UNDEFINED])


def plain_picture(pixels: Bytes) -> bytes:
    """Encode pixels as they are; grey ones as such."""
    grey = bool((pixels == pixels[..., :1]).all())
    image = Image.fromarray(pixels[..., 0] if grey else pixels)
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
