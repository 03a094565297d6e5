"""Maps with and without planted clusters, for the tests of strategies."""

import torch
from torch import Tensor


def blob(n: int, seed: int, features: int = 40, rank: int = 6) -> Tensor:
    """Draw maps of one cloud that is long in some directions, around a common map: [n, features]."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(rank, features, generator=generator, dtype=torch.double)
    weights = torch.randn(n, rank, generator=generator, dtype=torch.double) * torch.linspace(1, 0.2, rank)
    noise = torch.randn(n, features, generator=generator, dtype=torch.double)
    return 2 * torch.ones(features, dtype=torch.double) + weights @ directions * 0.5 + 0.3 * noise


def planted(n: int = 64, n_marked: int = 13, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw maps of which some have a mark, a feature of large relevance of changing size; and which have it [n]."""
    maps = blob(n, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    marked = torch.zeros(n, dtype=torch.bool)
    marked[torch.randperm(n, generator=generator)[:n_marked]] = True
    maps[marked, 3] += 12 + 4 * torch.rand(n_marked, generator=generator, dtype=torch.double)
    return maps, marked
