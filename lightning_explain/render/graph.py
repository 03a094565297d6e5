"""A small graph as a picture: nodes in colours, lines between those that are connected."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.sheet import GREY, Sheet, ink_on

SIDE, MARGIN = 130, 13
FEW_NODES = 20
"""Nodes of a graph that are large enough for letters."""

ROUNDS = 60
"""Rounds of moving the nodes of a graph; more change nothing that is seen."""

Edges = Sequence[tuple[int, int]]
Values = npt.NDArray[np.float64]


def places_of(n_nodes: int, edges: Edges) -> list[tuple[float, float]]:
    """Place the nodes of a graph in the unit square, as far from each other as there are edges between them.

    Stress majorization (Gansner, Koren, North 2004) from classical scaling; the same graph has the same places.

    Example:
        >>> (x0, _), (x1, _), (x2, _) = places_of(3, [(0, 1), (1, 2)])
        >>> round(x0, 1), round(x1, 1), round(x2, 1)
        (0.0, 0.5, 1.0)
    """
    if not n_nodes:
        return []
    steps = np.full((n_nodes, n_nodes), 1 + n_nodes / 2)  # apart, but not out of sight
    np.fill_diagonal(steps, 0)
    for start, end in edges:
        steps[start, end] = steps[end, start] = 1
    for middle in range(n_nodes):
        steps = np.minimum(steps, steps[:, middle, None] + steps[None, middle])
    places = _majorized(steps, _scaled(steps))
    places *= np.where(places[:1] > 0, -1, 1)  # the first node is left and above, so that pictures stay alike
    spread = max(float(np.ptp(places, axis=0).max(initial=0)), 1e-9)
    offset = (1 - np.ptp(places, axis=0) / spread) / 2
    return [(float(x), float(y)) for x, y in (places - places.min(0)) / spread + offset]


def _scaled(steps: Values) -> Values:
    """Return places by classical scaling, a hair off, so that nodes alike are not one above the other."""
    n_nodes = len(steps)
    centre = np.eye(n_nodes) - 1 / max(1, n_nodes)
    sizes, vectors = np.linalg.eigh(-centre @ steps**2 @ centre / 2)
    axes = vectors[:, -2:][:, ::-1] * np.sqrt(np.maximum(sizes[-2:][::-1], 0))
    turns = 2.4 * np.arange(n_nodes)
    return np.pad(axes, ((0, 0), (0, 2 - axes.shape[1]))) + 0.05 * np.stack([np.cos(turns), np.sin(turns)], 1)


def _majorized(steps: Values, places: Values) -> Values:
    """Move nodes until their distances are nearest to the numbers of steps."""
    weights = 1 / np.where(steps > 0, steps, 1) ** 2
    np.fill_diagonal(weights, 0)
    inverse = np.linalg.pinv(np.diag(weights.sum(1)) - weights)
    for _ in range(ROUNDS):
        distances = np.linalg.norm(places[:, None] - places[None], axis=2)
        pull = -weights * steps / np.where(distances > 0, distances, np.inf)
        np.fill_diagonal(pull, -pull.sum(1))
        places = inverse @ pull @ places
    return places


def graph_picture(names: Sequence[str], edges: Edges, values: Tensor, scale: float) -> Picture:
    """Draw a graph: nodes in the colours of their attribution [entities], lines for edges."""
    sheet, side = Sheet(SIDE, SIDE), SIDE - 2 * MARGIN
    places = [(MARGIN + x * side, MARGIN + y * side) for x, y in places_of(len(names), edges)]
    for start, end in edges:
        sheet.line([places[start], places[end]], GREY, 1.5)
    fills = [(int(r), int(g), int(b)) for r, g, b in signed_colours(values, scale)]
    radius = 9 if len(names) <= FEW_NODES else 5
    for (x, y), fill in zip(places, fills, strict=True):
        sheet.circle(x, y, radius, fill, GREY, 1)
    for (x, y), fill, name in zip(places, fills, names, strict=True):
        if len(names) <= FEW_NODES:
            sheet.write(x, y, name.replace(" ", "")[:3], size=9, fill=ink_on(fill))
    return sheet.done()
