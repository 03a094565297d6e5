"""What each operation does to the axes of the tensors that it is given: one rule for each kind of operation.

An operation without a rule keeps the axes of an argument that has the shape of its result; of any other result nothing
is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lightning_explain.neurons.axes import (
    Axis,
    Dim,
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
    resized,
    size_of,
)

Lookup = Callable[[Any], Dims | None]
"""Gives the dimensions of a tensor that depends on the inputs; None for weights and constants."""


@dataclass(frozen=True)
class Operation:
    """One call of a function.

    Attributes:
        name: The function's name, without the underscore of a function that works in place.
        args: Positional arguments.
        kwargs: Keyword arguments.
        out: The tensor that it returned, one of them where there are several.
        index: Which of several.
        known: Gives the dimensions of arguments, as they were before the call.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Tensor
    index: int
    known: Lookup

    def given(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument that may be given by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.out.shape)

    @property
    def source(self) -> Dims | None:
        """Dimensions of the first argument."""
        return self.known(self.given(0, "input"))

    @property
    def operands(self) -> list[Dims]:
        """Dimensions of all arguments that depend on the inputs."""
        found = (self.known(part) for part in _tensors((self.args, self.kwargs)))
        return [dims for dims in found if dims is not None]


Rule = Callable[[Operation], Dims | None]


