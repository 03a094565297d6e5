"""The effect of each operation on the axes of its arguments: one rule per kind of operation.

An operation without a rule keeps the axes of an argument that has the shape of its result; of any other result nothing
is known.
"""

from collections.abc import Mapping

from lightning_explain.neurons.axes import Dims, fresh_dims, size_of
from lightning_explain.neurons.operations import layer_rules as layers
from lightning_explain.neurons.operations import rearranging_rules as moves
from lightning_explain.neurons.operations import selecting_rules as choices
from lightning_explain.neurons.operations.operation import AxisOperation, Rule

_POOLS = [
    *(f"{kind}_pool{n}d" for kind in ("max", "avg", "lp", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)),
    *(f"{kind}_pool{n}d_with_indices" for kind in ("max", "adaptive_max") for n in (1, 2, 3)),
    *(f"fractional_max_pool{n}d{ending}" for n in (2, 3) for ending in ("", "_with_indices")),
    *(f"max_unpool{n}d" for n in (1, 2, 3)),
]

_BY_NAMES: Mapping[Rule, str] = {
    layers.features_last: "linear rnn_tanh_cell rnn_relu_cell gru_cell lstm_cell",
    layers.bilinear: "bilinear",
    layers.convolution: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution",
    layers.channels_second: "batch_norm group_norm instance_norm local_response_norm native_batch_norm",
    layers.prelu: "prelu",
    layers.normalised_last: "layer_norm rms_norm native_layer_norm",
    layers.embedding: "embedding embedding_bag",
    moves.neighbourhood: " ".join([*_POOLS, "interpolate upsample pad glu constant_pad_nd grid_sample narrow cdist",
                              "channel_shuffle diff"]),
    choices.index_select: "index_select",
    choices.flip: "flip",
    choices.roll: "roll",
    choices.sorted_along: "topk sort argsort gather",
    layers.unfold: "unfold im2col",
    moves.refactored: "view reshape flatten unflatten view_as reshape_as ravel",
    moves.permuted_by: "permute",
    moves.swap: "transpose swapaxes swapdims t T mT adjoint H mH",
    moves.movedim: "movedim moveaxis",
    moves.unsqueeze: "unsqueeze",
    moves.squeeze: "squeeze",
    moves.expand: "expand expand_as broadcast_to",
    moves.repeat: "repeat tile",
    moves.reduced: "sum mean max min amax amin prod std var median mode nanmean nansum logsumexp argmax argmin all any "
              "std_mean var_mean count_nonzero nanmedian quantile",
    moves.norm_over: "norm linalg_norm linalg_vector_norm",
    choices.pieces: "split chunk tensor_split hsplit vsplit split_with_sizes repeat_interleave",
    moves.unbind: "unbind",
    moves.selected: "select",
    moves.joined: "cat concat concatenate",
    moves.stacked: "stack",
    layers.matmul: "matmul linalg_matmul __matmul__ mm bmm mv dot",
    layers.reversed_matmul: "__rmatmul__",
    layers.addmm: "addmm addbmm baddbmm",
    layers.einsum: "einsum",
    layers.attention: "scaled_dot_product_attention",
    layers.multi_head: "multi_head_attention_forward",
    choices.indexed: "__getitem__",
    moves.shuffled: "pixel_shuffle pixel_unshuffle",
    moves.one_hot: "one_hot",
}  # fmt: skip

RULES: Mapping[str, Rule] = {name: rule for rule, names in _BY_NAMES.items() for name in names.split()}


def dims_after(op: AxisOperation) -> Dims:
    """Return the dimensions of an operation's result; new ones if no rule is known."""
    rule = RULES.get(op.name, moves.elementwise)
    try:
        found = rule(op)
    except (ValueError, IndexError, TypeError, AttributeError, RuntimeError):
        # an unusual way of calling a function: nothing is known, and that is said where it matters
        found = None
    if found is None or len(found) != len(op.shape) or tuple(map(size_of, found)) != op.shape:
        return fresh_dims(op.shape, origin="lost")
    return found
