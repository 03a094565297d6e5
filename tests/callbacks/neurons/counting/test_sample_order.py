"""Samples in another order than in the batch are told from the batch itself and from what was made of it."""

import pytest
import torch
from torch import Tensor

from lightning_explain.callbacks.neurons.counting.sample_order import is_reordered

X = torch.randn(6, 3, 2)
IDS = torch.tensor([4, 1, 3, 0, 2, 5])
GIVEN: dict[str, tuple[Tensor, bool]] = {
    "the same": (X, False),
    "a copy": (X.clone(), False),
    "flipped": (X.flip(0), True),
    "by an index": (X[IDS], True),
    "ids": (IDS.flip(0), True),
    "a part": (X[:3], False),
    "augmented": (X.flip(0) * 2, False),
    "flipped in time": (X.flip(1), False),
    "another type": (X.flip(0).double(), False),
    "a number": (torch.tensor(1.0), False),
}


@pytest.mark.parametrize("name", GIVEN)
def test_rows_in_another_order_are_found(name: str) -> None:
    given, expected = GIVEN[name]
    assert is_reordered(given, [X, IDS]) is expected
