"""Random streams go on as if nothing had been drawn inside."""

import random
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from lightning_explain.randomness import rng_preserved

STREAMS: dict[str, Callable[[], float]] = {
    "python": random.random,
    "numpy": lambda: float(np.random.rand()),
    "torch": lambda: float(torch.rand(1)),
}


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_goes_on_where_it_was(name: str, fails: bool) -> None:
    draw = STREAMS[name]
    seed(1)
    expected = [draw() for _ in range(4)]
    seed(1)
    assert draw() == expected[0]
    with pytest.raises(KeyError) if fails else nullcontext(), rng_preserved():
        seed(2)
        draw()
        if fails:
            raise KeyError
    assert [draw() for _ in range(3)] == expected[1:]


def test_what_is_drawn_inside_differs_from_draw_to_draw() -> None:
    with rng_preserved():
        assert len({float(torch.rand(1)) for _ in range(3)}) == 3
