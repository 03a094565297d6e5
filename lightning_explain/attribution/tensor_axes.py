"""What each dimension of a tensor holds, read off the operations that made it; a coincidence of sizes tells nothing.

A dimension is a product of parts: [batch, height * width, channels] has one that is rows times columns, and reshaping
it back gives both again. Convolutions and the image itself say which dimensions are which, and what comes after them
moves, merges, splits or keeps these.
"""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_explain.attribution.autograd_graph import Node, operation_of

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

MAPS = frozenset({
    "Convolution", "ConvolutionOverrideable", "MkldnnConvolution", "CudnnConvolution", "MaxPool2DWithIndices",
    "AvgPool2D", "AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "UpsampleBicubic2D", "UpsampleBilinear2D",
    "UpsampleNearest2D", "UpsampleNearestExact2D", "PixelShuffle", "PixelUnshuffle", "GridSampler2D",
    "ReflectionPad2D", "ReplicationPad2D",
})  # fmt: skip
"""Operations whose result is [batch, channels, rows, columns] if it has four dimensions."""
CHANNEL_NORMS = frozenset({"NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "NativeGroupNorm"})
LINEAR = {"Addmm": 1, "Mm": 0, "Linear": 0}
"""Operations that replace the last dimension by features, and which operand that is."""
MIXED = (
    "Bmm", "Baddbmm", "Attention", "Einsum", "Fft", "Linalg", "Mv", "Dot", "AsStrided", "Cumsum", "Index", "Gather",
    "Scatter", "Flip", "Roll", "Sort", "Topk", "Repeat", "Unfold", "Stack", "Im2Col", "Col2Im", "ChannelShuffle",
)  # fmt: skip
"""What is in the names of operations after which nothing is known: they mix positions, or put them in another order."""


def holds(dimension: Dimension) -> tuple[str, ...]:
    """Return what a dimension holds, without what is unknown."""
    return tuple(part.holds for part in dimension if part.holds != UNKNOWN)


def _unknown(shape: Iterable[int]) -> Axes:
    return tuple((Part(UNKNOWN, size),) if size != 1 else () for size in shape)


def _of_map(shape: Sequence[int]) -> Axes:
    if len(shape) != 4:
        return _unknown(shape)
    kinds = (UNKNOWN, CHANNELS, ROWS, COLUMNS)
    return tuple((Part(kind, size),) for kind, size in zip(kinds, shape, strict=True))


def _split(part: Part, inner: int) -> tuple[Part, Part]:
    """Split a part in two: of rows, those of blocks of rows are still rows, what is within a block is nothing."""
    outer = part.holds if part.holds in (ROWS, COLUMNS) else UNKNOWN
    return Part(outer, part.size // inner), Part(UNKNOWN, inner)


def _reshaped(axes: Axes, shape: Sequence[int]) -> Axes:
    """Share the parts of all dimensions out to new dimensions, in their order."""
    if prod(_sized(dimension) for dimension in axes) != prod(shape):
        return _unknown(shape)
    left = [part for dimension in reversed(axes) for part in reversed(dimension) if part.size != 1]
    found: list[Dimension] = []
    for size in shape:
        taken: list[Part] = []
        missing = size
        while missing > 1 and left:
            part = left.pop()
            if missing % part.size:
                if part.size % missing:
                    return _unknown(shape)
                part, inner = _split(part, part.size // missing)
                left.append(inner)
            taken.append(part)
            missing //= part.size
        found.append(tuple(taken))
    return tuple(found)


def _sized(dimension: Dimension) -> int:
    return prod(part.size for part in dimension)


def _agreed(candidates: Sequence[Dimension], size: int) -> Dimension:
    """Return what the operands of an elementwise operation say about a dimension, if they do not contradict."""
    known = [dimension for dimension in candidates if _sized(dimension) == size and holds(dimension)]
    if known and all(holds(dimension) == holds(known[0]) for dimension in known):
        return known[0]
    return _unknown((size,))[0]


def _aligned(operands: Sequence[Axes], shape: Sequence[int]) -> Axes:
    """Join the operands of an elementwise operation, whose dimensions count from the last."""
    n = len(shape)
    if any(len(axes) > n for axes in operands) or (len(operands) == 1 and len(operands[0]) != n):
        return _unknown(shape)
    return tuple(
        _agreed([axes[place - n] for axes in operands if len(axes) >= n - place], size)
        for place, size in enumerate(shape)
    )


def _number(node: Node, name: str, n: int) -> int:
    """Return a dimension that a node saved; torch hands negative ones over as very large."""
    value = int(getattr(node, f"_saved_{name}"))
    return (value - 2**64 if value >= 2**63 else value) % n


def _permuted(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    del shape
    dims = [int(dim) - 2**64 if int(dim) >= 2**63 else int(dim) for dim in node._saved_dims]
    return tuple(axes[dim] for dim in dims)


def _transposed(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    del shape
    one, other = _number(node, "dim0", len(axes)), _number(node, "dim1", len(axes))
    order = list(axes)
    order[one], order[other] = order[other], order[one]
    return tuple(order)


def _selected(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    del shape
    dim = _number(node, "dim", len(axes))
    return (*axes[:dim], *axes[dim + 1 :])


def _unsqueezed(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    dim = _number(node, "dim", len(shape))
    return (*axes[:dim], (), *axes[dim:])


def _sliced(node: Node, axes: Axes, shape: Sequence[int]) -> Axes:
    """Keep what a part of a dimension holds; tokens without those before the patches are the patches."""
    dim, size = _number(node, "dim", len(axes)), shape[_number(node, "dim", len(axes))]
    if _sized(axes[dim]) == size:
        return axes
    kept = _unknown((size,))[0]
    if len(axes[dim]) == 1:
        (part,) = axes[dim]
        if part.holds in (ROWS, COLUMNS, CHANNELS):
            kept = (Part(part.holds, size),)
        elif part.holds == TOKENS and int(node._saved_step) == 1:
            start = int(node._saved_start)
            first = part.first - (start if start < 2**63 else start - 2**64 + part.size)
            fits = first >= 0 and first + _sized(part.grid) <= size
            are_all = first == 0 and _sized(part.grid) == size
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


def _joined(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    """Join tensors along a dimension: patches with a class token before them are tokens."""
    dim = _number(node, "dim", len(shape))
    known = [axes for axes in operands if axes is not None and len(axes) == len(shape)]
    found = list(_aligned(known, shape))
    along = [() if axes is None or len(axes) != len(shape) else axes[dim] for axes in operands]
    kinds = {holds(dimension) for dimension in along if holds(dimension)}
    grids = [place for place, dimension in enumerate(along) if _is_grid(dimension)]
    if kinds == {(CHANNELS,)}:
        found[dim] = (Part(CHANNELS, shape[dim]),)
    elif len(grids) == 1 and len(kinds) == 1:
        place = grids[0]
        # where the operands before or after have no gradient their sizes are what is missing
        sizes = [None if axes is None else _sized(axes[dim]) for axes in operands]
        before, after = sizes[:place], sizes[place + 1 :]
        first = shape[dim] - _sized(along[place]) - sum(after) if None not in after else None  # type: ignore[arg-type]
        first = sum(before) if None not in before else first  # type: ignore[arg-type]
        found[dim] = _unknown((shape[dim],))[0] if first is None else (_tokens(along[place], first, shape[dim]),)
    return tuple(found)


def _is_grid(dimension: Dimension) -> bool:
    return holds(dimension) in ((ROWS, COLUMNS), (TOKENS,))


def _tokens(dimension: Dimension, before: int, size: int) -> Part:
    if holds(dimension) == (TOKENS,):
        return dimension[0]._replace(size=size, first=dimension[0].first + before)
    return Part(TOKENS, size, before, dimension)


def _linear(axes: Axes | None, shape: Sequence[int]) -> Axes:
    """Features come last, unless positions were mixed there."""
    if axes is None or len(axes) != len(shape):
        return (*_unknown(shape[:-1]), (Part(CHANNELS, shape[-1]),))
    if holds(axes[-1]) in ((), (CHANNELS,)) and not any(CHANNELS in holds(dimension) for dimension in axes[:-1]):
        return (*axes[:-1], (Part(CHANNELS, shape[-1]),))
    return (*axes[:-1], axes[-1] if _sized(axes[-1]) == shape[-1] else _unknown(shape[-1:])[0])


def _linear_layer(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    place = LINEAR[operation_of(node)]
    return _linear(operands[place] if len(operands) > place else None, shape)


def _product(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    """Tell a product with a weight that is not trained, which torch makes as one of batches, from any other."""
    del node
    return _linear(operands[0], shape) if len(operands) == 2 and operands[1] is None else _unknown(shape)


def _channel_norm(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    del node
    passed = _aligned([axes for axes in operands[:1] if axes is not None], shape)
    return passed if any(holds(dimension) for dimension in passed) else _of_map(shape)


def _feature_norm(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    passed = _aligned([axes for axes in operands[:1] if axes is not None], shape)
    return _linear(passed, shape) if len(node._saved_normalized_shape) == 1 else passed


JOINED: dict[str, Callable[[Node, Sequence[Axes | None], Sequence[int]], Axes]] = {
    **dict.fromkeys(MAPS, lambda _node, _operands, shape: _of_map(shape)),
    **dict.fromkeys(LINEAR, _linear_layer),
    **dict.fromkeys(CHANNEL_NORMS, _channel_norm),
    "Bmm": _product,
    "Cat": _joined,
    "NativeLayerNorm": _feature_norm,
}
"""Operations after which dimensions hold something new, or that look at several operands."""


def _shape(node: Node, place: int = 0) -> tuple[int, ...] | None:
    """Return the shape of what a node gave; its metadata is that of the gradients that it takes."""
    if hasattr(node, "variable"):
        return tuple(node.variable.shape)
    found = getattr(node, "_input_metadata", ())
    return tuple(int(size) for size in found[place].shape) if len(found) > place else None


def _axes(node: Node, operands: list[Axes | None], shape: tuple[int, ...]) -> Axes:
    operation = operation_of(node)
    known = [axes for axes in operands if axes is not None]
    if operation in JOINED:
        return JOINED[operation](node, operands, shape)
    if isinstance(node, torch.autograd.function.BackwardCFunction) or any(word in operation for word in MIXED):
        return _unknown(shape)
    if len(known) == 1 and operation in MOVED:
        return MOVED[operation](node, known[0], shape)
    return _aligned(known, shape)


def reads_channels_last(score: Tensor, image: Tensor) -> bool:
    """Whether a convolution takes rows or columns of the images for channels: then theirs do not come first.

    Cost: a few microseconds per node of the graph.
    """
    seen, stack = set[Node](), [score.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if operation_of(node) == "Convolution" and node.next_functions[0][0] is not None:
            axes = axes_of(node.next_functions[0][0], image, node.next_functions[0][1])
            if axes is not None and len(axes) == 4 and holds(axes[1]) in ((ROWS,), (COLUMNS,)):
                return True
        stack.extend(parent for parent, _ in node.next_functions)
    return False


def axes_of(node: Node, image: Tensor, place: int = 0) -> Axes | None:
    """Return what the dimensions of a node's result hold.

    Args:
        node: The node of the autograd graph.
        image: The explained images [batch, channels, height, width]: a leaf.
        place: Which of the node's results.

    Returns:
        For each dimension its parts; None where nothing is known of the node.

    Cost: a few microseconds per node of the graph.

    Example:
        >>> image = torch.rand(2, 3, 4, 5, requires_grad=True)
        >>> found = axes_of(image.flatten(2).transpose(1, 2).relu().grad_fn, image)
        >>> [holds(dimension) for dimension in found]
        [(), ('rows', 'columns'), ('channels',)]
    """
    known: dict[Node, Axes | None] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        parents = [] if operation_of(current) in MAPS else [parent for parent, _ in current.next_functions]
        waiting = [parent for parent in parents if parent is not None and parent not in known]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        shape = _shape(current, place if current is node else 0)
        if hasattr(current, "variable"):
            known[current] = _of_map(shape or ()) if current.variable is image else _unknown(shape or ())
        elif shape is None:
            known[current] = None
        else:
            operands = [None if parent is None else known[parent] for parent in parents]
            known[current] = _axes(current, operands, shape)
    return known[node]
