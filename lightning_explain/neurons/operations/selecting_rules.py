"""The effect on axes of operations that take entries of a dimension, or bring them into another order."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.neurons.axes import Dim, Dims, chosen, fitted, fresh_dims, only_units, size_of
from lightning_explain.neurons.operations.operation import AxisOperation


def indexed(op: AxisOperation) -> Dims | None:
    """Index with numbers, slices and tensors."""
    source, index = op.source, op.args[1]
    places = list(index) if isinstance(index, tuple) else [index]
    if source is None:
        return _looked_up(op, places)
    if sum(isinstance(place, Tensor | list) for place in places) > 1:
        return None
    used = sum(place is not None and place is not Ellipsis and not isinstance(place, bool) for place in places)
    at = next((i for i, place in enumerate(places) if place is Ellipsis), len(places))
    full = [slice(None)] * (len(source) - used)
    places = [*places[:at], *full, *places[at + 1 :]]
    waiting, found = list(source), list[Dim]()
    for place in places:
        found += _taken(place, waiting, op, len(found))
    return tuple(found)


def _taken(place: Any, waiting: list[Dim], op: AxisOperation, n_found: int) -> list[Dim]:
    """Return the result of an index along the next dimension."""
    if place is None:
        return [()]
    dim = waiting.pop(0)
    if isinstance(place, int):
        return []
    if isinstance(place, Tensor) and place.ndim != 1:
        ids = op.known(place)
        return list(ids or fresh_dims(op.shape[n_found : n_found + place.ndim]))
    if isinstance(place, slice) and place.indices(size_of(dim)) == (0, size_of(dim), 1):
        return [dim]
    return [_ordered(dim, lambda numbers: numbers[place], op.out.device, op.shape[n_found])]


def _looked_up(op: AxisOperation, places: Sequence[Any]) -> Dims | None:
    """Look up rows of a weight by ids that depend on the inputs."""
    ids = op.known(places[0])
    if ids is None or len(places) > 1:
        return None
    return only_units((*ids, *fresh_dims(op.shape[len(ids) :])), -1)


def _ordered(dim: Dim, function: Callable[[Tensor], Tensor], device: torch.device, size: int) -> Dim:
    """Return a dimension after a function of its entries, as an index or a roll is."""
    return chosen(dim, function(torch.arange(size_of(dim), device=device)), size)


def _rearranged(op: AxisOperation, dims: Sequence[int], function: Callable[[Tensor], Tensor] | None) -> Dims | None:
    """Return the dimensions after the entries along some of them were brought into another order."""
    source = op.source
    if source is None or len(source) != len(op.shape):
        return None
    places = {dim % len(source) for dim in dims}
    return tuple(
        dim
        if i not in places
        else chosen(dim, None, size)
        if function is None
        else _ordered(dim, function, op.out.device, size)
        for i, (dim, size) in enumerate(zip(source, op.shape, strict=True))
    )


def _numbers(given: Any) -> list[int]:
    return [int(number) for number in given] if isinstance(given, list | tuple) else [int(given)]


def index_select(op: AxisOperation) -> Dims | None:
    """Take the entries that a tensor names."""
    index = op.given(2, "index")
    return _rearranged(op, [op.given(1, "dim")], lambda numbers: numbers[index])


def flip(op: AxisOperation) -> Dims | None:
    """Reverse dimensions."""
    dims = op.args[1:] if len(op.args) > 2 else op.given(1, "dims")
    return _rearranged(op, _numbers(dims), lambda numbers: numbers.flip(0))


def roll(op: AxisOperation) -> Dims | None:
    """Roll dimensions, by as much each as it says."""
    shifts, dims = op.given(1, "shifts"), op.given(2, "dims", ())
    found: Dims | None = op.source
    for shift, dim in zip(_numbers(shifts), _numbers(dims), strict=True):
        rolled = _rearranged(op, [dim], lambda numbers, by=shift: numbers.roll(by))
        if found is None or rolled is None:
            return None
        place = dim % len(found)
        found = (*found[:place], rolled[place], *found[place + 1 :])
    return found


def sorted_along(op: AxisOperation) -> Dims | None:
    """Sort along a dimension: each line has an order of its own."""
    place = {"topk": 2, "gather": 1}.get(op.name, 1)
    return _rearranged(op, [op.given(place, "dim", -1)], None)


def _first_of_piece(op: AxisOperation, size: int) -> int | None:
    """Return the first entry of a piece; None where the sizes of the pieces are not given."""
    given = op.given(1, "chunks" if op.name == "chunk" else "split_size_or_sections", op.kwargs.get("split_size"))
    if op.name == "chunk":
        return op.index * -(-size // given)
    if op.name in ("split", "split_with_sizes"):
        return op.index * given if isinstance(given, int) else sum(given[: op.index])
    return None


def pieces(op: AxisOperation) -> Dims | None:
    """Split or chunk: the same dimensions, one of them shorter."""
    source = op.source
    if source is None:
        return None
    place = op.given(2, "dim", 0) % len(source) if op.name != "repeat_interleave" else -1
    start = _first_of_piece(op, size_of(source[place]))
    if start is None or op.shape[place] == size_of(source[place]):
        return fitted(source, op.shape)
    part = _ordered(source[place], lambda n: n[start : start + op.shape[place]], op.out.device, op.shape[place])
    return (*source[:place], part, *source[place:][1:])


def in_one_order(dims: Sequence[Dim]) -> Dim | None:
    """Return the entries of one dimension that are put side by side; None if they are of several, or whole already."""
    choices = [dim[0].axis.root.choice if len(dim) == 1 else None for dim in dims]
    first = choices[0]
    if first is None:
        return None
    orders: list[Tensor] = []
    for choice in choices:
        if choice is None or choice.order is None or choice.of != first.of:
            return None
        orders.append(choice.order)
    order = torch.cat(orders)
    return chosen(first.of, order, len(order))
