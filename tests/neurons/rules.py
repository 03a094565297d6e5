"""Axis rules tried on single operations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_explain.neurons.axes import Dims, fresh, is_units
from lightning_explain.neurons.operations.axis_rules import dims_after
from lightning_explain.neurons.operations.operation import AxisOperation


def operation(name: str, /, *args: Any, known: list[tuple[Tensor, Dims]], out: Tensor, **kwargs: Any) -> AxisOperation:
    """A call of a function whose arguments' axes are known."""

    def lookup(tensor: Any) -> Dims | None:
        return next((dims for known_tensor, dims in known if known_tensor is tensor), None)

    return AxisOperation(name, args, kwargs, out, 0, lookup)


def marked(shape: tuple[int, ...], *units: int) -> Dims:
    """Dimensions of a tensor, some of which count units."""
    return tuple(fresh(size, units=place in units) for place, size in enumerate(shape))


def unit_places(dims: Dims) -> list[int]:
    return [place for place, dim in enumerate(dims) if is_units(dim)]


def moved_to(function: Callable[[Tensor], Tensor], shape: tuple[int, ...], place: int) -> list[int]:
    """Where the entries along one dimension went: what holds each entry's index there varies along it."""
    view = [1] * len(shape)
    view[place] = -1
    index = torch.arange(1.0, shape[place] + 1).reshape(view).expand(shape).contiguous()
    found = function(index)
    return [d for d in range(found.ndim) if not torch.equal(found, found.narrow(d, 0, 1).expand_as(found))]


def units_after(name: str, x: Tensor, given: Dims, /, *args: Any, out: Tensor, **kwargs: Any) -> list[int]:
    """Where a result counts units, by the rules."""
    return unit_places(dims_after(operation(name, x, *args, known=[(x, given)], out=out, **kwargs)))
