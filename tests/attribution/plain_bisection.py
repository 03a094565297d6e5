"""The adaptive rule of integrated gradients for one sample, word by word: slow, and easy to follow."""

from collections.abc import Callable

import torch
from torch import Tensor

Piece = tuple[float, float]


def bisected(
    net: Callable[[Tensor], Tensor], x: Tensor, tolerance: float, max_steps: int
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

    def trapezoid(low: float, high: float) -> Tensor:
        return (high - low) * (at(low)[0] + at(high)[0]) / 2

    def by_halves(low: float, high: float) -> Tensor:
        return trapezoid(low, (low + high) / 2) + trapezoid((low + high) / 2, high)

    while True:
        coarse = torch.stack([trapezoid(*piece) for piece in pieces]).sum(0)
        values = torch.stack([by_halves(*piece) for piece in pieces]).sum(0)
        error = (1.0 if len(known) == 5 else 0.7) * float((values - coarse).abs().sum() / values.abs().sum())
        change = at(1.0)[1] - at(0.0)[1]
        gap = abs(float(values.sum()) - change) / max(abs(change), 0.01 * float(values.abs().sum()))
        errors = [float((by_halves(*piece) - trapezoid(*piece)).abs().sum()) for piece in pieces]
        gaps = [abs(float(by_halves(a, b).sum()) - at(b)[1] + at(a)[1]) for a, b in pieces]
        urgency = [
            max((error > 0.7 * tolerance * 4 / 3) * e / max(errors), (gap > tolerance) * g / max(gaps))
            for e, g in zip(errors, gaps, strict=True)
        ]
        order = sorted(range(len(pieces)), key=lambda index: -urgency[index])
        bad = [index for index in order if urgency[index] >= 0.3][: (max_steps - len(known)) // 2]
        if not bad:
            return sorted(known), values, coarse, error
        cut = [((a + b) / 2, a, b) for a, b in (pieces[index] for index in bad)]
        pieces = [piece for index, piece in enumerate(pieces) if index not in bad]
        pieces += [half for m, a, b in cut for half in ((a, m), (m, b))]
