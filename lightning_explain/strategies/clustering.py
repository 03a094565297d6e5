"""Spectral clustering: neighbours, the normalised graph Laplacian, the eigengap, and which sample is where."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_CLUSTERS = 6
ROUNDING = 1e-9
"""Distances between unit rows that are nothing but rounding."""


def n_neighbours(n_samples: int) -> int:
    """Return how many neighbours each sample is joined with: the graph of one cloud is then connected.

    Example:
        >>> n_neighbours(64), n_neighbours(16)
        (7, 5)
    """
    return min(max(3, math.ceil(1.5 * math.log(n_samples))), n_samples - 1)


def affinity(rows: Tensor, k: int | None = None) -> Tensor:
    """Join each sample with its nearest neighbours: affinity 1 if both are each other's, 1/2 if one is.

    Samples as far away as the k-th neighbour count too, so that the order of samples does not matter.

    Args:
        rows: Samples [n, features].
        k: Number of neighbours.

    Returns:
        Symmetric affinities [n, n], 0 on the diagonal.
    """
    n = len(rows)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(math.inf)
    furthest = distances.kthvalue(k or n_neighbours(n), dim=1, keepdim=True).values
    near = (distances <= furthest + ROUNDING).to(rows.dtype).fill_diagonal_(0)
    return (near + near.T) / 2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of a graph's normalised Laplacian.

    Attributes:
        values: The smallest eigenvalues in rising order [k]; the first is 0.
        vectors: Eigenvectors of the random walk on the graph to these [n, k]; the first is constant.
    """

    values: Tensor
    vectors: Tensor


def spectrum(affinities: Tensor, most: int = MOST_CLUSTERS + 1) -> Spectrum:
    """Decompose the normalised Laplacian of affinities [n, n]: 1 - D^-1 A, by way of 1 - D^-1/2 A D^-1/2.

    Source: von Luxburg (2007), A tutorial on spectral clustering; Shi, Malik (2000).
    """
    degrees = affinities.sum(1)
    scale = degrees.clamp_min(1e-12).rsqrt()
    laplacian = torch.eye(len(affinities), dtype=affinities.dtype) - scale[:, None] * affinities * scale
    values, vectors = torch.linalg.eigh(laplacian)
    most = min(most, len(values))
    return Spectrum(values=values[:most].clamp_min(0), vectors=vectors[:, :most] * scale[:, None])


def n_by_eigengap(values: Tensor) -> int:
    """Return the number of clusters after which the eigenvalues [k], in rising order, rise most.

    Example:
        >>> n_by_eigengap(torch.tensor([0.0, 0.01, 0.4, 0.5])), n_by_eigengap(torch.tensor([0.0, 0.4, 0.5]))
        (2, 1)
    """
    return 1 + int((values[1:] - values[:-1]).argmax()) if len(values) > 1 else 1


def likely_numbers(values: Tensor) -> list[int]:
    """Return the numbers of clusters, from 2 on, by how much the eigenvalues [k] rise after them: the likeliest first.

    Example:
        >>> likely_numbers(torch.tensor([0.0, 0.01, 0.4, 0.5, 0.7]))
        [2, 4, 3]
    """
    gaps = values[2:] - values[1:-1]
    return (2 + gaps.argsort(descending=True, stable=True)).tolist()


def spectral_clusters(vectors: Tensor) -> Tensor:
    """Assign each sample to one of k clusters, given the first k eigenvectors [n, k]: [n].

    Samples of a cluster have nearly the same row of eigenvectors. The k rows that differ most are picked one by one
    (pivoted QR), the nearest orthogonal frame is laid through them, and a sample belongs to the axis that it is
    nearest to. There is nothing random in it, and no iteration.

    Source: Damle, Minden, Ying (2019), Simple, direct and efficient multi-way spectral clustering.
    """
    k = vectors.shape[1]
    left = vectors.clone()
    pivots: list[int] = []
    for _ in range(k):
        pivots.append(int(left.square().sum(1).argmax()))
        axis = left[pivots[-1]] / left[pivots[-1]].norm().clamp_min(1e-12)
        left = left - (left @ axis)[:, None] * axis
    u, _, v = torch.linalg.svd(vectors[pivots].T)
    return (vectors @ (u @ v)).abs().argmax(1)
