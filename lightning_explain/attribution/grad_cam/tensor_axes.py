"""The kinds of a tensor's dimensions, read off the operations that made it; a coincidence of sizes tells nothing.

Convolutions and the image itself say which dimensions are which, and what comes after them moves, merges, splits or
keeps these.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_explain.attribution.autograd_graph import Node, operation_of
from lightning_explain.attribution.grad_cam.dimensions import (
    CHANNELS,
    COLUMNS,
    MOVED,
    ROWS,
    TOKENS,
    Axes,
    Dimension,
    Part,
    aligned,
    holds,
    number,
    of_map,
    sized,
    unknown,
)

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


def _joined(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    """Join tensors along a dimension: patches with a class token before them are tokens."""
    dim = number(node, "dim", len(shape))
    known = [axes for axes in operands if axes is not None and len(axes) == len(shape)]
    found = list(aligned(known, shape))
    along = [() if axes is None or len(axes) != len(shape) else axes[dim] for axes in operands]
    kinds = {holds(dimension) for dimension in along if holds(dimension)}
    grids = [place for place, dimension in enumerate(along) if _is_grid(dimension)]
    if kinds == {(CHANNELS,)}:
        found[dim] = (Part(CHANNELS, shape[dim]),)
    elif len(grids) == 1 and len(kinds) == 1:
        place = grids[0]
        # where the operands before or after have no gradient their sizes are what is missing
        sizes = [None if axes is None else sized(axes[dim]) for axes in operands]
        before, after = sizes[:place], sizes[place + 1 :]
        first = shape[dim] - sized(along[place]) - sum(after) if None not in after else None  # type: ignore[arg-type]
        first = sum(before) if None not in before else first  # type: ignore[arg-type]
        found[dim] = unknown((shape[dim],))[0] if first is None else (_tokens(along[place], first, shape[dim]),)
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
        return (*unknown(shape[:-1]), (Part(CHANNELS, shape[-1]),))
    if holds(axes[-1]) in ((), (CHANNELS,)) and not any(CHANNELS in holds(dimension) for dimension in axes[:-1]):
        return (*axes[:-1], (Part(CHANNELS, shape[-1]),))
    return (*axes[:-1], axes[-1] if sized(axes[-1]) == shape[-1] else unknown(shape[-1:])[0])


def _linear_layer(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    place = LINEAR[operation_of(node)]
    return _linear(operands[place] if len(operands) > place else None, shape)


def _product(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    """Tell a product with a weight that is not trained, which torch makes as one of batches, from any other."""
    del node
    return _linear(operands[0], shape) if len(operands) == 2 and operands[1] is None else unknown(shape)


def _channel_norm(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    del node
    passed = aligned([axes for axes in operands[:1] if axes is not None], shape)
    return passed if any(holds(dimension) for dimension in passed) else of_map(shape)


def _feature_norm(node: Node, operands: Sequence[Axes | None], shape: Sequence[int]) -> Axes:
    passed = aligned([axes for axes in operands[:1] if axes is not None], shape)
    return _linear(passed, shape) if len(node._saved_normalized_shape) == 1 else passed


JOINED: dict[str, Callable[[Node, Sequence[Axes | None], Sequence[int]], Axes]] = {
    **dict.fromkeys(MAPS, lambda _node, _operands, shape: of_map(shape)),
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
        return unknown(shape)
    if len(known) == 1 and operation in MOVED:
        return MOVED[operation](node, known[0], shape)
    return aligned(known, shape)


def reads_channels_last(score: Tensor, image: Tensor) -> bool:
    """Return True if a convolution takes rows or columns of the images for channels.

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
    """Return the kinds of the dimensions of a node's result.

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
            known[current] = of_map(shape or ()) if current.variable is image else unknown(shape or ())
        elif shape is None:
            known[current] = None
        else:
            operands = [None if parent is None else known[parent] for parent in parents]
            known[current] = _axes(current, operands, shape)
    return known[node]
