"""Candidates are arranged by unit; that they lose none is tested with the other ways in test_top_samples."""

import numpy as np
import torch

from lightning_explain.exemplars.candidates import by_unit
from lightning_explain.exemplars.top_samples import EMPTY, TopSamples


def test_samples_are_arranged_in_rows_by_unit() -> None:
    units = np.array([2, 0, 2, 2])
    found = by_unit(units, TopSamples(torch.arange(4), torch.arange(4) + 10, torch.arange(4) + 20), 3)
    assert found.keys.tolist() == [[1, EMPTY, EMPTY], [EMPTY] * 3, [0, 2, 3]]
    assert found.labels[2].tolist() == [10, 12, 13] and found.places[0, 0] == 21
