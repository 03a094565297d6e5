"""The adaptive rule of integrated gradients for one sample, word by word: slow, and easy to follow."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

Piece = tuple[float, float]


def _largest(sizes: list[float], share: float) -> list[int]:
    """Choose the largest until they hold a share of the sum, at most 0.8."""
    chosen: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if sum(sizes[i] for i in chosen) < min(share, 0.8) * sum(sizes):
            chosen.append(index)
    return chosen


def _bad(errors: list[float], gaps: list[float], too_much: float, too_incomplete: float) -> list[int]:
    """Choose the pieces to cut, the worst first; half of what is wrong with a piece stays."""
    bad = {*_largest(errors, 2 * too_much), *_largest(gaps, 2 * too_incomplete)}
    part = {i: max(errors[i] / sum(errors), gaps[i] / (sum(gaps) or 1.0)) for i in bad}
    return sorted(bad, key=lambda index: (-part[index], index))


Known = Callable[[float], tuple[Tensor, float]]


def _trapezoid(at: Known, low: float, high: float) -> Tensor:
    return (high - low) * (at(low)[0] + at(high)[0]) / 2


def _by_halves(at: Known, low: float, high: float) -> Tensor:
    return _trapezoid(at, low, (low + high) / 2) + _trapezoid(at, (low + high) / 2, high)


def _simpson_by_halves(at: Known, low: float, high: float) -> Tensor:
    middle = (low + high) / 2
    return sum(4 * _by_halves(at, *half) - _trapezoid(at, *half) for half in ((low, middle), (middle, high))) / 3


def _boole(at: Known, low: float, high: float) -> Tensor:
    """Extrapolate from Simpson's rule on the whole and on the halves, as Romberg does."""
    simpson = (4 * _by_halves(at, low, high) - _trapezoid(at, low, high)) / 3
    return (16 * _simpson_by_halves(at, low, high) - simpson) / 15


def _simpson(at: Known, low: float, high: float) -> Tensor:
    return (4 * _by_halves(at, low, high) - _trapezoid(at, low, high)) / 3


def _bound(
    at: Known, pieces: list[Piece], distance: float, rooted: float, size: float, *, smooth: bool
) -> tuple[float, float]:
    """State the error: more of the distance where the scores tell of kinks, and their gaps; and the share of kinks."""
    unexplained = spread = gaps = 0.0
    for low, high in pieces:
        change = at(high)[1] - at(low)[1]
        quarters = [low + (high - low) * k / 4 for k in range(5)] if smooth else [low, (low + high) / 2, high]
        plain = _by_halves(at, low, (low + high) / 2) + _by_halves(at, (low + high) / 2, high) if smooth else None
        exact, other = (_boole, plain) if smooth else (_simpson, _trapezoid(at, low, high))
        fine = _boole(at, low, high) if smooth else _by_halves(at, low, high)
        assert other is not None
        unexplained += (change - float(exact(at, low, high).sum())) ** 2
        spread += float((fine - other).sum()) ** 2
        for a, b in pairwise(quarters):
            gaps += (float(_trapezoid(at, a, b).sum()) - at(b)[1] + at(a)[1]) ** 2
    kink, flat, jumping, independent, gap = (0.5, 1.3, 26.0, 0.0, 2.0) if smooth else (0.12, 0.36, 0.15, 0.19, 0.95)
    jumps = unexplained / (unexplained + kink**2 * spread) if unexplained else 0.0
    return (flat + jumps * jumping) * distance + jumps * (independent * rooted + gap * gaps**0.5 / size), jumps


def _with_gap(bound: float, values: Tensor, change: float) -> tuple[float, float]:
    """Return the stated error, and the completeness gap relative to the change of the score."""
    gap, size = abs(float(values.sum()) - change), float(values.abs().sum())
    return max(bound, gap / size), gap / max(abs(change), 0.01 * size)


def _spline_correction(known: dict[float, Tensor]) -> Tensor:
    """Return what scipy's natural cubic spline has more than trapezoids."""
    nodes = sorted(known)
    shape = known[0.0].shape
    found = np.stack([known[node].double().flatten().numpy() for node in nodes])
    spline = CubicSpline(nodes, found, bc_type="natural").integrate(0, 1)
    return torch.as_tensor(spline - np.trapezoid(found, nodes, axis=0)).reshape(shape).to(known[0.0])


def bisected(
    net: Callable[[Tensor], Tensor], x: Tensor, tolerance: float, max_steps: int, *, smooth: bool = False
) -> tuple[list[float], Tensor, Tensor, float]:
    """Explain output 0 at `x` from zero: nodes, attributions, the coarser attributions, and the estimated error."""
    pieces: list[Piece] = [(0.0, 0.5), (0.5, 1.0)]
    known: dict[float, tuple[Tensor, float]] = {}

    def at(node: float) -> tuple[Tensor, float]:
        if node not in known:
            point = (node * x).requires_grad_()
            score = net(point[None])[0, 0]
            known[node] = torch.autograd.grad(score, point)[0] * x, float(score.detach())
        return known[node]

    by_trapezoids = not smooth
    while True:
        less, more = (_simpson_by_halves, _boole) if smooth else (_trapezoid, _by_halves)
        moves = torch.stack([more(at, *piece) - less(at, *piece) for piece in pieces])
        values = torch.stack([more(at, *piece) for piece in pieces]).sum(0)
        coarse = values - moves.sum(0)
        size = float(values.abs().sum())
        change = at(1.0)[1] - at(0.0)[1]
        distance, rooted = float(moves.sum(0).abs().sum()) / size, float((moves**2).sum(0).sqrt().sum()) / size
        error, jumps = _bound(at, pieces, distance, rooted, size, smooth=smooth)
        if smooth and jumps > 0.3 and len(known) > 9:
            # kinks: trapezoids from now on
            pieces = [half for a, b in pieces for half in ((a, (a + b) / 2), ((a + b) / 2, b))]
            smooth = False
            continue
        bound = error
        error, gap = _with_gap(bound, values, change)
        errors = [float(move.abs().sum()) for move in moves]
        gaps = [abs(float(more(at, a, b).sum()) - at(b)[1] + at(a)[1]) for a, b in pieces]
        bad = _bad(errors, gaps, 1 - tolerance / max(error, 1e-30), 1 - tolerance / max(gap, 1e-30))
        bad = bad[: (max_steps - len(known)) // (4 if smooth else 2)]
        if not bad:
            added = (1 - jumps) * _spline_correction({node: found for node, (found, _) in known.items()})
            now = _with_gap(bound, values + added, change)
            if by_trapezoids and jumps <= 0.95 and now[0] <= max(error, tolerance) and now[1] <= max(gap, tolerance):
                values, error = values + added, now[0]
            return sorted(known), values, coarse, error
        cut = [((a + b) / 2, a, b) for a, b in (pieces[index] for index in bad)]
        pieces = [piece for index, piece in enumerate(pieces) if index not in bad]
        pieces += [half for m, a, b in cut for half in ((a, m), (m, b))]
