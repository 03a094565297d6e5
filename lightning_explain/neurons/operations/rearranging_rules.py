"""The effect on axes of operations without weights: they move, merge, shorten or align dimensions."""

from collections.abc import Sequence

from torch import Tensor

from lightning_explain.neurons.axes import (
    Axis,
    Dims,
    Factor,
    as_units,
    broadcast,
    fitted,
    fresh,
    fresh_dims,
    has_units,
    is_units,
    only_units,
    reshaped,
    size_of,
)
from lightning_explain.neurons.operations.operation import AxisOperation
from lightning_explain.neurons.operations.selecting_rules import in_one_order


def elementwise(op: AxisOperation) -> Dims | None:
    """Keep the axes of arguments that broadcast to the result, or of one that has its shape."""
    fitting = [dims for dims in op.operands if len(dims) <= len(op.shape) and fits(dims, op.shape)]
    whole = [dims for dims in fitting if tuple(map(size_of, dims)) == op.shape]
    if whole or (len(fitting) > 1 and _covers(fitting, op.shape)):
        return broadcast(fitting, op.shape)
    return _enlarged(fitting[0], op) if len(fitting) == 1 and op.name in ARITHMETIC else None


def fits(dims: Dims, shape: Sequence[int]) -> bool:
    """Return True if a tensor can be broadcast to a shape."""
    sizes = [size_of(dim) for dim in dims]
    return all(mine in (1, theirs) for mine, theirs in zip(sizes[::-1], shape[::-1], strict=False))


def _covers(operands: Sequence[Dims], shape: Sequence[int]) -> bool:
    sizes = [max((size_of(d[-i]) for d in operands if len(d) >= i), default=1) for i in range(len(shape), 0, -1)]
    return sizes == list(shape)


def _enlarged(dims: Dims, op: AxisOperation) -> Dims:
    """Broadcast a tensor against larger weights: dimensions added at the end are units, elsewhere positions."""
    padded = (*fresh_dims((1,) * (len(op.shape) - len(dims))), *dims)
    found = [dim if size_of(dim) == size else fresh(size) for dim, size in zip(padded, op.shape, strict=True)]
    if size_of(padded[-1]) != op.shape[-1]:
        return only_units(tuple(found), -1)
    return tuple(found)


def neighbourhood(op: AxisOperation) -> Dims | None:
    """Pooling, padding, resizing: dimensions keep their places, some change their length."""
    source = op.source
    return fitted(source, op.shape) if source is not None and len(source) == len(op.shape) else None


def refactored(op: AxisOperation) -> Dims | None:
    """View, reshape, flatten: the same factors in other dimensions."""
    source = op.source
    return None if source is None else reshaped(source, op.shape)


def _permuted(source: Dims, order: Sequence[int]) -> Dims:
    return tuple(source[place] for place in order)


def _numbers(op: AxisOperation, start: int, name: str) -> list[int]:
    """Return dimensions given as separate arguments or as a sequence."""
    rest = op.args[start:]
    given = rest[0] if rest and isinstance(rest[0], list | tuple) else rest or op.kwargs.get(name, ())
    return [int(number) for number in given]


def permuted_by(op: AxisOperation) -> Dims | None:
    """Permute dimensions."""
    source = op.source
    return None if source is None else _permuted(source, _numbers(op, 1, "dims"))


def swap(op: AxisOperation) -> Dims | None:
    """Swap two dimensions."""
    source = op.source
    if source is None:
        return None
    names = ("dim0", "dim1") if op.name == "transpose" else ("axis0", "axis1") if op.name == "swapaxes" else ("", "")
    last = op.name in ("t", "T", "mT", "adjoint", "H", "mH")
    one, other = (-2, -1) if last else (op.given(1, names[0], 0), op.given(2, names[1], 1))
    order = list(range(len(source)))
    if len(order) > 1:
        order[one], order[other] = order[other], order[one]
    return _permuted(source, order if op.name != "T" else order[::-1] if len(order) > 2 else order)


def movedim(op: AxisOperation) -> Dims | None:
    """Move dimensions to other places."""
    source, moved, to = op.source, op.given(1, "source"), op.given(2, "destination")
    if source is None:
        return None
    n = len(source)
    origins = [place % n for place in ([moved] if isinstance(moved, int) else moved)]
    targets = [place % n for place in ([to] if isinstance(to, int) else to)]
    rest = iter([place for place in range(n) if place not in origins])
    order = [origins[targets.index(place)] if place in targets else next(rest) for place in range(n)]
    return _permuted(source, order)


def unsqueeze(op: AxisOperation) -> Dims | None:
    """Insert a dimension of length 1."""
    source = op.source
    if source is None:
        return None
    place = op.given(1, "dim") % (len(source) + 1)
    return (*source[:place], (), *source[place:])


