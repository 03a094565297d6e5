"""A class's samples as points in a plane, so that its strategies can be looked at."""

import torch
from torch import Tensor

from lightning_explain.strategies.separation import FEWEST, held_out_positions


def plane(rows: Tensor, assignment: Tensor) -> Tensor:
    """Lay samples out in a plane in which their strategies are apart as far as they really are.

    Across lies the line from the other samples to the second strategy, up the one to the third. Each sample's place on
    a line is taken from a line that was drawn without it: on lines drawn with all samples, any two groups of a single
    cloud would seem to lie apart in many dimensions. Axes that no strategy takes show the directions of largest
    variance besides (principal components). The eigenvectors by which clusters are found would not do: they put all
    samples of a cluster at one point.

    Args:
        rows: Maps as unit rows [n, features] (`unit_rows`).
        assignment: Strategy of each sample [n], 0 the largest; -1 for samples without a map.

    Returns:
        Points [n, 2], the furthest along each axis at 1 or -1; NaN for samples without a map.

    Example:
        >>> rows = torch.eye(2, dtype=torch.double).repeat_interleave(4, 0)
        >>> plane(rows, torch.arange(8) // 4)[:, 0]
        tensor([-1., -1., -1., -1.,  1.,  1.,  1.,  1.], dtype=torch.float64)
    """
    points = torch.full((len(rows), 2), torch.nan, dtype=torch.double)
    there = (assignment >= 0) & rows.isfinite().all(1)
    maps, own = rows[there].double(), assignment[there]
    if not len(maps):
        return points
    lines = [number for number in own.unique().tolist() if number and _has_line(own == number)][:2]
    left = maps - maps.mean(0)
    axes: list[Tensor] = []
    for number in lines:
        inside = own == number
        axes.append(held_out_positions(maps, inside))
        left = _without(left, maps[inside].mean(0) - maps[~inside].mean(0))
    axes += list(_components(left, 2 - len(axes)))
    found = torch.stack(axes, 1)
    points[there] = found / found.abs().amax(0).clamp_min(1e-12)
    return points


def _has_line(inside: Tensor) -> bool:
    n_inside = int(inside.sum())
    return min(n_inside, len(inside) - n_inside) >= FEWEST


def _without(rows: Tensor, direction: Tensor) -> Tensor:
    """Return rows [n, features] without what lies along a direction."""
    unit = direction / direction.norm().clamp_min(1e-12)
    return rows - (rows @ unit)[:, None] * unit


def _components(rows: Tensor, n: int) -> Tensor:
    """Return the first n principal components of centred rows [rows, features]: [n, rows]; 0 where there are fewer."""
    u, s, _ = torch.linalg.svd(rows, full_matrices=False)
    found = torch.zeros(n, len(rows), dtype=rows.dtype)
    first = (u * s).T[:n]
    # a component and its negative are the same: the sign is fixed, so that pictures of two explanations compare
    found[: len(first)] = first * torch.where(first.pow(3).sum(1, keepdim=True) < 0, -1.0, 1.0)
    return found
