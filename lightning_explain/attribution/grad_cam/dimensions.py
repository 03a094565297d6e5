"""Dimensions of a tensor and what they hold, and the operations that move, merge, split or shorten them.

A dimension is a product of parts: [batch, height * width, channels] has one that is rows times columns, and reshaping
it back gives both again.
"""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import NamedTuple

from lightning_explain.attribution.autograd_graph import Node

UNKNOWN, CHANNELS, ROWS, COLUMNS, TOKENS = "unknown", "channels", "rows", "columns", "tokens"


class Part(NamedTuple):
    """A factor of a dimension.

    Attributes:
        holds: What it counts: CHANNELS, ROWS, COLUMNS, TOKENS (the patches of a grid, and others before or after
            them), or UNKNOWN.
        size: Its size.
        first: Of tokens: place of the first patch.
        grid: Of tokens: what the patches were before they were tokens.
    """

    holds: str
    size: int
    first: int = 0
    grid: tuple["Part", ...] = ()


Dimension = tuple[Part, ...]
Axes = tuple[Dimension, ...]


def holds(dimension: Dimension) -> tuple[str, ...]:
    """List the known kinds of a dimension's parts."""
    return tuple(part.holds for part in dimension if part.holds != UNKNOWN)


def unknown(shape: Iterable[int]) -> Axes:
    """Return dimensions of these sizes that hold nothing known."""
    return tuple((Part(UNKNOWN, size),) if size != 1 else () for size in shape)


def of_map(shape: Sequence[int]) -> Axes:
    """Return the dimensions of a map [batch, channels, rows, columns]; of any other shape nothing is known."""
    if len(shape) != 4:
        return unknown(shape)
    kinds = (UNKNOWN, CHANNELS, ROWS, COLUMNS)
    return tuple((Part(kind, size),) for kind, size in zip(kinds, shape, strict=True))


def _split(part: Part, inner: int) -> tuple[Part, Part]:
    """Split a part in two: of rows, those of blocks of rows are still rows, what is within a block is nothing."""
    outer = part.holds if part.holds in (ROWS, COLUMNS) else UNKNOWN
    return Part(outer, part.size // inner), Part(UNKNOWN, inner)


def _reshaped(axes: Axes, shape: Sequence[int]) -> Axes:
    """Share the parts of all dimensions out to new dimensions, in their order."""
    if prod(sized(dimension) for dimension in axes) != prod(shape):
        return unknown(shape)
    left = [part for dimension in reversed(axes) for part in reversed(dimension) if part.size != 1]
    found: list[Dimension] = []
    for size in shape:
        taken: list[Part] = []
        missing = size
        while missing > 1 and left:
            part = left.pop()
            if missing % part.size:
                if part.size % missing:
                    return unknown(shape)
                part, inner = _split(part, part.size // missing)
                left.append(inner)
            taken.append(part)
            missing //= part.size
        found.append(tuple(taken))
    return tuple(found)


def sized(dimension: Dimension) -> int:
    """Return the size of a dimension."""
    return prod(part.size for part in dimension)


def _agreed(candidates: Sequence[Dimension], size: int) -> Dimension:
    """Return the dimension that the operands of an elementwise operation agree on; an unknown one otherwise."""
    known = [dimension for dimension in candidates if sized(dimension) == size and holds(dimension)]
    if known and all(holds(dimension) == holds(known[0]) for dimension in known):
        return known[0]
    return unknown((size,))[0]


def aligned(operands: Sequence[Axes], shape: Sequence[int]) -> Axes:
    """Join the operands of an elementwise operation, whose dimensions count from the last."""
    n = len(shape)
    if any(len(axes) > n for axes in operands) or (len(operands) == 1 and len(operands[0]) != n):
        return unknown(shape)
    return tuple(
        _agreed([axes[place - n] for axes in operands if len(axes) >= n - place], size)
        for place, size in enumerate(shape)
    )


def number(node: Node, name: str, n: int) -> int:
    """Return a dimension that a node saved; torch hands negative ones over as very large."""
    value = int(getattr(node, f"_saved_{name}"))
    return (value - 2**64 if value >= 2**63 else value) % n


def _permuted(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    del shape
    dims = [int(dim) - 2**64 if int(dim) >= 2**63 else int(dim) for dim in node._saved_dims]
    return tuple(axes[dim] for dim in dims)


def _transposed(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    del shape
    one, other = number(node, "dim0", len(axes)), number(node, "dim1", len(axes))
    order = list(axes)
    order[one], order[other] = order[other], order[one]
    return tuple(order)


def _selected(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    del shape
    dim = number(node, "dim", len(axes))
    return (*axes[:dim], *axes[dim + 1 :])


def _unsqueezed(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    dim = number(node, "dim", len(shape))
    return (*axes[:dim], (), *axes[dim:])


def _sliced(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    """Shorten a dimension; tokens without those before the patches are the patches."""
    dim, size = number(node, "dim", len(axes)), shape[number(node, "dim", len(axes))]
    if sized(axes[dim]) == size:
        return axes
    kept = unknown((size,))[0]
    if len(axes[dim]) == 1:
        (part,) = axes[dim]
        if part.holds in (ROWS, COLUMNS, CHANNELS):
            kept = (Part(part.holds, size),)
        elif part.holds == TOKENS and int(node._saved_step) == 1:
            start = int(node._saved_start)
            first = part.first - (start if start < 2**63 else start - 2**64 + part.size)
            fits = first >= 0 and first + sized(part.grid) <= size
            are_all = first == 0 and sized(part.grid) == size
            if fits:
                kept = part.grid if are_all else (part._replace(size=size, first=first),)
    return (*axes[:dim], kept, *axes[dim + 1 :])


MOVED: dict[str, Callable[[Node, Axes, Sequence[int]], Axes]] = {
    "Permute": _permuted,
    "Transpose": _transposed,
    "T": lambda _node, axes, _shape: axes[::-1],
    "Select": _selected,
    "Unsqueeze": _unsqueezed,
    "Slice": _sliced,
    "Unbind": _selected,
    **dict.fromkeys(
        ("View", "UnsafeView", "ReshapeAlias", "Squeeze"), lambda _node, axes, shape: _reshaped(axes, shape)
    ),
}
"""Operations that move dimensions of one operand, or reshape it."""
