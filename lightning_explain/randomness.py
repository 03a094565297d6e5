"""Preservation of the random states of a run."""

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from types import MethodType, ModuleType
from typing import Any, cast

import numpy as np
import torch


@contextmanager
def rng_preserved() -> Generator[None, None, None]:
    """Restore the random states of python, numpy, torch and every initialised CUDA device at the end.

    Example:
        >>> with rng_preserved():
        ...     a = torch.rand(1)
        >>> bool(a == torch.rand(1))
        True
    """
    python_state, torch_state = random.getstate(), torch.get_rng_state()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the legacy stream is the one that user code shares
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)


def _of_torch(stream: torch.Generator) -> Callable[[], Any]:
    state = stream.get_state()
    return lambda: stream.set_state(state)


def _of_python(stream: random.Random) -> Callable[[], Any]:
    state = stream.getstate()
    return lambda: stream.setstate(state)


def _of_numpy(stream: np.random.Generator) -> Callable[[], Any]:
    bits: Any = stream.bit_generator
    state = bits.state
    return lambda: setattr(bits, "state", state)


def _of_legacy_numpy(stream: np.random.RandomState) -> Callable[[], Any]:
    state = stream.get_state()
    return lambda: stream.set_state(state)


# by exact type, since many values are asked; `random.SystemRandom` has no state
_STREAMS: dict[type, Callable[[Any], Callable[[], Any]]] = {
    torch.Generator: _of_torch,
    random.Random: _of_python,
    np.random.Generator: _of_numpy,
    np.random.RandomState: _of_legacy_numpy,
}


def saved_streams(values: Iterable[Any]) -> list[Callable[[], Any]]:
    """Return for each random stream among some values what puts it back to where it is now.

    Example:
        >>> stream = random.Random(3)
        >>> (put_back,) = saved_streams([1, stream, "a"])
        >>> drawn = stream.random()
        >>> put_back()
        >>> stream.random() == drawn
        True
    """
    return [_STREAMS[type(value)](value) for value in values if type(value) in _STREAMS]


DEEPEST, MOST_OBJECTS, MOST_PARTS = 8, 2000, 100


LEAVES = (torch.Tensor, np.ndarray, str, bytes, int, float, type, ModuleType)


def _parts_of(value: Any) -> Iterator[Any]:
    # of other mappings and sequences each part may be read from a file
    if isinstance(value, dict):
        return islice(iter(cast(dict[Any, Any], value).values()), MOST_PARTS)
    if isinstance(value, list | tuple):
        return islice(iter(cast(Sequence[Any], value)), MOST_PARTS)
    if isinstance(value, partial):
        return iter((value.func, *value.args, *value.keywords.values()))
    if isinstance(value, MethodType):
        return iter((value.__self__,))
    return islice(iter(getattr(value, "__dict__", {}).values()), MOST_PARTS)


def _held_by(root: Any) -> list[Any]:
    """Return the objects that an object holds, those in them included, as far as is reasonable to look."""
    found: dict[int, Any] = {}
    layer = [root]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in layer:
            if id(value) in found or isinstance(value, LEAVES):
                continue
            if len(found) == MOST_OBJECTS:
                return list(found.values())
            found[id(value)] = value
            below += _parts_of(value)
        layer = below
    return list(found.values())


@contextmanager
def streams_preserved(*owners: Any) -> Generator[None, None, None]:
    """Restore at the end the random streams that objects hold as attributes, such as a data set's own generator."""
    put_back = saved_streams(value for owner in owners for value in _held_by(owner))
    try:
        yield
    finally:
        for each in put_back:
            each()
