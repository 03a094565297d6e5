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

PENDING = 4
"""Candidates are sorted when there are so many for each place to fill: a threshold that is a little old costs less."""


def batch_threshold(values: Tensor, k: int) -> Tensor:
    """Return for each unit the `k`-th largest value of a batch: [units]; -inf where there are fewer, or some is NaN.

    Args:
        values: [batch, units], all of samples that count.
        k: How many.

    Example:
        >>> batch_threshold(torch.tensor([[1.0], [5.0], [4.0], [2.0]]), 2)
        tensor([4.])
    """
    if len(values) < k:
        return values.new_full((values.shape[1],), -torch.inf)
    found = values.t().topk(k, 1).values
    # NaN and infinity are no values: what comes after them is not known
    return torch.where(found[:, 0].isfinite(), found[:, -1], -torch.inf)


class Candidates:
    """The top samples of one layer's units, kept up to date from batch to batch on a processor.

    Args:
        n_units: Units of the layer.
        k: Samples of each unit.
    """

    def __init__(self, n_units: int, k: int) -> None:
        self._top = TopSamples.none(n_units, k, torch.device("cpu"))
        self._lowest = np.full(n_units, -np.inf, dtype=np.float32)
        self._pending: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
        self._n_pending = 0

    def add(
        self, values: Tensor, find: Places | None, numbers: Tensor, labels: Tensor, *, all_count: bool = False
    ) -> None:
        """Add a batch.

        Args:
            values: [batch, units].
            find: Finds positions, asked of candidates only; None where there are none.
            numbers: Of the samples: int64 [batch]; -1 to leave one out.
            labels: Of the samples: int64 [batch].
            all_count: True if no sample is to be left out.
        """
        n_units, k = self._top.keys.shape
        # an equal value may enter, if its number is lower
        flat = np.flatnonzero(values.numpy() >= self._lowest)
        if all_count and len(flat) > n_units * k:
            flat = np.flatnonzero(values.numpy() >= np.maximum(self._lowest, batch_threshold(values, k).numpy()))
        if not len(flat):
            return
        rows, units = np.divmod(flat, n_units)
        row, unit = torch.from_numpy(rows), torch.from_numpy(units)
        places = torch.zeros_like(row) if find is None else find(row, unit)
        # nothing is sorted yet: few of a batch enter, and many batches are sorted as fast as one
        self._pending.append((unit, values.flatten()[torch.from_numpy(flat)], numbers[row], labels[row], places))
        self._n_pending += len(flat)
        # at first there is no threshold yet, and nearly everything is a candidate
        if self._n_pending > PENDING * n_units * k or self._lowest[0] == -np.inf:
            self.top()

    def top(self) -> TopSamples:
        """Return the best samples so far."""
        if self._pending:
            units, values, numbers, labels, places = (torch.cat(part) for part in zip(*self._pending, strict=True))
            self._pending, self._n_pending = [], 0
            found = TopSamples(keys_of(values, numbers), labels, places)
            self._top = merged(self._top, by_unit(units.numpy(), found, len(self._top.keys)))
            last = self._top.keys[:, -1]
            self._lowest = torch.where(last == EMPTY, -torch.inf, values_of(last)).numpy()
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
