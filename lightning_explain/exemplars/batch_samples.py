"""The samples of a batch, and batches that wait to be looked through together."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.int64]

MOST_ROWS, MOST_VALUES = 1024, 1 << 19
"""Batches of so many samples and values in all wait to be looked through together."""


class BatchSamples(NamedTuple):
    """The samples of a batch.

    Attributes:
        numbers: Of those that count: [n].
        labels: Class of each: [n].
        rows: Their rows in the batch; None where all count.
        last: The largest number; -1 without samples.
        are_later: True if all numbers are larger than those of the batches before.
        are_in_order: True if each number is larger than the one before it.
    """

    numbers: Array
    labels: Array
    rows: Tensor | None
    last: int
    are_later: bool
    are_in_order: bool

    @classmethod
    def of(cls, numbers: Tensor, labels: Tensor, of_class: Tensor | None, *, after: int) -> "BatchSamples":
        """Leave out samples without a number, and those without a class.

        Args:
            numbers: int64 [batch], on the CPU; -1 to leave one out.
            labels: Integers [batch].
            of_class: Boolean [batch]; None where all count.
            after: Largest number of the batches before.

        Example:
            >>> BatchSamples.of(torch.tensor([7, -1, 5]), torch.tensor([0, 1, 2]), None, after=4)[:3]
            (array([7, 5]), array([0, 2]), tensor([0, 2]))
        """
        given, classes = numbers.numpy(), labels.long().numpy()
        rows = None
        in_order = _are_in_order(given)
        if of_class is not None or not (in_order and (not len(given) or given[0] >= 0)):
            counts = given >= 0 if of_class is None else (given >= 0) & of_class.numpy()
            if not counts.all():
                rows = torch.from_numpy(np.flatnonzero(counts))
                given, classes = given[counts], classes[counts]
                in_order = _are_in_order(given)
        if not len(given):
            return cls(given, classes, rows, -1, are_later=True, are_in_order=True)
        first, last = (given[0], given[-1]) if in_order else (given.min(), given.max())
        return cls(given, classes, rows, int(last), are_later=int(first) > after, are_in_order=in_order)


def _are_in_order(numbers: Array) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


class WaitingBatches:
    """Batches without positions, copied one below the other: many are looked through as fast as one.

    Args:
        n_units: Units of the layer.

    Attributes:
        samples: Of the batches that wait.
    """

    def __init__(self, n_units: int) -> None:
        self.samples: list[BatchSamples] = []
        self._n_units = n_units
        self._most = min(MOST_ROWS, MOST_VALUES // max(1, n_units))
        self._rows: Tensor | None = None
        self._n_rows = 0

    def add(self, values: Tensor, samples: BatchSamples) -> bool:
        """Copy a batch; return False if there is no room for it."""
        n_rows = self._n_rows + len(values)
        if n_rows > self._most:
            return False
        if self._rows is None:
            with torch.inference_mode(mode=False):
                # whatever the run's default is: values are compared in 32 bits
                self._rows = torch.empty(self._most, self._n_units, dtype=torch.float32)
        self._rows[self._n_rows : n_rows] = values
        self._n_rows = n_rows
        self.samples.append(samples)
        return True

    def taken(self) -> tuple[Tensor, BatchSamples]:
        """Return what waits [samples, units], until the next batch is added, and its samples; none waits from here."""
        assert self._rows is not None
        waiting, self.samples = self.samples, []
        n_rows, self._n_rows = self._n_rows, 0
        are_later = all(each.are_later for each in waiting)
        joint = BatchSamples(
            np.concatenate([each.numbers for each in waiting]),
            np.concatenate([each.labels for each in waiting]),
            None,
            max(each.last for each in waiting),
            are_later=are_later,
            are_in_order=are_later and all(each.are_in_order for each in waiting),
        )
        return self._rows[:n_rows], joint
