"""Top samples on a processor, where most values of a batch can be passed over: only candidates are sorted.

An accelerator sorts whole batches, since to ask it what enters would mean to wait for it. Both find the same samples.

The largest value of each block of rows tells whether one of them may enter. What may enter is copied, and sorted when
there is as much of it as there are places, which raises the threshold. Steps are few rather than short: between a
network's layers each begins with cold caches.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_explain.exemplars.batch_samples import BatchSamples, WaitingBatches
from lightning_explain.exemplars.peaks import as_places
from lightning_explain.exemplars.top_samples import EMPTY, LAST_NUMBER, TopSamples

Array = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

Positions = Callable[[Array, Array], Array]
"""Returns the flat position of the largest value, given samples of the batch [n] and units [n]."""

BLOCK = 8
"""Most rows of a block."""

FEW = 1 << 14
"""So few values are compared each for itself."""


def batch_threshold(largest: Floats, k: int) -> Floats:
    """Return for each unit the `k`-th largest of the largest values of groups of samples: [units].

    At least `k` samples reach it. It is -inf where there are fewer than `k` groups, or where one of their values is
    not finite.

    Args:
        largest: [groups, units].
        k: How many.

    Example:
        >>> batch_threshold(np.array([[1.0], [5.0], [4.0], [2.0]], dtype=np.float32), 2)
        array([4.], dtype=float32)
    """
    n_groups, n_units = largest.shape
    if n_groups < k:
        return np.full(n_units, -np.inf, dtype=np.float32)
    # in rows by unit: sorted ten times faster; NaN comes last
    best = np.partition(np.ascontiguousarray(largest.T), n_groups - k, axis=1)[:, n_groups - k :]
    return np.where(np.isfinite(best).all(1), best[:, 0], np.float32(-np.inf))


class _Entries(NamedTuple):
    """Values that may enter.

    Attributes:
        values: [n].
        rows: Row of each among the samples that are pending: [n].
        units: Unit of each: [n].
        positions: Flat position of each: [n]; None where there are none.
    """

    values: Floats
    rows: Array
    units: Array
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
        self._pending: list[_Entries] = []
        self._n_pending = 0
        self._samples: list[BatchSamples] = []
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
            self._look(values, samples, find)
        elif not self._waiting.add(values, samples):
            self._look_at_waiting()
            if not self._waiting.add(values, samples):
                self._look(values, samples)

    def _look_at_waiting(self) -> None:
        if self._waiting.samples:
            self._look(*self._waiting.taken())

    def _look(self, values: Tensor, samples: BatchSamples, find: Positions | None = None) -> None:
        """Find candidates."""
        values = values.contiguous()
        n_samples, n_units = values.shape
        k = self._top.keys.shape[1]
        is_first = not self._is_sorted
        # a threshold of few blocks would be low
        most = min(BLOCK, max(1, n_samples // (4 * k))) if is_first else BLOCK
        rows = 1 if values.numel() <= FEW else math.gcd(n_samples, most)
        blocks = values.numpy() if rows == 1 else values.view(-1, rows, n_units).amax(1).numpy()
        if is_first:
            least = np.maximum(self._lowest, batch_threshold(blocks, k))
        else:
            least = self._above if samples.are_later else self._lowest
        # NaN hides what else is in its block
        reached = blocks >= least if rows == 1 else ~(blocks < least)
        if is_first and samples.are_in_order:
            reached = _without_late_ties(reached, blocks, least, k)
        places = np.flatnonzero(reached)
        if not len(places):
            return
        found, at, units = _entries(values.numpy(), places, least, rows)
        positions = None if find is None else find(at, units)
        self._pending.append(_Entries(found, at + self._n_samples, units, positions))
        self._samples.append(samples)
        self._n_samples += n_samples
        self._n_pending += len(at)
        if self._n_pending > n_units * k or (is_first and n_samples >= k):
            self._sort()

    def top(self) -> TopSamples:
        """Return the best samples so far."""
        self._look_at_waiting()
        if self._pending:
            self._sort()
        return self._top

    def _sort(self) -> None:
        """Let the candidates enter that do, and raise the threshold."""
        values, rows, units = (np.concatenate(parts) for parts in list(zip(*self._pending, strict=True))[:3])
        numbers, labels = (np.concatenate(parts) for parts in list(zip(*self._samples, strict=True))[:2])
        where = [each.positions for each in self._pending if each.positions is not None]
        places = as_places(np.concatenate(where), self._shape) if where else None
        self._pending, self._n_pending, self._samples, self._n_samples = [], 0, [], 0
        self._top = _merged(self._top, units, _keys(values, numbers[rows]), labels[rows], places)
        self._is_sorted = True
        self._lowest = _values(self._top.keys[:, -1].numpy())
        self._above = np.nextafter(self._lowest, np.float32(np.inf))


def _at_rows(find: Positions, rows: Tensor) -> Positions:
    table = rows.numpy()
    return lambda of_these, units: find(table[of_these], units)


def _swapped(bits: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Turn the bits of a float into an integer of the same order, or back."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _keys(values: Floats, numbers: Array) -> Array:
    """Return keys as `keys_of` does, in fewer steps."""
    # -0.0 + 0.0 is 0.0: both are equal, and their bits must be
    keys = (_swapped((values + np.float32(0)).view(np.int32)).astype(np.int64) << 32) | (LAST_NUMBER - numbers)
    finite = np.isfinite(values)
    return keys if finite.all() else np.where(finite, keys, EMPTY)


def _values(keys: Array) -> Floats:
    """Return the values in keys; -inf where there is none."""
    return np.where(keys == EMPTY, np.float32(-np.inf), _swapped((keys >> 32).astype(np.int32)).view(np.float32))


def _without_late_ties(reached: npt.NDArray[np.bool_], blocks: Floats, least: Floats, k: int) -> npt.NDArray[np.bool_]:
    """Leave out blocks that only equal the threshold and come after `k` that reach it: earlier samples come first.

    Units that are silent for most samples would have nearly all of them for candidates.
    """
    tied = reached & (blocks <= least)
    # each unit has one
    if np.count_nonzero(tied) <= 2 * len(least):
        return reached
    return reached & (~tied | (reached.cumsum(0) <= k))


def _entries(values: Floats, places: Array, least: Floats, rows: int) -> tuple[Floats, Array, Array]:
    """Return the values that reach the threshold of their unit, their rows and units.

    Args:
        values: [samples, units].
        places: Of the blocks in which to look, in [blocks, units]: [n].
        least: Threshold by unit.
        rows: Of a block.
    """
    n_units = len(least)
    flat = values.reshape(-1)
    block = places // n_units
    unit = places - block * n_units
    if rows == 1:
        return flat.take(places), block, unit
    step = np.arange(rows)[:, None]
    found = flat.take((block * (rows * n_units) + unit) + step * n_units)
    at = np.flatnonzero(found >= least[unit])
    row = at // len(places)
    which = at - row * len(places)
    return found.reshape(-1)[at], block[which] * rows + row, unit[which]


def _merged(top: TopSamples, units: Array, keys: Array, labels: Array, places: Array | None) -> TopSamples:
    """Return the best of what is kept and of some samples, given the unit of each; None for no places."""
    n_units, k = top.keys.shape
    table, which = by_unit(units, keys, n_units)
    found, at = torch.cat([top.keys, torch.from_numpy(table)], 1).topk(k, 1)
    column, row = at.numpy(), np.arange(n_units)[:, None]
    new = n_units * k + which[row, np.maximum(column - k, 0)]
    index = np.where(column < k, row * k + column, new)
    # what belongs to them is fetched of those only that remain
    kept = np.concatenate([top.labels.numpy().reshape(-1), labels])[index]
    at_places = top.places
    if places is not None:
        at_places = torch.from_numpy(np.concatenate([top.places.numpy().reshape(-1), places])[index])
    return TopSamples(found, torch.from_numpy(kept), at_places)


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
    table = np.full((n_units, int(counts.max(initial=0))), EMPTY, dtype=np.int64)
    which = np.zeros_like(table)
    at = row * table.shape[1] + column
    table.reshape(-1)[at], which.reshape(-1)[at] = keys[order], order
    return table, which
