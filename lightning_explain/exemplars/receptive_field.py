"""The part of an input that each position of a layer depends on, found by trying.

No arithmetic of kernels: a slice of the input is replaced, and the positions that change depend on it. Replacements
are a million times larger than usual values, so that little weights show, and come in both signs, so that no rectifier
hides them. Rows are compared bit by bit with the same rows of an unchanged batch, which every kernel computes alike.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Outputs = Callable[[tuple[Tensor, ...]], Mapping[str, Tensor]]
"""Inputs, each [rows, ...] -> by layer values [rows, units, positions]."""

Slices = Sequence[tuple[int, int]]
"""Start and stop of each."""

LARGE, LARGE_IN_HALF = 1e6, 1e3
"""Size of replacements; 16 bits hold no million."""

MOST_SLICES = 256
"""Slices of an axis that are tried; longer axes in pieces of equal length first."""

MANY_SLICES = 128
"""From so many slices on, one sample is tried instead of two."""

N_TOKENS = 4
"""Other tokens that are put into the place of one."""

ROWS = 64

MOST_TOGETHER = 1 << 24
"""Values of the layers that are tried in one pass: they are held twice."""


@contextmanager
def _plain_kernels() -> Generator[None, None, None]:
    """Leave out convolutions by transforms, which mix neighbours and take them apart again, up to rounding."""
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.mkldnn)
    before = [backend.enabled for backend in backends]
    try:
        for backend in backends:
            backend.enabled = False
        with torch.backends.nnpack.flags(enabled=False):
            yield
    finally:
        for backend, enabled in zip(backends, before, strict=True):
            backend.enabled = enabled


def _replacements(base: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Return samples [...] that differ from a sample everywhere: very large ones of both signs, or other tokens."""
    if base.is_floating_point():
        large = LARGE_IN_HALF if base.dtype == torch.float16 else LARGE
        size = large * (0.5 + torch.rand(base.shape, generator=generator))
        noise = (size * (torch.randint(0, 2, base.shape, generator=generator) * 2 - 1)).to(base.device, base.dtype)
        return [base + noise, base - noise]
    ids = base.unique()
    # another id of the same sample; a sample of one id alone shows nothing
    step = torch.randint(1, max(2, len(ids)), (N_TOKENS,), generator=generator).tolist()
    place = torch.searchsorted(ids, base)
    return [ids[(place + by) % len(ids)] for by in step]


