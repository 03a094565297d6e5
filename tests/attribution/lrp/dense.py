"""The rules of LRP written once more, as loops over a dense matrix in float64, to compare with."""

from collections.abc import Callable

import torch
from torch import Tensor

DenseRule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(matrix [out, in], bias [out], input [in], relevance [out]) -> relevance [in]."""


def matrix_of(layer: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Unroll an affine layer by feeding it the unit vectors: matrix [out, in] and bias [out]."""
    n = int(torch.tensor(shape).prod())
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        columns = layer(torch.eye(n, dtype=torch.float64).reshape(n, *shape)).flatten(1) - bias
    return columns.T.contiguous(), bias


def _shared(numerators: Tensor, denominators: Tensor, relevance: Tensor) -> Tensor:
    shares = torch.zeros_like(numerators)
    alive = denominators != 0
    shares[alive] = numerators[alive] / denominators[alive, None]
    return relevance @ shares


def epsilon(value: float) -> DenseRule:
    def rule(w: Tensor, b: Tensor, a: Tensor, relevance: Tensor) -> Tensor:
        z = w @ a + b
        sign = torch.ones_like(z)
        sign[z < 0] = -1
        return _shared(w * a, z + value * sign, relevance)

    return rule


def gamma(value: float) -> DenseRule:
    def rule(w: Tensor, b: Tensor, a: Tensor, relevance: Tensor) -> Tensor:
        c = w * a
        out = torch.zeros_like(a)
        for j in range(len(b)):
            same = 1.0 if float(c[j].sum() + b[j]) >= 0 else -1.0
            boosted = c[j] + value * same * (same * c[j]).clamp(min=0)
            bias = b[j] + value * same * (same * b[j]).clamp(min=0)
            out += boosted / (boosted.sum() + bias) * relevance[j]
        return out

    return rule


def alpha_beta(alpha: float, beta: float) -> DenseRule:
    def rule(w: Tensor, b: Tensor, a: Tensor, relevance: Tensor) -> Tensor:
        c = w * a
        up, down = c * (c > 0), c * (c < 0)
        above = _shared(up, up.sum(1) + b * (b > 0), relevance)
        below = _shared(down, down.sum(1) + b * (b < 0), relevance)
        return alpha * above - beta * below

    return rule


def flat(connected: Tensor) -> DenseRule:
    """`connected` [out, in] is 1 where a weight exists, also one that is zero."""

    def rule(w: Tensor, b: Tensor, a: Tensor, relevance: Tensor) -> Tensor:
        return _shared(connected, connected.sum(1), relevance)

    return rule


def w_square(w: Tensor, b: Tensor, a: Tensor, relevance: Tensor) -> Tensor:
    return _shared(w**2, (w**2).sum(1), relevance)


def z_box(low: float, high: float) -> DenseRule:
    def rule(w: Tensor, b: Tensor, a: Tensor, relevance: Tensor) -> Tensor:
        q = torch.zeros_like(w)
        for j in range(w.shape[0]):
            for i in range(w.shape[1]):
                q[j, i] = a[i] * w[j, i] - (low if w[j, i] > 0 else high) * w[j, i]
        return _shared(q, q.sum(1), relevance)

    return rule
