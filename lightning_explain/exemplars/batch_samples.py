"""The samples of a batch, and batches that wait to be looked through together."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.int64]

MOST_ROWS, MOST_VALUES = 2048, 1 << 20
"""Batches of so many samples and values in all wait to be looked through together."""


class BatchSamples(NamedTuple):
    """The samples of a batch.

    Attributes:
        numbers: Of those that count: [n].
        labels: Class of each: [n].
        rows: Their rows in the batch; None where all count.
        last: The largest number; -1 without samples.
        are_later: True if all numbers are larger than those of the batches before.
    """

    numbers: Array
    labels: Array
    rows: Tensor | None
    last: int
    are_later: bool

    @classmethod
    def of(cls, numbers: Tensor, labels: Tensor, of_class: Tensor | None, *, after: int) -> "BatchSamples":
        """Leave out samples without a number, and those without a class.

        Args:
            numbers: int64 [batch], on the CPU; -1 to leave one out.
            labels: int64 [batch].
            of_class: Boolean [batch]; None where all count.
            after: Largest number of the batches before.

        Example:
            >>> BatchSamples.of(torch.tensor([7, -1, 5]), torch.tensor([0, 1, 2]), None, after=4)[:3]
            (array([7, 5]), array([0, 2]), tensor([0, 2]))
        """
        given, classes = numbers.numpy(), labels.numpy()
        counts = given >= 0 if of_class is None else (given >= 0) & of_class.numpy()
        rows = None
        if not counts.all():
            rows = torch.from_numpy(np.flatnonzero(counts))
            given, classes = given[counts], classes[counts]
        if not len(given):
            return cls(given, classes, rows, -1, are_later=True)
        return cls(given, classes, rows, int(given.max()), are_later=int(given.min()) > after)


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
        self._rows: Tensor | None = None
        self._n_rows = 0

    def add(self, values: Tensor, samples: BatchSamples) -> bool:
        """Copy a batch; return False if there is no room for it."""
        n_rows = self._n_rows + len(values)
        if self._rows is None or (not self._n_rows and n_rows > len(self._rows)):
            most = max(len(values), min(MOST_ROWS, MOST_VALUES // self._n_units))
            with torch.inference_mode(mode=False):
                # whatever the run's default is: values are compared in 32 bits
                self._rows = torch.empty(most, self._n_units, dtype=torch.float32)
        if n_rows > len(self._rows):
            return False
        self._rows[self._n_rows : n_rows] = values
        self._n_rows = n_rows
        self.samples.append(samples)
        return True

    def taken(self) -> Tensor:
        """Return what waits [samples, units], until the next batch is added; none waits from here on."""
        n_rows, self._n_rows, self.samples = self._n_rows, 0, []
        return self._rows[:n_rows] if self._rows is not None else torch.zeros(0, self._n_units, dtype=torch.float32)
