"""Top samples on a processor, where most values of a batch can be passed over: only candidates are sorted.

An accelerator sorts whole batches, since to ask it what enters would mean to wait for it. Both find the same samples.

Rows of a batch are taken in blocks. Only blocks whose largest value reaches the threshold of their unit are kept. They
are sorted when there are several for each place to fill, which raises the threshold. So a batch costs one walk over it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_explain.exemplars.batch_samples import BatchSamples, WaitingBatches
from lightning_explain.exemplars.peaks import as_places
from lightning_explain.exemplars.top_samples import EMPTY, TopSamples, keys_of, values_of

Positions = Callable[[Tensor, Tensor], Tensor]
"""Returns the flat position of the largest value, given samples of the batch [n] and units [n]."""

Array = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

PENDING = 4
"""Candidates are sorted when there are so many for each place to fill: a threshold that is a little old costs less."""

BLOCK = 8
"""Rows of a block."""

FEW = 1 << 14
"""So few values are compared each for itself."""


def batch_threshold(values: Tensor, k: int) -> Tensor:
    """Return for each unit a value that at least `k` samples of a batch reach, a large one: [units].

    It is the `k`-th largest of the largest values of groups of samples, four times as many as `k` where there are so
    many: -inf where there are fewer than `k`, or where some value is none (NaN or infinite).

    Args:
        values: [batch, units].
        k: How many.

    Example:
        >>> batch_threshold(torch.tensor([[1.0], [5.0], [4.0], [2.0]]), 2)
        tensor([4.])
    """
    if len(values) < k:
        return values.new_full((values.shape[1],), -torch.inf)
    size = max(1, len(values) // (4 * k))
    n_groups = len(values) // size
    largest = values[: n_groups * size].view(n_groups, size, -1).amax(1).t().topk(k, 1).values
    # what comes after NaN and infinity is not known
    return torch.where(largest[:, 0].isfinite(), largest[:, -1], -torch.inf)


class _Blocks(NamedTuple):
    """Blocks of rows that hold candidates.

    Attributes:
        values: The blocks: [n, rows].
        places: Index of each in [blocks, units], flattened: [n].
        first_row: Place of the first one's first sample among those pending.
        positions: Flat position of each value [n], where blocks have one row; None where there are none.
    """

    values: Floats
    places: Array
    first_row: int
    positions: Array | None


class Candidates:
    """The top samples of one layer's units, kept up to date from batch to batch on a processor.

    Args:
        n_units: Units of the layer.
        k: Samples of each unit.
    """

    def __init__(self, n_units: int, k: int) -> None:
        self._top = TopSamples.none(n_units, k, torch.device("cpu"))
        self._lowest = np.full(n_units, -np.inf, dtype=np.float32)
        self._above = self._lowest
        self._is_sorted = False
        self._waiting = WaitingBatches(n_units)
        self._pending: list[_Blocks] = []
        self._n_pending = 0
        self._samples: list[tuple[Array, Array]] = []
        self._n_samples = 0
        self._shape: tuple[int, ...] = ()

    def add(
        self, values: Tensor, samples: BatchSamples, find: Positions | None = None, shape: tuple[int, ...] = ()
    ) -> None:
        """Add a batch.

        Args:
            values: float32 [batch, units].
            samples: Of the batch.
            find: Finds flat positions, asked of candidates only; None where there are none.
            shape: Sizes of the dimensions of positions.
        """
        if shape != self._shape:
            self.top()
            self._shape = shape
        if samples.rows is not None:
            values = values[samples.rows]
            find = None if find is None else _at_rows(find, samples.rows)
        if find is not None:
            self._look(values, samples.numbers, samples.labels, find, are_later=samples.are_later)
        elif not self._waiting.add(values, samples):
            self._look_at_waiting()
            self._waiting.add(values, samples)

    def _look_at_waiting(self) -> None:
        if self._waiting.samples:
            numbers = np.concatenate([each.numbers for each in self._waiting.samples])
            labels = np.concatenate([each.labels for each in self._waiting.samples])
            are_later = all(each.are_later for each in self._waiting.samples)
            self._look(self._waiting.taken(), numbers, labels, None, are_later=are_later)

    def _look(self, values: Tensor, numbers: Array, labels: Array, find: Positions | None, *, are_later: bool) -> None:
        """Find candidates."""
        n_units, k = self._top.keys.shape
        is_first = not self._is_sorted
        if is_first:
            # nearly everything would be a candidate
            least, rows = np.maximum(self._lowest, batch_threshold(values, k).numpy()), 1
        else:
            least, rows = self._above if are_later else self._lowest, 1 if values.numel() <= FEW else BLOCK
        whole = len(values) - len(values) % rows
        n_before = self._n_pending
        self._keep(values[:whole], least, rows, self._n_samples, find)
        if whole < len(values):
            self._keep(values[whole:], least, 1, self._n_samples + whole, None if find is None else _after(find, whole))
        if self._n_pending > n_before:
            self._samples.append((numbers, labels))
            self._n_samples += len(values)
        if self._n_pending > PENDING * n_units * k or (is_first and self._n_pending > 0 and len(values) >= k):
            self._sort()

    def _keep(self, values: Tensor, least: Floats, rows: int, first_row: int, find: Positions | None) -> None:
        """Copy the blocks that hold a candidate."""
        n_units = values.shape[1]
        blocks = values.view(-1, rows, n_units)
        largest = blocks.amax(1) if rows > 1 else values
        # NaN hides what else is in its block
        places = np.flatnonzero(~(largest.numpy() < least))
        if not len(places):
            return
        block, unit = np.divmod(places, n_units)
        found, positions = blocks.numpy()[block, :, unit], None
        if find is not None:
            which, row = np.nonzero(found >= least[unit, None])
            if not len(which):
                return
            found, unit = found[which, row][:, None], unit[which]
            row += block[which] * rows
            places = row * n_units + unit
            positions = find(torch.from_numpy(row), torch.from_numpy(unit)).numpy()
        self._pending.append(_Blocks(found, places, first_row, positions))
        self._n_pending += len(places)

    def top(self) -> TopSamples:
        """Return the best samples so far."""
        self._look_at_waiting()
        if self._pending:
            self._sort()
        return self._top

    def _sort(self) -> None:
        """Let the candidates enter that do, and raise the threshold."""
        numbers, labels = map(np.concatenate, zip(*self._samples, strict=True))
        by_rows = {rows: [each for each in self._pending if each.values.shape[1] == rows] for rows in (1, BLOCK)}
        self._pending, self._n_pending, self._samples, self._n_samples = [], 0, [], 0
        for blocks in filter(None, by_rows.values()):
            rows, units, values, positions = _candidates(blocks, self._lowest)
            keys = keys_of(torch.from_numpy(values), torch.from_numpy(numbers[rows])).numpy()
            places = as_places(torch.from_numpy(positions), self._shape).numpy()
            self._top = _merged(self._top, units, keys, labels[rows], places)
        self._is_sorted = True
        last = self._top.keys[:, -1]
        self._lowest = torch.where(last == EMPTY, -torch.inf, values_of(last)).numpy()
        self._above = np.nextafter(self._lowest, np.float32(np.inf))


def _after(find: Positions, first: int) -> Positions:
    return lambda rows, units: find(rows + first, units)


def _at_rows(find: Positions, rows: Tensor) -> Positions:
    return lambda of_these, units: find(rows[of_these], units)


def _candidates(blocks: Sequence[_Blocks], lowest: Floats) -> tuple[Array, Array, Floats, Array]:
    """Return row, unit, value and position of each value in blocks of the same number of rows that may enter."""
    n_units = len(lowest)
    values: Floats = np.concatenate([each.values for each in blocks])
    places: Array = np.concatenate([each.places for each in blocks])
    first = np.repeat([each.first_row for each in blocks], [len(each.places) for each in blocks])
    block: Array = places // n_units
    unit = places - block * n_units
    flat = np.flatnonzero(values >= lowest[unit][:, None])
    which: Array = flat // values.shape[1]
    row = (first + (block - np.arange(len(block))) * values.shape[1])[which] + flat
    positions = [np.zeros_like(each.places) if each.positions is None else each.positions for each in blocks]
    return row, unit[which], values.reshape(-1)[flat], np.concatenate(positions)[which]


def _merged(top: TopSamples, units: Array, keys: Array, labels: Array, places: Array) -> TopSamples:
    """Return the best of what is kept and of some samples, given the unit of each."""
    n_units, k = top.keys.shape
    if not len(units):
        return top
    table, which = by_unit(units, keys, n_units)
    found, at = torch.cat([top.keys, torch.from_numpy(table)], 1).topk(k, 1)
    column, row = at.numpy(), np.arange(n_units)[:, None]
    new = n_units * k + which[row, np.maximum(column - k, 0)]
    index = np.where(column < k, row * k + column, new)
    # what belongs to them is fetched of those only that remain
    old = ((top.labels, labels), (top.places, places))
    return TopSamples(found, *(torch.from_numpy(np.concatenate([a.numpy().reshape(-1), b])[index]) for a, b in old))


def by_unit(units: Array, keys: Array, n_units: int) -> tuple[Array, Array]:
    """Arrange keys in rows by unit: [units, most of any unit]; `EMPTY` where a unit has fewer.

    Args:
        units: Unit of each [n].
        keys: Keys [n].
        n_units: Units of the layer.

    Returns:
        The keys, and which each is of those given.
    """
    # numbers of 16 bits are sorted by counting
    order = np.argsort(units.astype(np.uint16) if n_units < 1 << 16 else units, kind="stable")
    counts = np.bincount(units, minlength=n_units)
    row = units[order]
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((n_units, int(counts.max())), EMPTY, dtype=np.int64)
    which = np.zeros_like(table)
    at = row * table.shape[1] + column
    table.reshape(-1)[at], which.reshape(-1)[at] = keys[order], order
    return table, which