def pieces(size: int) -> list[tuple[int, int]]:
    """Return the slices of an axis that are tried: start and stop of each.

    Example:
        >>> pieces(3), pieces(512)[:2]
        ([(0, 1), (1, 2), (2, 3)], [(0, 2), (2, 4)])
    """
    step = -(-size // MOST_SLICES)
    return [(start, min(size, start + step)) for start in range(0, size, step)]


def _trials(
    base: Tensor, axes: Sequence[int], slices: Sequence[Slices], replaced: Tensor
) -> Generator[tuple[int, int, Tensor], None, None]:
    """Yield axis, slice and the sample with that slice replaced."""
    for which, axis in enumerate(axes):
        for number, (start, stop) in enumerate(slices[which]):
            sample = base.clone()
            sample.narrow(axis, start, stop - start).copy_(replaced.narrow(axis, start, stop - start))
            yield which, number, sample


def dependence(
    outputs: Outputs, inputs: Sequence[Tensor], *, index: int, axes: Sequence[int], slices: Sequence[Slices]
) -> dict[str, list[Tensor]]:
    """Find the slices of an input that each position of some layers depends on.

    Args:
        outputs: The layers' outputs; the model in eval mode, without a graph.
        inputs: Some samples, each [samples, ...].
        index: Which input is looked at; the others stay as they are.
        axes: Its axes along which slices are tried, as dimensions of a sample: 1 and 2 for [channels, height, width].
        slices: For each axis, start and stop of the slices that are tried.

    Returns:
        By layer a boolean [positions, slices] for each axis.

    Cost: for each of two samples, twice the number of slices in forward passes of one row; one sample from 128 slices
    on.
    """
    generator = torch.Generator().manual_seed(0)
    many = sum(map(len, slices)) >= MANY_SLICES and inputs[index].is_floating_point()
    found: dict[str, list[Tensor]] = {}
    with _plain_kernels():
        for sample in range(1 if many else min(2, len(inputs[0]))):
            rows = tuple(part[sample : sample + 1].expand(ROWS, *part.shape[1:]).clone() for part in inputs)
            plain = {key: values.clone() for key, values in outputs(tuple(part.clone() for part in rows)).items()}
            for replaced in _replacements(inputs[index][sample], generator):
                trials = _trials(inputs[index][sample], axes, slices, replaced)
                while part := list(islice(trials, ROWS)):
                    changed = rows[index].clone()
                    changed[: len(part)] = torch.stack([each for _, _, each in part])
                    given = tuple(changed if i == index else row.clone() for i, row in enumerate(rows))
                    _note(found, part, outputs(given), plain, [len(each) for each in slices])
    return found


def _note(
    found: dict[str, list[Tensor]],
    trials: Sequence[tuple[int, int, Tensor]],
    outputs: Mapping[str, Tensor],
    plain: Mapping[str, Tensor],
    sizes: Sequence[int],
) -> None:
    """Record the positions that changed in each trial."""
    for key, values in outputs.items():
        if key not in plain or values.shape != plain[key].shape:
            continue
        # NaN differs from everything: where it was there before, nothing is known, and all is taken to matter
        changed = (values != plain[key]).any(1).cpu()
        marks = found.setdefault(key, [torch.zeros(0, size, dtype=torch.bool) for size in sizes])
        # a longer sample may have more positions than those before
        missing = values.shape[2] - len(marks[0])
        if missing > 0:
            marks[:] = [functional.pad(mark, (0, 0, 0, missing)) for mark in marks]
        for row, (axis, number, _) in enumerate(trials):
            marks[axis][: values.shape[2], number] |= changed[row]


class ReceptiveFields:
    """The exact receptive fields of one layer's positions, tried once and remembered.

    An axis longer than 256 is tried in pieces, and then the pieces in which a field begins or ends, step by step.

    Args:
        axes: Axes of the input, as dimensions of a sample.
        sizes: Their sizes.
    """

    def __init__(self, axes: Sequence[int], sizes: Sequence[int]) -> None:
        self._axes, self._sizes = tuple(axes), tuple(sizes)
        self._slices = [pieces(size) for size in sizes]
        self._marks: list[Tensor] = []
        # by axis and piece, of the steps in it: [positions, steps]
        self._steps: dict[tuple[int, int], Tensor] = {}

    @property
    def is_tried(self) -> bool:
        """True if something is known already."""
        return bool(self._marks)

    def look(self, key: str, outputs: Outputs, inputs: Sequence[Tensor], index: int, places: Sequence[int]) -> None:
        """Run the trials that some positions of a layer still need.

        Args:
            key: The layer's call, a key of the outputs.
            outputs: The layer's outputs; the model in eval mode, without a graph.
            inputs: Some samples, each [samples, ...].
            index: Which input is looked at.
            places: Flat positions.
        """
        tried = partial(dependence, outputs, inputs, index=index, axes=self._axes)
        if not self._marks:
            self._marks = tried(slices=self._slices).get(key, [])
        for axis, mark in enumerate(self._marks):
            ends = {end for place in places if place < len(mark) for end in _ends(mark[place])}
            wide = [n for n in sorted(ends) if self._width(axis, n) > 1 and (axis, n) not in self._steps]
            if wide:
                single = [(step, step + 1) for n in wide for step in range(*self._slices[axis][n])]
                slices = [single if which == axis else [] for which in range(len(self._axes))]
                found = tried(slices=slices)[key][axis]
                parts = found.split([self._width(axis, n) for n in wide], dim=1)
                self._steps |= {(axis, n): part for n, part in zip(wide, parts, strict=True)}

    @staticmethod
    def try_together(
        fields: "Mapping[str, ReceptiveFields]", outputs: Outputs, inputs: Sequence[Tensor], *, index: int
    ) -> None:
        """Run the first trials of several layers in the same passes.

        Args:
            fields: By the layer's call, of the same axes; at least one.
            outputs: The layers' outputs; the model in eval mode, without a graph.
            inputs: Some samples, each [samples, ...].
            index: Which input is looked at.

        Cost: as `dependence`, whatever the number of layers.
        """
        first = next(iter(fields.values()))
        found = dependence(outputs, inputs, index=index, axes=first._axes, slices=first._slices)
        for key, field in fields.items():
            field._marks = found.get(key, [])

    def _width(self, axis: int, piece: int) -> int:
        start, stop = self._slices[axis][piece]
        return stop - start

    def box(self, place: int) -> tuple[tuple[int, int], ...]:
        """Return start and stop along each axis of what a position depends on; the whole axis where nothing shows."""
        if not self._marks or place >= len(self._marks[0]):
            return tuple((0, size) for size in self._sizes)
        return tuple(self._interval(axis, mark[place], place) for axis, mark in enumerate(self._marks))

    def _interval(self, axis: int, mark: Tensor, place: int) -> tuple[int, int]:
        ends = _ends(mark)
        if not ends:
            return 0, self._sizes[axis]
        (start, _), (_, stop) = (self._slices[axis][end] for end in ends)
        first, last = (_ends(self._steps[axis, end][place]) if (axis, end) in self._steps else () for end in ends)
        return (
            start + first[0] if first else start,
            self._slices[axis][ends[1]][0] + last[1] + 1 if last else stop,
        )


def fitting_together(sizes: Mapping[str, int], first: str) -> list[str]:
    """Return the layers that are tried together with one of them: as many as memory for `MOST_TOGETHER` values takes.

    Args:
        sizes: Values of a sample by layer.
        first: The layer that is wanted.

    Example:
        >>> fitting_together({"large": 1 << 20, "first": 100, "small": 10}, "first")
        ['first', 'small']
    """
    kept, free = [first], MOST_TOGETHER // ROWS - sizes.get(first, 0)
    for key, size in sizes.items():
        if key != first and size <= free:
            kept.append(key)
            free -= size
    return kept


def _ends(mark: Tensor) -> tuple[int, int] | tuple[()]:
    """Return the first and the last place that is marked; none where nothing is.

    Example:
        >>> _ends(torch.tensor([False, True, True, False])), _ends(torch.tensor([False]))
        ((1, 2), ())
    """
    hits = mark.nonzero().flatten().tolist()
    return (hits[0], hits[-1]) if hits else ()


def flat_place(position: Sequence[int], shape: Sequence[int]) -> int:
    """Return the flat index of a position in an output of this shape; 0 where the position has no dimensions.

    Example:
        >>> flat_place((1, 2), (4, 5)), flat_place((), ())
        (7, 0)
    """
    place = 0
    for part, size in zip(position, shape, strict=True):
        place = place * size + part
    return place if math.prod(shape) > place else 0
