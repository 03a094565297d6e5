"""The effect on axes of layers and of products with weights: they create units."""

from collections.abc import Sequence
from typing import Any

from lightning_explain.neurons.axes import Dim, Dims, broadcast, fitted, fresh, has_units, only_units, size_of
from lightning_explain.neurons.operations.operation import AxisOperation
from lightning_explain.neurons.operations.rearranging_rules import fits


def features_last(op: AxisOperation) -> Dims | None:
    """Linear layers and similar: features in the last dimension."""
    source = op.source
    return None if source is None else (*only_units(source)[:-1], fresh(op.shape[-1], units=True))


def bilinear(op: AxisOperation) -> Dims | None:
    """Bilinear layers: features at the end."""
    return (*only_units(op.operands[0])[:-1], fresh(op.shape[-1], units=True))


def _batch_of(dims: Dims) -> Dim:
    """Return the first dimension of the input of a layer with channels: samples, if nothing is known of it."""
    lost = [factor.axis.root for factor in dims[0] if factor.axis.root.origin == "lost"]
    for axis in lost:
        axis.origin = "batch"
    return dims[0]


def convolution(op: AxisOperation) -> Dims | None:
    """Convolutions: channels, followed by as many position dimensions as the weight has."""
    source, weight = op.source, op.given(1, "weight")
    if source is None:
        return None
    n_positions = weight.ndim - 2
    channels = len(op.shape) - n_positions - 1
    batch = (_batch_of(source),) if channels == 1 else ()
    positions = fitted(source[channels + 1 :], op.shape[channels + 1 :])
    return (*only_units((*batch, fresh(op.shape[channels]), *positions), channels),)


def channels_second(op: AxisOperation) -> Dims | None:
    """Normalisation of channels: the second dimension, unless something is known of it."""
    source = op.source
    if source is None or has_units(source) or len(source) < 2:
        return source
    _batch_of(source)
    return only_units(source, 1)


def prelu(op: AxisOperation) -> Dims | None:
    """PReLU with one weight per channel."""
    return channels_second(op) if op.given(1, "weight").numel() > 1 else op.source


def normalised_last(op: AxisOperation) -> Dims | None:
    """Normalisation of features: the last dimension, unless something is known of it."""
    source, shape = op.source, op.given(1, "normalized_shape")
    if source is None or has_units(source) or len(tuple(shape)) != 1:
        return source
    return only_units(source, -1)


def embedding(op: AxisOperation) -> Dims | None:
    """Embedding lookup by ids."""
    ids = [dims for dims in op.operands if len(dims) == len(op.shape) - 1]
    return (*only_units(ids[0]), fresh(op.shape[-1], units=True)) if ids else None


def unfold(op: AxisOperation) -> Dims | None:
    """Extraction of patches: their values are units."""
    source = op.source
    return None if source is None else (source[0], fresh(op.shape[1], units=True), fresh(op.shape[2]))


def _product(op: AxisOperation, left: Any, right: Any) -> Dims | None:
    a, b = op.known(left), op.known(right)
    if a is None and b is None:
        return None
    if b is None:  # by a weight: its columns are units
        assert a is not None
        lead = _lead(op, [a[:-2]] if left.ndim > 1 else [], right.ndim > 1)
        rows = a[-2:-1] if left.ndim > 1 else ()
        return _sized((*only_units((*lead, *rows)), *(fresh(op.shape[-1], units=True),) * (right.ndim > 1)), op)
    if a is None:  # of a weight: its rows are units
        lead = _lead(op, [b[:-2]], by_matrix=True)
        return _sized((*only_units((*lead,)), fresh(op.shape[-2], units=True), *only_units(b[-1:])), op)
    lead = _lead(op, [a[:-2], b[:-2]], by_matrix=True)
    return _sized((*lead, *a[-2:-1], *b[-1:]), op)


def _lead(op: AxisOperation, batches: Sequence[Dims], by_matrix: bool) -> Dims:
    """Broadcast the dimensions in front of the two of a matrix."""
    shape = op.shape[:-2] if by_matrix else op.shape[:-1]
    return broadcast([dims for dims in batches if fits(dims, shape)], shape)


def _sized(dims: Dims, op: AxisOperation) -> Dims | None:
    return dims if tuple(map(size_of, dims)) == op.shape else None


def matmul(op: AxisOperation) -> Dims | None:
    """Matrix product; one factor may be a weight."""
    return _product(op, op.given(0, "input"), op.given(1, "other", op.kwargs.get("mat2")))


def reversed_matmul(op: AxisOperation) -> Dims | None:
    """Matrix product with swapped arguments."""
    return _product(op, op.args[1], op.args[0])


def addmm(op: AxisOperation) -> Dims | None:
    """Matrix product plus a third matrix."""
    return _product(op, op.given(1, "mat1", op.kwargs.get("batch1")), op.given(2, "mat2", op.kwargs.get("batch2")))


def einsum(op: AxisOperation) -> Dims | None:
    """Einstein summation: a letter that only weights have counts units."""
    equation, tensors = op.args[0], op.args[1:]
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    if not isinstance(equation, str) or "." in equation or "->" not in equation:
        return None
    inputs, result = equation.replace(" ", "").split("->")
    letters: dict[str, Dim] = {}
    for names, tensor in zip(inputs.split(","), tensors, strict=True):
        dims = op.known(tensor)
        for name, dim in zip(names, dims or (), strict=dims is not None):
            letters[name] = broadcast([(letters[name],), (dim,)], (size_of(dim),))[0] if name in letters else dim
    found = tuple(letters.get(name, fresh(size)) for name, size in zip(result, op.shape, strict=True))
    made = [place for place, name in enumerate(result) if name not in letters]
    return only_units(found, *made) if made else found


def attention(op: AxisOperation) -> Dims | None:
    """Scaled dot-product attention: positions of the query, features of the value."""
    query, value = op.source, op.known(op.given(2, "value"))
    if query is None or value is None:
        return query
    mask = op.known(op.given(3, "attn_mask"))
    if mask is not None and size_of(mask[-1]) == size_of(value[-2]):
        broadcast([(value[-2],), (mask[-1],)], (size_of(value[-2]),))
    return (*query[:-1], value[-1])


def multi_head(op: AxisOperation) -> Dims | None:
    """Attention with projections: features at the end; its second result is weights."""
    return features_last(op) if op.index == 0 else None