def squeeze(op: AxisOperation) -> Dims | None:
    """Drop dimensions of length 1."""
    source = op.source
    if source is None or len(source) == len(op.shape):
        return source
    given = op.given(1, "dim")
    wanted = range(len(source)) if given is None else [given] if isinstance(given, int) else given
    gone = {place % len(source) for place in wanted if size_of(source[place]) == 1}
    return tuple(dim for place, dim in enumerate(source) if place not in gone)


def expand(op: AxisOperation) -> Dims | None:
    """Repeat along dimensions of length 1."""
    source = op.source
    if source is None:
        return None
    padded = (*fresh_dims((1,) * (len(op.shape) - len(source))), *source)
    return tuple(dim if size_of(dim) == size else fresh(size) for dim, size in zip(padded, op.shape, strict=True))


def repeat(op: AxisOperation) -> Dims | None:
    """Repeat whole tensors along dimensions."""
    source = op.source
    if source is None:
        return None
    padded = (*fresh_dims((1,) * (len(op.shape) - len(source))), *source)
    times = [size // max(1, size_of(dim)) for dim, size in zip(padded, op.shape, strict=True)]
    return tuple(dim if n == 1 else (Factor(Axis(), n), *dim) for dim, n in zip(padded, times, strict=True))


def reduced(op: AxisOperation) -> Dims | None:
    """Sum, mean and similar: some dimensions are removed, or get the length 1."""
    source = op.source
    if source is None:
        return None
    given = op.given(1, "dim", op.kwargs.get("axis"))
    n = len(source)
    if given is None or isinstance(given, Tensor | bool | float) or (isinstance(given, list | tuple) and not given):
        return elementwise(op) if len(op.shape) == n else ()
    gone = {place % n for place in ([given] if isinstance(given, int) else given)}
    if len(op.shape) == n:
        return tuple(() if place in gone else dim for place, dim in enumerate(source))
    return tuple(dim for place, dim in enumerate(source) if place not in gone)


def norm_over(op: AxisOperation) -> Dims | None:
    """Norm: the order comes before the dimension."""
    source, given = op.source, op.given(2, "dim", op.kwargs.get("axis"))
    if source is None or given is None:
        return None
    return reduced(AxisOperation("sum", (op.args[0], given), {}, op.out, op.index, op.known))


def unbind(op: AxisOperation) -> Dims | None:
    """Split a dimension into its entries."""
    source = op.source
    if source is None:
        return None
    place = op.given(1, "dim", 0) % len(source)
    return (*source[:place], *source[place + 1 :])


def selected(op: AxisOperation) -> Dims | None:
    """Select one entry of a dimension."""
    return unbind(op)


def joined(op: AxisOperation) -> Dims | None:
    """Concatenate: the dimension along which tensors are joined is a new one of the same kind."""
    parts = op.given(0, "tensors")
    known = [dims for dims in map(op.known, parts) if dims is not None]
    if not known:
        return None
    n = len(op.shape)
    place = op.given(1, "dim", op.kwargs.get("axis", 0)) % n
    rest = [tuple(dim if i != place else () for i, dim in enumerate(dims)) for dims in known if len(dims) == n]
    shape = tuple(size if i != place else 1 for i, size in enumerate(op.shape))
    found = broadcast(rest, shape)
    counts = any(is_units(dims[place]) for dims in known) and not has_units(found)
    longest = max((dims[place] for dims in known), key=size_of)
    ordered = in_one_order([dims[place] for dims in known]) if len(known) == len(parts) else None
    joined = longest if size_of(longest) == op.shape[place] else ordered or fresh(op.shape[place])
    return tuple(as_units(joined, units=counts) if i == place else dim for i, dim in enumerate(found))


def stacked(op: AxisOperation) -> Dims | None:
    """Stack tensors along a new dimension."""
    parts = op.given(0, "tensors")
    known = [dims for dims in map(op.known, parts) if dims is not None]
    if not known:
        return None
    n = len(op.shape)
    place = op.given(1, "dim", 0) % n
    inner = broadcast(known, (*op.shape[:place], *op.shape[place + 1 :]))
    return (*inner[:place], fresh(op.shape[place]), *inner[place:])


def shuffled(op: AxisOperation) -> Dims | None:
    """Turn channels into positions, or vice versa."""
    source = op.source
    if source is None:
        return None
    return only_units((*source[:-3], fresh(op.shape[-3]), *fresh_dims(op.shape[-2:])), -3)


def one_hot(op: AxisOperation) -> Dims | None:
    """Append a dimension of classes."""
    source = op.source
    return None if source is None else (*source, fresh(op.shape[-1], units=True))


ARITHMETIC = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "__add__",
        "__radd__",
        "__mul__",
        "__rmul__",
        "__sub__",
        "__rsub__",
        "__truediv__",
        "where",
    ]
)
