"""Numbers of validation samples: their index in the data set where the sampler shows it, else their place in line."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, IterableDataset, SequentialSampler

from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.neurons.counting.padding import counted_samples
from lightning_explain.exemplars.top_samples import LAST_NUMBER

Order = Callable[[Tensor], Tensor]
"""Places in the order in which a process gets its samples -> indices in the data set."""


def index_order(loader: Any) -> Order | None:
    """Return the data set's index of each sample that this process gets, as far as the sampler shows it.

    It shows it where samples come in the data set's order, in that of a list of indices, or divided among processes
    without shuffling. Whatever draws at random, and any other sampler, does not show what it gave: to ask it again
    would draw again.

    Args:
        loader: One loader.

    Returns:
        None where nothing shows it.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    if getattr(type(loader.dataset), "__getitem__", Dataset.__getitem__) is Dataset.__getitem__:
        return None  # it gives batches only
    # a batch sampler of another type may make batches of anything
    return _order(loader.batch_sampler.sampler) if type(loader.batch_sampler) is BatchSampler else None


def _same(places: Tensor) -> Tensor:
    return places


def _listed(table: Tensor, places: Tensor) -> Tensor:
    return table[places.clamp_max(len(table) - 1)]


def _divided(inner: Order, rank: int, count: int, size: int, places: Tensor) -> Tensor:
    return inner((rank + count * places) % size)


def _order(sampler: Any) -> Order | None:
    if type(sampler) is SequentialSampler:
        return _same
    if isinstance(sampler, range | list | tuple):
        return partial(_listed, torch.tensor(list(cast(Sequence[int], sampler)), dtype=torch.long))
    if not isinstance(sampler, DistributedSampler):
        return None
    shared = cast("DistributedSampler[Any]", sampler)
    # Lightning divides the order of another sampler by putting it into the place of the data set
    wraps = type(shared.dataset).__name__ == "_DatasetSamplerWrapper"
    inner = _order(vars(shared.dataset)["_sampler"]) if wraps else _same
    size = len(cast(Sized, shared.dataset))
    if shared.shuffle or inner is None or not size:
        return None
    return partial(_divided, inner, shared.rank, shared.num_replicas, size)


@dataclass
class _Loader:
    """One loader of a running validation.

    Attributes:
        loader: It.
        order: Its samples' indices; None where nothing shows them.
        n_passed: Samples that have passed in this process.
        first_place: Number of the first place in line; beyond all indices, where earlier samples were numbered by them.
    """

    loader: Any
    order: Order | None
    n_passed: int = 0
    first_place: int = 0

    def expected(self) -> int | None:
        """Return the number of samples of the next batch if each item of the sampler gives one; None if unknown."""
        if self.order is None:
            return None
        sampler = self.loader.batch_sampler
        return min(sampler.batch_size, len(sampler.sampler) - self.n_passed)


class SampleNumbers:
    """Numbers the samples of one validation pass: each loader has a range of numbers of its own.

    Args:
        loaders: The validation's loaders.
        ranks: This process among those of the run.
    """

    def __init__(self, loaders: Sequence[Any], ranks: Ranks) -> None:
        self._loaders = [_Loader(loader, index_order(loader)) for loader in loaders]
        self._ranks = ranks
        self._span = (LAST_NUMBER + 1) // max(1, len(loaders))

    def of_batch(self, loader: int, batch_idx: int, n_samples: int) -> Tensor:
        """Return the number of each sample of the next batch: int64 [batch]; -1 for a sampler's repetitions."""
        known = self._loaders[loader]
        if known.order is not None and known.expected() != n_samples:
            known.order = None  # its collate function drops or adds samples
            if known.n_passed or self._ranks.count > 1:
                known.first_place = len(cast(Sized, known.loader.dataset))
        start, known.n_passed = known.n_passed, known.n_passed + n_samples
        if known.order is _same:
            start += loader * self._span
            # of a loader that no other process shares; numpy is faster for the first call of a step
            return torch.from_numpy(np.arange(start, start + n_samples, dtype=np.int64))
        places = torch.arange(start, start + n_samples)
        alone = known.first_place + self._ranks.rank + self._ranks.count * places
        numbers = alone if known.order is None else known.order(places)
        counted = counted_samples(known.loader, batch_idx, n_samples, numbers.device)
        numbers = loader * self._span + numbers
        return numbers if counted is None else torch.where(counted, numbers, -1)

    def has_index(self, loader: int) -> bool:
        """Return True if the numbers of a loader's samples are indices of its data set."""
        return self._loaders[loader].order is not None

    def finish(self) -> "DataNumbers":
        """Number the samples of all loaders through; a collective call in a distributed run."""
        sizes = [
            len(cast(Sized, each.loader.dataset))
            if each.order is not None
            else each.first_place + each.n_passed * self._ranks.count
            for each in self._loaders
        ]
        everywhere = self._ranks.exchanged((sizes, [each.order is not None for each in self._loaders]))
        sizes = [max(column) for column in zip(*(sizes for sizes, _ in everywhere), strict=True)]
        indexed = [all(column) for column in zip(*(own for _, own in everywhere), strict=True)]
        return DataNumbers(tuple(sizes), tuple(indexed), self._span)


@dataclass(frozen=True)
class DataNumbers:
    """The numbers of samples in the validation data, its loaders numbered through.

    Attributes:
        sizes: Samples of each loader.
        indexed: Whether numbers within each loader are indices of its data set.
        span: Numbers that a loader has to itself while a pass is running.
    """

    sizes: tuple[int, ...]
    indexed: tuple[bool, ...]
    span: int

    def of(self, numbers: Tensor) -> Tensor:
        """Return the numbers in the data, given those of the pass; -1 stays -1."""
        if not self.sizes:
            return numbers
        starts = torch.tensor([0, *self.sizes[:-1]]).cumsum(0)
        loader = numbers.clamp_min(0) // self.span
        return torch.where(numbers < 0, -1, starts[loader] + numbers - loader * self.span)

    def in_pass(self, sample: int) -> int:
        """Return the number that a sample had while the pass was running."""
        loader, number = self.place(sample)
        return loader * self.span + number

    def place(self, sample: int) -> tuple[int, int]:
        """Return loader and number within it of a sample."""
        for loader, size in enumerate(self.sizes):
            if sample < size:
                return loader, sample
            sample -= size
        raise IndexError(sample)
