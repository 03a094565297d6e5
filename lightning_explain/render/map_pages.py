"""Pages of signed maps: a title, a colour bar, and maps in rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_explain.render.colour import Picture, signed_colours, table
from lightning_explain.render.layout import below, beside, boxed, colour_bar, framed
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.sheet import few_colours
from lightning_explain.render.text import BACKGROUND, paragraph, text

CELL, HEAD = 64, 150
N_COLOURS = 64


class FilmRow(NamedTuple):
    """A row of a film.

    Attributes:
        name: What stands at its left.
        maps: A map [height, width], or a time series [steps], for each column; None where there is none.
        scale: Value of the strongest colour.
    """

    name: str
    maps: Sequence[Tensor | None]
    scale: float


def class_map_page(title: str, body: Picture) -> Picture:
    """Put a title and the colour bar of relevance for a class above a body: uint8 [height, width, 3]."""
    bar = colour_bar(table("RdBu_r"), "against the class", "for it")
    return few_colours(framed(below([paragraph(title, width=max(420, body.shape[1])), bar, body], gap=8)), N_COLOURS)


def map_film(title: str, columns: Sequence[str], rows: Sequence[FilmRow]) -> Picture:
    """Draw maps over time: a row for each of several things, a column for each moment.

    Args:
        title: Stands above.
        columns: Name of each moment.
        rows: The rows.

    Example:
        >>> map_film("Over time", ["start", "10"], [FilmRow("class 1", [None, torch.ones(4, 4)], 1.0)]).shape[2]
        3
    """
    head = [text("", width=HEAD), *(text(name, width=CELL + 2, size=11) for name in columns)]
    drawn = [
        beside([paragraph(row.name, width=HEAD), *(_cell(one, row.scale) for one in row.maps)], gap=4) for row in rows
    ]
    return class_map_page(title, below([beside(head, gap=4), *drawn], gap=4))


def largest_scale(maps: Sequence[Tensor]) -> float:
    """Return the colour scale that several maps share."""
    return max(colour_scale(one.float()) for one in maps)


def _cell(one: Tensor | None, scale: float) -> Picture:
    """Draw a map at the size that fits a cell, whatever its number of places; a time series as a strip."""
    cell = np.full((CELL + 2, CELL + 2, 3), BACKGROUND, dtype=np.uint8)
    if one is None:
        return cell
    picture = signed_colours(torch.atleast_2d(one.float()), scale)
    n_rows, n_columns = picture.shape[:2]
    height = CELL // 2 if n_rows == 1 else max(1, CELL * n_rows // max(n_rows, n_columns))
    width = max(1, CELL * n_columns // max(n_rows, n_columns))
    drawn = boxed(picture[np.arange(height) * n_rows // height][:, np.arange(width) * n_columns // width])
    cell[: drawn.shape[0], : drawn.shape[1]] = drawn
    return cell
