"""Top samples on a processor, where most values of a batch can be passed over: only candidates are sorted.

An accelerator sorts whole batches, since to ask it what enters would mean to wait for it. Both find the same samples.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_explain.exemplars.top_samples import EMPTY, TopSamples, keys_of, merged, values_of

Places = Callable[[Tensor, Tensor], Tensor]
"""Returns the flat position of the largest value, given samples of the batch [n] and units [n]."""

Array = npt.NDArray[np.int64]

PENDING = 2
"""Candidates are sorted when there are so many for each place to fill: a threshold that is a little old costs less."""


def batch_threshold(values: Tensor, k: int) -> Tensor:
    """Return for each unit a value that at least `k` samples reach: [units]; -inf where nothing is known.

    Each of `k` groups of samples has a largest value, and all of these reach the smallest of them.

    Args:
        values: [batch, units], all of samples that count.
        k: How many.

    Example:
        >>> batch_threshold(torch.tensor([[1.0], [5.0], [4.0], [2.0]]), 2)
        tensor([4.])
    """
    per_group = len(values) // k
    if not per_group:
        return values.new_full((values.shape[1],), -torch.inf)
    groups = values[: per_group * k].unflatten(0, (per_group, k)).amax(0)
    # NaN and infinity are no values, and hide those of their group that are
    return torch.where(groups.amax(0).isfinite(), groups.amin(0), -torch.inf)


class Candidates:
    """The top samples of one layer's units, kept up to date from batch to batch on a processor.

    Args:
        n_units: Units of the layer.
        k: Samples of each unit.
    """

    def __init__(self, n_units: int, k: int) -> None:
        self._top = TopSamples.none(n_units, k, torch.device("cpu"))
        self._lowest = torch.full((n_units,), -torch.inf)
        self._pending: list[tuple[Tensor, TopSamples]] = []
        self._n_pending = 0

    def add(self, values: Tensor, find: Places, numbers: Tensor, labels: Tensor, *, all_count: bool) -> None:
        """Add a batch.

        Args:
            values: [batch, units].
            find: Finds positions; asked of candidates only.
            numbers: Of the samples: int64 [batch]; -1 to leave one out.
            labels: Of the samples: int64 [batch].
            all_count: True if no sample is to be left out.
        """
        n_units, k = self._top.keys.shape
        lowest = torch.maximum(self._lowest, batch_threshold(values, k)) if all_count else self._lowest
        # an equal value may enter, if its number is lower
        flat = np.flatnonzero(values.numpy() >= lowest.numpy())
        if not len(flat):
            return
        rows, units = (torch.from_numpy(part) for part in np.divmod(flat, n_units))
        keys = keys_of(values.flatten()[flat], numbers[rows])
        self._pending.append((units, TopSamples(keys, labels[rows], find(rows, units))))
        self._n_pending += len(flat)
        if self._n_pending > PENDING * n_units * k:
            self.top()

    def top(self) -> TopSamples:
        """Return the best samples so far."""
        if self._pending:
            units = torch.cat([units for units, _ in self._pending])
            found = TopSamples(*(torch.cat(parts) for parts in zip(*(each for _, each in self._pending), strict=True)))
            self._pending, self._n_pending = [], 0
            self._top = merged(self._top, by_unit(units.numpy(), found, len(self._top.keys)))
            last = self._top.keys[:, -1]
            self._lowest = torch.where(last == EMPTY, -torch.inf, values_of(last))
        return self._top


def by_unit(units: Array, found: TopSamples, n_units: int) -> TopSamples:
    """Arrange samples in rows by unit: [units, most of any unit]; `EMPTY` where a unit has fewer.

    Args:
        units: Unit of each sample [n].
        found: Samples [n].
        n_units: Units of the layer.
    """
    # numbers of 16 bits are sorted by counting
    order = np.argsort(units.astype(np.uint16) if n_units < 1 << 16 else units, kind="stable")
    counts = np.bincount(units, minlength=n_units)
    row = units[order]
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    blank = TopSamples.none(n_units, int(counts.max()), torch.device("cpu"))
    for to, part in zip(blank, found, strict=True):
        to.numpy()[row, column] = part.numpy()[order]
    return blank
