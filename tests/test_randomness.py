"""Random streams go on as if nothing had been drawn inside."""

import random
from collections import UserDict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Subset, TensorDataset

from lightning_explain import Probe
from lightning_explain.isolation import isolated
from lightning_explain.randomness import rng_preserved, streams_preserved

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


class Data:
    """Holds a stream as data sets do: behind a subset, among transforms."""

    def __init__(self, stream: Any) -> None:
        self.subset = SimpleNamespace(dataset=SimpleNamespace(transforms=[str, {"noise": SimpleNamespace(rng=stream)}]))
        self.subset.back = self  # a circle

    def collate(self, items: list[Any]) -> list[Any]:
        return items


OWN: dict[str, tuple[Any, Any]] = {
    "python": (random.Random, lambda stream: stream.random()),
    "numpy": (np.random.default_rng, lambda stream: stream.random()),
    "numpy, by bits": (lambda seed: np.random.Generator(np.random.MT19937(seed)), lambda stream: stream.random()),
    "numpy, legacy": (np.random.RandomState, lambda stream: stream.rand()),
    "torch": (lambda seed: torch.Generator().manual_seed(seed), lambda stream: float(torch.rand(1, generator=stream))),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("where", ["data", "module", "list of a module"])
def test_a_stream_of_an_object_goes_on_where_it_was(name: str, where: str) -> None:
    make, draw = OWN[name]
    expected = [draw(stream) for stream in [make(3)] for _ in range(4)]
    stream, module = make(3), nn.Module()
    module.held = [stream] if where == "list of a module" else stream  # type: ignore[assignment]
    assert draw(stream) == expected[0]
    with streams_preserved(Data(stream)) if where == "data" else isolated(module):
        assert [draw(stream) for _ in range(2)] == expected[1:3]
    assert [draw(stream) for _ in range(3)] == expected[1:]


def test_streams_are_found_behind_methods_and_partials_and_nothing_is_read_for_them() -> None:
    class Reader(UserDict[str, Any]):
        def values(self) -> Any:
            raise AssertionError("read from a file")

    data = Data(random.Random(3))
    data.reader = Reader(a=1)  # type: ignore[attr-defined]
    streams = [data.subset.dataset.transforms[1]["noise"].rng]
    for owner in (partial(print, data), partial(print, key=data), data.collate):
        expected = random.Random(3).random()
        with streams_preserved(owner):
            assert streams[0].random() == expected
        assert streams[0].random() == expected
        streams[0].seed(3)


def test_a_probe_takes_no_number_of_a_data_set_s_own_stream() -> None:
    class Noisy(TensorDataset):
        def __init__(self) -> None:
            super().__init__(torch.rand(20, 3), torch.arange(20) % 2)
            self.rng = random.Random(0)

        def __getitem__(self, index: Any) -> Any:
            x, y = super().__getitem__(index)
            return x + self.rng.random(), y

    data = Noisy()
    Probe.from_dataset(Subset(data, range(10)), per_class=2)
    assert data.rng.random() == random.Random(0).random()
