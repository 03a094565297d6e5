"""The position at which each unit is largest, in a layer's output."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_explain.neurons.views import Units

Array = npt.NDArray[np.int64]

Whole = TypeVar("Whole", Tensor, Array)

BITS = 20
"""A position is one number: this many bits for each dimension, whatever the size of an output that may change."""

MOST_DIMENSIONS = 3


class Peaks(NamedTuple):
    """The largest value of each unit over positions.

    Attributes:
        values: float32 [batch, units]; -inf where no position is valid.
        places: Position of each as one number, from `as_places`: int64 [batch, units].
    """

    values: Tensor
    places: Tensor


def positions_of(units: Units) -> tuple[int, ...]:
    """Return the sizes of the dimensions of positions; empty for flat layers.

    Example:
        >>> positions_of(Units(torch.zeros(4, 8, 5, 6), unit_dim=1)), positions_of(Units(torch.zeros(4, 8)))
        ((5, 6), ())
    """
    sizes = list(units.values.shape)
    del sizes[units.unit_dim], sizes[0]
    return tuple(sizes)


def as_places(flat: Whole, shape: Sequence[int]) -> Whole:
    """Return flat positions as numbers that do not depend on the sizes of the dimensions.

    Args:
        flat: int64 [...].
        shape: Sizes of the dimensions; of more than three none is told apart.

    Example:
        >>> positions_at(as_places(torch.tensor([7]), (2, 5)), 2)
        tensor([[1, 2]])
    """
    places = flat * 0
    if len(shape) > MOST_DIMENSIONS:
        return places
    for dimension, size in enumerate(reversed(shape)):
        places = places | ((flat % size) << (BITS * dimension))
        flat = flat // size
    return places


def positions_at(places: Tensor, n_dimensions: int) -> Tensor:
    """Return positions [..., dimensions] of numbers that `as_places` made."""
    parts = [(places >> (BITS * dimension)) & ((1 << BITS) - 1) for dimension in reversed(range(n_dimensions))]
    return torch.stack(parts, -1) if parts else places.new_zeros((*places.shape, 0))


def joint_shape(one: tuple[int, ...] | None, other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes that hold the positions of both; none where their dimensions differ, or are too many.

    Example:
        >>> joint_shape((5, 9), (7, 8)), joint_shape(None, (3,)), joint_shape((3,), (3, 3))
        ((7, 9), (3,), ())
    """
    one = other if one is None else one
    if len(one) != len(other) or len(other) > MOST_DIMENSIONS:
        return ()
    return tuple(max(pair) for pair in zip(one, other, strict=True))


def by_position(units: Units) -> Tensor:
    """Return values as [batch, units, positions], a view where the layout allows; padding is -inf."""
    values = units.values.movedim(units.unit_dim, 1).flatten(2) if units.values.ndim > 2 else units.values[:, :, None]
    if units.valid is None:
        return values
    return values.masked_fill(~units.valid[:, None], -torch.inf)


def peaks_of(units: Units) -> Peaks:
    """Find the largest value of each unit, and the first position that has it."""
    values = by_position(units).float()
    # of equal values torch.max returns the first
    found, flat = values.max(2)
    return Peaks(found, as_places(flat, positions_of(units)))


def peak_positions(units: Units, rows: Array, which: Array) -> Array:
    """Find the first position of the largest value for some samples and units.

    Args:
        units: Of the layer, on the CPU.
        rows: Samples [n].
        which: Units [n].

    Returns:
        Flat positions: int64 [n]; 0 for flat layers.
    """
    if units.values.ndim == 2:
        return np.zeros_like(rows)
    # cut out first: masking and converting all of an output would cost more than finding its largest values
    if units.values.dtype != torch.float32:
        maps = units.values.movedim(units.unit_dim, 1).flatten(2)
        values = maps[torch.from_numpy(rows), torch.from_numpy(which)].float().numpy()
    elif units.unit_dim == 1:
        # numpy copies whole maps at once
        values = units.values.numpy().reshape(*units.values.shape[:2], -1)[rows, which]
    else:
        values = units.values.numpy().reshape(len(units.values), -1, units.values.shape[-1])[rows, :, which]
    if units.valid is not None:
        values = np.where(units.valid.numpy()[rows], values, -np.inf)
    # of equal values the first
    return values.argmax(1)
