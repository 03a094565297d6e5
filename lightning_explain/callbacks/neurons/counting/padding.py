"""Samples that a distributed sampler repeats to make all processes' shares equal: they must not count twice."""

from collections.abc import Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler


def _distributed_sampler(loader: Any) -> DistributedSampler[Any] | None:
    """Return the loader's sampler if it shares samples out and pads; None otherwise."""
    if not isinstance(loader, DataLoader):
        return None
    candidates: list[Any] = [loader.sampler, getattr(loader.batch_sampler, "sampler", None)]
    for sampler in candidates:
        if not isinstance(sampler, DistributedSampler) or sampler.drop_last:
            continue
        # Lightning's own sampler for uneven shares does not pad
        if not any(base.__name__.startswith("Unrepeated") for base in type(sampler).__mro__):
            return cast("DistributedSampler[Any]", sampler)
    return None


def counted_samples(loader: Any, batch_idx: int, n_samples: int, device: torch.device) -> Tensor | None:
    """Mark the samples of a batch that are no padding: boolean [batch]; None where all count.

    A distributed sampler gives process r the samples r, r + world, r + 2 * world, ... of its order, and continues
    the order from its start where it runs out; so a position beyond the data set's size is a repetition.

    Args:
        loader: The loader that the batch came from.
        batch_idx: Index of the batch in this process.
        n_samples: Samples in it.
        device: Device of the result.
    """
    sampler = _distributed_sampler(loader)
    if sampler is None or sampler.num_replicas == 1:
        return None
    size = len(cast(Sized, sampler.dataset))
    if size == sampler.total_size:
        return None
    batch_size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", n_samples)
    position = batch_idx * batch_size + torch.arange(n_samples, device=device)
    return sampler.rank + sampler.num_replicas * position < size
