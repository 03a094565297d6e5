"""Candidates are arranged by unit; that they lose none is tested with the other ways in test_top_samples."""

import numpy as np
import torch

from lightning_explain.exemplars.batch_samples import BatchSamples
from lightning_explain.exemplars.candidates import Candidates, by_unit
from lightning_explain.exemplars.top_samples import EMPTY


def test_keys_are_arranged_in_rows_by_unit() -> None:
    table, which = by_unit(np.array([2, 0, 2, 2]), np.arange(4), 3)
    assert table.tolist() == [[1, EMPTY, EMPTY], [EMPTY] * 3, [0, 2, 3]]
    assert which[0, 0] == 1 and which[2].tolist() == [0, 2, 3]


def test_what_waits_does_not_follow_changes_in_place() -> None:
    kept = Candidates(600, 2)
    for start in range(0, 6000, 1000):
        values = torch.arange(start, start + 1000).float()[:, None].expand(-1, 600).clone()
        numbers = torch.arange(start, start + 1000)
        kept.add(values, BatchSamples.of(numbers, numbers, None, after=start - 1))
        values.zero_()
    assert kept.top().numbers.tolist() == [[5999, 5998]] * 600
