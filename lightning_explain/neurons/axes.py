"""Tensor axes, followed through operations: the sample dimension and the unit dimension of each tensor.

A dimension is a row of factors, the outermost first: flattening [batch, channels, height, width] from 1 gives one
dimension of the factors channels, height and width, and a view back finds each of them again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor


@dataclass(eq=False)
class Axis:
    """An axis with an identity: two axes that an operation aligns become one.

    Attributes:
        origin: `"input"` for a dimension of an argument of the call, `"batch"` where an operation says that samples
            lie along it, `"chosen"` for entries chosen from a dimension, `"lost"` after an operation of which nothing
            is known, `"made"` for any other.
        same: The axis that this one turned out to be.
        packed: For the steps of packed sequences: the dimensions of samples and steps that were put together.
        choice: For chosen entries: which ones.
    """

    origin: str = "made"
    same: "Axis | None" = field(default=None, repr=False)
    packed: "tuple[Dim, Dim] | None" = field(default=None, repr=False)
    choice: "Choice | None" = field(default=None, repr=False)

    @property
    def root(self) -> "Axis":
        """The representative of all axes that were joined with it."""
        axis = self
        while axis.same is not None:
            axis = axis.same
        return axis

    def join(self, other: "Axis") -> None:
        """Join two axes; what is known of either holds for both."""
        mine, theirs = self.root, other.root
        if mine is theirs:
            return
        order = ("batch", "input", "chosen", "made", "lost")
        if "chosen" in (mine.origin, theirs.origin) and {mine.origin, theirs.origin} <= set(order[:3]):
            return  # another order of entries stays another one, whatever it is added to
        kept, gone = (mine, theirs) if order.index(mine.origin) <= order.index(theirs.origin) else (theirs, mine)
        gone.same = kept


@dataclass(frozen=True)
class Factor:
    """A factor of a dimension.

    Attributes:
        axis: Its axis.
        size: Its length.
        units: Whether it counts units, in this tensor.
    """

    axis: Axis
    size: int
    units: bool = False


Dim = tuple[Factor, ...]
Dims = tuple[Dim, ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """Entries of a dimension in another order, or some of them.

    Attributes:
        of: The dimension.
        order: Number of each entry in it: int64 [entries]; None where it is unknown.
    """

    of: Dim
    order: Tensor | None

    @property
    def is_whole(self) -> bool:
        """True if it is all of the entries in their own order, as after a sort that was undone; may wait for a GPU."""
        if self.order is None or len(self.order) != size_of(self.of):
            return False
        return self.order.is_meta or torch.equal(self.order, torch.arange(len(self.order), device=self.order.device))


def size_of(dim: Dim) -> int:
    """Return the length of a dimension."""
    return prod(factor.size for factor in dim)


def fresh(size: int, *, origin: str = "made", units: bool = False, axis: Axis | None = None) -> Dim:
    """Return a new dimension."""
    return (Factor(axis or Axis(origin), size, units),)


def chosen(dim: Dim, order: Tensor | None, size: int) -> Dim:
    """Return a dimension after its entries were brought into another order, or some of them taken.

    Args:
        dim: The dimension.
        order: Number of each entry in it: int64 [size]; None where it is unknown.
        size: Number of entries.

    Example:
        >>> samples, order = fresh(3, origin="input"), torch.tensor([2, 0, 1])
        >>> there = chosen(samples, order, 3)
        >>> back = chosen(there, order.argsort(), 3)
        >>> [dim[0].axis.choice.is_whole for dim in (there, back)]
        [False, True]
    """
    before = dim[0].axis.root.choice if len(dim) == 1 else None
    if before is not None:
        earlier = before.order
        order = None if earlier is None or order is None else earlier.to(order.device)[order]
    axis = Axis("chosen", choice=Choice(dim if before is None else before.of, order))
    return fresh(size, units=is_units(dim), axis=axis)


def sources(dim: Dim) -> list[Axis]:
    """Return the axes that the entries of a dimension come from, whatever their order."""
    found: list[Axis] = []
    for factor in dim:
        choice = factor.axis.root.choice
        found += [factor.axis.root] if choice is None else sources(choice.of)
    return found


def fresh_dims(shape: Sequence[int], *, origin: str = "made") -> Dims:
    """Return new dimensions of unknown meaning."""
    return tuple(fresh(size, origin=origin) for size in shape)


def is_units(dim: Dim) -> bool:
    """Return True if any factor of a dimension counts units."""
    return any(factor.units for factor in dim)


def has_units(dims: Dims) -> bool:
    """Return True if any dimension counts units."""
    return any(map(is_units, dims))


def as_units(dim: Dim, *, units: bool = True) -> Dim:
    """Return a dimension with all of its factors marked as units, or none of them."""
    return tuple(replace(factor, units=units) for factor in dim)


def only_units(dims: Dims, *wanted: int) -> Dims:
    """Return dimensions of which only the named ones are marked as units."""
    chosen = {place % len(dims) for place in wanted}
    return tuple(as_units(dim, units=place in chosen) for place, dim in enumerate(dims))


def resized(dim: Dim, size: int) -> Dim:
    """Return a dimension after a change of length; the same one if its length did not change."""
    return dim if size_of(dim) == size else fresh(size, units=is_units(dim))


def fitted(dims: Dims, shape: Sequence[int]) -> Dims:
    """Return dimensions with the lengths that an operation over neighbourhoods gave them."""
    return tuple(resized(dim, size) for dim, size in zip(dims, shape, strict=True))


def _significant(dims: Iterable[Dim]) -> list[Factor]:
    return [factor for dim in dims for factor in dim if factor.size != 1]


def reshaped(dims: Dims, shape: Sequence[int]) -> Dims | None:
    """Distribute the factors of a contiguous tensor over another shape; None if they do not fit.

    A factor is split where a dimension ends inside it: both halves count units where it did.

    Example:
        >>> batch, channels, width = fresh(2), fresh(6, units=True), fresh(5)
        >>> flat = reshaped((batch, channels, width), (2, 30))
        >>> [[factor.size for factor in dim] for dim in flat]
        [[2], [6, 5]]
        >>> reshaped(flat, (2, 6, 5)) == (batch, channels, width)
        True
    """
    waiting = _significant(dims)[::-1]
    found: list[Dim] = []
    for size in shape:
        taken: list[Factor] = []
        room = size
        while room > 1:
            if not waiting:
                return None
            factor = waiting.pop()
            if room % factor.size == 0:
                taken.append(factor)
                room //= factor.size
            elif factor.size % room == 0:
                taken.append(Factor(Axis(), room, factor.units))
                waiting.append(Factor(Axis(), factor.size // room, factor.units))
                room = 1
            else:
                return None
        found.append(tuple(taken))
    return None if waiting else _keeping_single_units(tuple(found), dims)


def _keeping_single_units(found: Dims, dims: Dims) -> Dims:
    """Keep the unit mark on a dimension of length 1, which has no factor to carry it, if its place is unambiguous."""
    if has_units(found) or not has_units(dims) or len(found) != len(dims):
        return found
    return tuple(
        old if size_of(old) == size_of(new) == 1 and is_units(old) else new
        for old, new in zip(dims, found, strict=True)
    )


def _alike(one: Dim, other: Dim) -> bool:
    return [factor.size for factor in one] == [factor.size for factor in other]


def _overlaid(dims: Sequence[Dim]) -> Dim:
    """Join dimensions of equal length that an operation aligns."""

    def known(dim: Dim) -> tuple[int, bool, bool]:
        origins = [factor.axis.root.origin for factor in dim]
        return len(dim), any(origin != "lost" for origin in origins), "chosen" not in origins

    best = max(dims, key=known)
    for other in dims:
        if other is not best and _alike(best, other):
            for mine, theirs in zip(best, other, strict=True):
                mine.axis.join(theirs.axis)
    return best


def _unit_places(dims: Dims) -> frozenset[int]:
    """Return the places of a tensor's unit dimensions, counted from the right as broadcasting does."""
    return frozenset(place - len(dims) for place, dim in enumerate(dims) if is_units(dim))


def _marked(dim: Dim, sources: Sequence[Dim], *, units: bool) -> Dim:
    """Mark factors as units where the aligned operands do."""
    if not units:
        return as_units(dim, units=False)
    alike = [source for source in sources if _alike(source, dim) and is_units(source)]
    marks = [any(source[i].units for source in alike) for i in range(len(dim))]
    return tuple(replace(f, units=mark) for f, mark in zip(dim, marks, strict=True)) if alike else as_units(dim)


def broadcast(operands: Sequence[Dims], shape: Sequence[int]) -> Dims:
    """Broadcast tensors against each other, aligned at the last dimension.

    Where they count units in different dimensions nothing indicates which are meant, and none is marked.
    """
    n = len(shape)
    places = {place for place in map(_unit_places, operands) if place}
    agreed = next(iter(places)) if len(places) == 1 else frozenset[int]()
    found: list[Dim] = []
    for place in range(-n, 0):
        size = shape[place]
        sources = [dims[place] for dims in operands if len(dims) >= -place and size_of(dims[place]) == size]
        dim = _overlaid(sources) if sources else fresh(size)
        found.append(_marked(dim, sources, units=place in agreed))
    return tuple(found)