def _tensors(given: Any) -> list[Tensor]:
    if isinstance(given, Tensor):
        return [given]
    parts: Any = given.values() if isinstance(given, Mapping) else given if isinstance(given, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def elementwise(op: Operation) -> Dims | None:
    """Keep the axes of arguments that the result is laid over, or of one that has its shape."""
    fitting = [dims for dims in op.operands if len(dims) <= len(op.shape) and _broadcasts(dims, op.shape)]
    whole = [dims for dims in fitting if tuple(map(size_of, dims)) == op.shape]
    if whole or (len(fitting) > 1 and _covers(fitting, op.shape)):
        return broadcast(fitting, op.shape)
    return _enlarged(fitting[0], op) if len(fitting) == 1 and op.name in ARITHMETIC else None


def _broadcasts(dims: Dims, shape: Sequence[int]) -> bool:
    sizes = [size_of(dim) for dim in dims]
    return all(mine in (1, theirs) for mine, theirs in zip(sizes[::-1], shape[::-1], strict=False))


def _covers(operands: Sequence[Dims], shape: Sequence[int]) -> bool:
    sizes = [max((size_of(d[-i]) for d in operands if len(d) >= i), default=1) for i in range(len(shape), 0, -1)]
    return sizes == list(shape)


def _enlarged(dims: Dims, op: Operation) -> Dims:
    """Lay a tensor over weights that are larger: what a weight adds at the end are units, elsewhere positions."""
    padded = (*fresh_dims((1,) * (len(op.shape) - len(dims))), *dims)
    found = [dim if size_of(dim) == size else fresh(size) for dim, size in zip(padded, op.shape, strict=True)]
    if size_of(padded[-1]) != op.shape[-1]:
        return only_units(tuple(found), -1)
    return tuple(found)


def _features_last(op: Operation) -> Dims | None:
    """Linear layers and their like: features at the end, whatever stood there."""
    source = op.source
    return None if source is None else (*only_units(source)[:-1], fresh(op.shape[-1], units=True))


def _bilinear(op: Operation) -> Dims | None:
    return (*only_units(op.operands[0])[:-1], fresh(op.shape[-1], units=True))


def _batch_of(dims: Dims) -> Dim:
    """Return the first dimension of what a layer with channels takes: if nothing is known of it, samples."""
    lost = [factor.axis.root for factor in dims[0] if factor.axis.root.origin == "lost"]
    for axis in lost:
        axis.origin = "batch"
    return dims[0]


def _convolution(op: Operation) -> Dims | None:
    """Convolutions: channels in front of as many positions as the weight has."""
    source, weight = op.source, op.given(1, "weight")
    if source is None:
        return None
    n_positions = weight.ndim - 2
    channels = len(op.shape) - n_positions - 1
    batch = (_batch_of(source),) if channels == 1 else ()
    positions = fitted(source[channels + 1 :], op.shape[channels + 1 :])
    return (*only_units((*batch, fresh(op.shape[channels]), *positions), channels),)


def _channels_second(op: Operation) -> Dims | None:
    """Normalise channels: they are the second dimension, where nothing else has said so."""
    source = op.source
    if source is None or has_units(source) or len(source) < 2:
        return source
    _batch_of(source)
    return only_units(source, 1)


def _prelu(op: Operation) -> Dims | None:
    return _channels_second(op) if op.given(1, "weight").numel() > 1 else op.source


def _normalised_last(op: Operation) -> Dims | None:
    """Normalise features: they are the last dimension, where nothing else has said so."""
    source, shape = op.source, op.given(1, "normalized_shape")
    if source is None or has_units(source) or len(tuple(shape)) != 1:
        return source
    return only_units(source, -1)


def _embedding(op: Operation) -> Dims | None:
    ids = [dims for dims in op.operands if len(dims) == len(op.shape) - 1]
    return (*only_units(ids[0]), fresh(op.shape[-1], units=True)) if ids else None


def _neighbourhood(op: Operation) -> Dims | None:
    """Pool, pad or resize: dimensions keep their places, some get other lengths."""
    source = op.source
    return fitted(source, op.shape) if source is not None and len(source) == len(op.shape) else None


def _unfold(op: Operation) -> Dims | None:
    source = op.source
    return None if source is None else (source[0], fresh(op.shape[1], units=True), fresh(op.shape[2]))


def _reshape(op: Operation) -> Dims | None:
    source = op.source
    return None if source is None else reshaped(source, op.shape)


def _permuted(source: Dims, order: Sequence[int]) -> Dims:
    return tuple(source[place] for place in order)


def _numbers(op: Operation, start: int, name: str) -> list[int]:
    """Return dimensions given one by one or as a sequence."""
    rest = op.args[start:]
    given = rest[0] if rest and isinstance(rest[0], list | tuple) else rest or op.kwargs.get(name, ())
    return [int(number) for number in given]


def _permute(op: Operation) -> Dims | None:
    source = op.source
    return None if source is None else _permuted(source, _numbers(op, 1, "dims"))


def _swap(op: Operation) -> Dims | None:
    source = op.source
    if source is None:
        return None
    names = ("dim0", "dim1") if op.name == "transpose" else ("axis0", "axis1") if op.name == "swapaxes" else ("", "")
    last = op.name in ("t", "T", "mT", "adjoint", "H", "mH", "matrix_transpose")
    one, other = (-2, -1) if last else (op.given(1, names[0], 0), op.given(2, names[1], 1))
    order = list(range(len(source)))
    if len(order) > 1:
        order[one], order[other] = order[other], order[one]
    return _permuted(source, order if op.name != "T" else order[::-1] if len(order) > 2 else order)


def _movedim(op: Operation) -> Dims | None:
    source, moved, to = op.source, op.given(1, "source"), op.given(2, "destination")
    if source is None:
        return None
    n = len(source)
    origins = [place % n for place in ([moved] if isinstance(moved, int) else moved)]
    targets = [place % n for place in ([to] if isinstance(to, int) else to)]
    rest = iter([place for place in range(n) if place not in origins])
    order = [origins[targets.index(place)] if place in targets else next(rest) for place in range(n)]
    return _permuted(source, order)


def _unsqueeze(op: Operation) -> Dims | None:
    source = op.source
    if source is None:
        return None
    place = op.given(1, "dim") % (len(source) + 1)
    return (*source[:place], (), *source[place:])


def _squeeze(op: Operation) -> Dims | None:
    source = op.source
    if source is None or len(source) == len(op.shape):
        return source
    given = op.given(1, "dim")
    wanted = range(len(source)) if given is None else [given] if isinstance(given, int) else given
    gone = {place % len(source) for place in wanted if size_of(source[place]) == 1}
    return tuple(dim for place, dim in enumerate(source) if place not in gone)


def _expand(op: Operation) -> Dims | None:
    source = op.source
    if source is None:
        return None
    padded = (*fresh_dims((1,) * (len(op.shape) - len(source))), *source)
    return tuple(dim if size_of(dim) == size else fresh(size) for dim, size in zip(padded, op.shape, strict=True))


def _repeat(op: Operation) -> Dims | None:
    source = op.source
    if source is None:
        return None
    padded = (*fresh_dims((1,) * (len(op.shape) - len(source))), *source)
    times = [size // max(1, size_of(dim)) for dim, size in zip(padded, op.shape, strict=True)]
    return tuple(dim if n == 1 else (Factor(Axis(), n), *dim) for dim, n in zip(padded, times, strict=True))


def _reduced(op: Operation) -> Dims | None:
    """Sum, mean and their like: some dimensions are gone, or have the length 1."""
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


def _norm(op: Operation) -> Dims | None:
    """Take a norm: the order comes before the dimension."""
    source, given = op.source, op.given(2, "dim", op.kwargs.get("axis"))
    if source is None or given is None:
        return None
    return _reduced(Operation("sum", (op.args[0], given), {}, op.out, op.index, op.known))


def _pieces(op: Operation) -> Dims | None:
    """Split or chunk: the same dimensions, one of them shorter."""
    source = op.source
    if source is None:
        return None
    return tuple(resized(dim, size) for dim, size in zip(source, op.shape, strict=True))


def _unbind(op: Operation) -> Dims | None:
    source = op.source
    if source is None:
        return None
    place = op.given(1, "dim", 0) % len(source)
    return (*source[:place], *source[place + 1 :])


def _select(op: Operation) -> Dims | None:
    return _unbind(op)


def _joined(op: Operation) -> Dims | None:
    """Concatenate: the dimension along which tensors lie side by side is a new one of the same kind."""
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
    joined = longest if size_of(longest) == op.shape[place] else fresh(op.shape[place])
    return tuple(as_units(joined, units=counts) if i == place else dim for i, dim in enumerate(found))


def _stacked(op: Operation) -> Dims | None:
    parts = op.given(0, "tensors")
    known = [dims for dims in map(op.known, parts) if dims is not None]
    if not known:
        return None
    n = len(op.shape)
    place = op.given(1, "dim", 0) % n
    inner = broadcast(known, (*op.shape[:place], *op.shape[place + 1 :]))
    return (*inner[:place], fresh(op.shape[place]), *inner[place:])


def _product(op: Operation, left: Any, right: Any) -> Dims | None:
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


def _lead(op: Operation, batches: Sequence[Dims], by_matrix: bool) -> Dims:
    """Lay over each other what stands before the two dimensions of a matrix."""
    shape = op.shape[:-2] if by_matrix else op.shape[:-1]
    return broadcast([dims for dims in batches if _broadcasts(dims, shape)], shape)


def _sized(dims: Dims, op: Operation) -> Dims | None:
    return dims if tuple(map(size_of, dims)) == op.shape else None


def _matmul(op: Operation) -> Dims | None:
    return _product(op, op.given(0, "input"), op.given(1, "other", op.kwargs.get("mat2")))


def _reversed_matmul(op: Operation) -> Dims | None:
    return _product(op, op.args[1], op.args[0])


def _addmm(op: Operation) -> Dims | None:
    return _product(op, op.given(1, "mat1", op.kwargs.get("batch1")), op.given(2, "mat2", op.kwargs.get("batch2")))


def _einsum(op: Operation) -> Dims | None:
    """Name dimensions by letters: one that only weights have counts units."""
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


def _attention(op: Operation) -> Dims | None:
    query, value = op.source, op.known(op.given(2, "value"))
    if query is None or value is None:
        return query
    mask = op.known(op.given(3, "attn_mask"))
    if mask is not None and size_of(mask[-1]) == size_of(value[-2]):
        broadcast([(value[-2],), (mask[-1],)], (size_of(value[-2]),))
    return (*query[:-1], value[-1])


def _multi_head(op: Operation) -> Dims | None:
    return _features_last(op) if op.index == 0 else None


def _indexed(op: Operation) -> Dims | None:
    """Index by numbers, slices and tensors."""
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


def _taken(place: Any, waiting: list[Dim], op: Operation, n_found: int) -> list[Dim]:
    """Return what an index makes of the next dimension."""
    if place is None:
        return [()]
    dim = waiting.pop(0)
    if isinstance(place, int):
        return []
    if isinstance(place, Tensor) and place.ndim != 1:
        ids = op.known(place)
        return list(ids or fresh_dims(op.shape[n_found : n_found + place.ndim]))
    return [resized(dim, op.shape[n_found])]


def _looked_up(op: Operation, places: Sequence[Any]) -> Dims | None:
    """Index a table of weights by ids that depend on the inputs."""
    ids = op.known(places[0])
    if ids is None or len(places) > 1:
        return None
    return only_units((*ids, *fresh_dims(op.shape[len(ids) :])), -1)


def _shuffled(op: Operation) -> Dims | None:
    source = op.source
    if source is None:
        return None
    return only_units((*source[:-3], fresh(op.shape[-3]), *fresh_dims(op.shape[-2:])), -3)


def _one_hot(op: Operation) -> Dims | None:
    source = op.source
    return None if source is None else (*source, fresh(op.shape[-1], units=True))


ARITHMETIC = frozenset("add sub mul div __add__ __radd__ __mul__ __rmul__ __sub__ __rsub__ __truediv__ where".split())

_POOLS = [f"{kind}_pool{n}d" for kind in ("max", "avg", "lp", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)]
_POOLS += [f"{kind}_max_pool{n}d{rest}" for kind in ("adaptive", "fractional") for n in (1, 2, 3)
           for rest in ("", "_with_indices")]  # fmt: skip
_POOLS += [f"max_pool{n}d_with_indices" for n in (1, 2, 3)] + [f"max_unpool{n}d" for n in (1, 2, 3)]

_BY_NAMES: Mapping[Rule, str] = {
    _features_last: "linear rnn_tanh_cell rnn_relu_cell gru_cell lstm_cell multi_linear",
    _bilinear: "bilinear",
    _convolution: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution",
    _channels_second: "batch_norm group_norm instance_norm local_response_norm native_batch_norm",
    _prelu: "prelu",
    _normalised_last: "layer_norm rms_norm native_layer_norm",
    _embedding: "embedding embedding_bag",
    _neighbourhood: " ".join([*_POOLS, "interpolate upsample pad glu constant_pad_nd grid_sample narrow cdist",
                              "channel_shuffle index_select diff topk sort argsort gather roll flip"]),
    _unfold: "unfold im2col",
    _reshape: "view reshape flatten unflatten view_as reshape_as ravel",
    _permute: "permute",
    _swap: "transpose swapaxes swapdims t T mT adjoint H mH matrix_transpose",
    _movedim: "movedim moveaxis",
    _unsqueeze: "unsqueeze",
    _squeeze: "squeeze",
    _expand: "expand expand_as broadcast_to",
    _repeat: "repeat tile",
    _reduced: "sum mean max min amax amin prod std var median mode nanmean nansum logsumexp argmax argmin all any "
              "std_mean var_mean count_nonzero nanmedian quantile",
    _norm: "norm vector_norm",
    _pieces: "split chunk tensor_split hsplit vsplit split_with_sizes repeat_interleave",
    _unbind: "unbind",
    _select: "select",
    _joined: "cat concat concatenate",
    _stacked: "stack",
    _matmul: "matmul __matmul__ mm bmm mv dot",
    _reversed_matmul: "__rmatmul__",
    _addmm: "addmm addbmm baddbmm",
    _einsum: "einsum",
    _attention: "scaled_dot_product_attention",
    _multi_head: "multi_head_attention_forward",
    _indexed: "__getitem__",
    _shuffled: "pixel_shuffle pixel_unshuffle",
    _one_hot: "one_hot",
}  # fmt: skip

RULES: Mapping[str, Rule] = {name: rule for rule, names in _BY_NAMES.items() for name in names.split()}


def dims_after(op: Operation) -> Dims:
    """Return the dimensions of an operation's result; of their own where nothing is known of them."""
    rule = RULES.get(op.name, elementwise)
    try:
        found = rule(op)
    except (ValueError, IndexError, TypeError, AttributeError, RuntimeError):
        # an unusual way of calling a function: nothing is known, and that is said where it matters
        found = None
    if found is None or len(found) != len(op.shape) or tuple(map(size_of, found)) != op.shape:
        return fresh_dims(op.shape, origin="lost")
    return found
