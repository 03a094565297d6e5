"""Values out of headers that anybody may have written: what is not as it should be becomes nothing, not an error."""

import base64
import binascii
import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

MOST = 20_000
UNDEFINED = 255
FULL = 250


def number(value: Any) -> float:
    """Return a finite number, else NaN.

    Example:
        >>> number(2), number("2"), number(None)
        (2.0, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if abs(value) < 1e300 else math.nan


def whole(value: Any, otherwise: int = -1) -> int:
    """Return a whole number of bearable size, else another."""
    good = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53
    return value if good else otherwise


def words(value: Any) -> str:
    """Return words, else none."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def items(value: Any) -> list[Any]:
    """Return a list, else an empty one."""
    return cast(list[Any], value)[:MOST] if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping, else an empty one."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def numbers(value: Any) -> list[float]:
    """Return a list of numbers."""
    return [number(one) for one in items(value)]


def indices(value: Any) -> list[int]:
    """Return a list of whole numbers."""
    return [whole(one) for one in items(value)]


def tile(value: Any) -> tuple[int, int] | None:
    """Return height and width of a picture's tiles; None if there are none."""
    sides = indices(value)
    good = len(sides) == 2 and min(sides) > 0 and sides[0] * sides[1] <= 4_000_000
    return (sides[0], sides[1]) if good else None


def class_name(header: dict[str, Any], index: int) -> str:
    """Name a class; its number where it has no name."""
    name = words(mapping(header.get("class_names")).get(str(index)))
    return name or str(index)


def shares(value: Any, n_rows: int, n_columns: int) -> NDArray[np.float32]:
    """Read shares that were written as a byte each: [rows, columns], NaN where undefined or not there."""
    try:
        levels = np.frombuffer(base64.b64decode(words(value)), dtype=np.uint8)
    except (ValueError, binascii.Error):
        levels = np.empty(0, dtype=np.uint8)
    if levels.size != n_rows * n_columns:
        return np.full((n_rows, n_columns), np.nan, dtype=np.float32)
    found = levels.reshape(n_rows, n_columns).astype(np.float32) / np.float32(FULL)
    return np.where(found > 1, np.float32(np.nan), found)
