"""What of an attribution map is compared with others: pooled, or centred, and of one length."""

import torch
from torch import Tensor
from torch.nn import functional

GRID = 32
"""Cells of a pooled map along each axis, at most."""


def unit_rows(maps: Tensor) -> Tensor:
    """Return maps [n, ...] as rows of length 1 [n, features], in 64 bits; NaN where a map has no direction.

    How much a network says for a class differs from sample to sample and grows while it learns; where it looks is in
    the direction alone.

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [   nan,    nan]], dtype=torch.float64)
    """
    rows = maps.flatten(1).double()
    # by the largest value first: squares of very small or large relevance would leave the range of numbers
    rows = rows / rows.abs().amax(1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True)


def pooled(maps: Tensor, grid: int = GRID) -> Tensor:
    """Average maps over cells of a coarse grid, so that strokes a pixel apart count as the same place.

    Args:
        maps: Maps [n, places...], of one to three axes.
        grid: Cells along each axis; axes that are no longer than that stay as they are.

    Returns:
        Pooled maps [n, cells...].

    Example:
        >>> pooled(torch.arange(4.0)[None], 2)
        tensor([[0.5000, 2.5000]])
    """
    places = maps.shape[1:]
    if not 1 <= len(places) <= 3 or max(places) <= grid:
        return maps
    cells = [1] * (3 - len(places)) + [min(grid, size) for size in places]
    volumes = maps.reshape(len(maps), 1, *[1] * (3 - len(places)), *places)
    means = functional.adaptive_avg_pool3d(volumes, (cells[0], cells[1], cells[2]))
    return means.reshape(len(maps), *cells[3 - len(places) :])


def centred(maps: Tensor) -> Tensor:
    """Shift each map [n, places...] so that the centre of its absolute relevance is in the middle; round at the edges.

    For objects that are not where others are. A mark that stays where it is while objects move is smeared by it.
    """
    axes = tuple(range(1, maps.ndim))
    size = maps.abs().double()
    shifts: list[Tensor] = []
    for axis in axes:
        profile = size.sum([other for other in axes if other != axis])
        places = torch.arange(maps.shape[axis], dtype=torch.double)
        centre = (profile * places).sum(1) / profile.sum(1)
        shifts.append((maps.shape[axis] // 2 - centre.nan_to_num(0.0)).round().long())
    by_map = zip(*(shift.tolist() for shift in shifts), strict=True)
    rolled = [each.roll(list(shift), list(range(each.ndim))) for each, shift in zip(maps.unbind(), by_map, strict=True)]
    return torch.stack(rolled)
