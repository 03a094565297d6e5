"""Handlers of torch functions under the trace, by name."""

from lightning_explain.attribution.lrp.operations import (
    activations,
    attention,
    normalisation,
    products,
    recurrent,
    reshapes,
)
from lightning_explain.attribution.lrp.operations.handler import Handler

HANDLERS: dict[str, Handler] = {
    **activations.HANDLERS,
    **attention.HANDLERS,
    **normalisation.HANDLERS,
    **products.HANDLERS,
    **recurrent.HANDLERS,
    **reshapes.HANDLERS,
}
"""Operations with a rule. All others run as they are, and `graph.PASSES` says whether relevance may pass them."""

ACTIVATIONS = frozenset(activations.HANDLERS)
"""Elementwise activations."""

KEEPS_RANK = frozenset({
    "reshape", "view", "view_as", "reshape_as", "transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis",
    "t", "adjoint", "unsqueeze", "squeeze", "expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave",
    "tile", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "getitem", "flatten", "unflatten",
    "contiguous", "to", "type", "type_as", "float", "double", "half", "bfloat16", "clone", "dropout", "masked_fill",
    "pad", "interpolate", "narrow", "select", "index_select", "gather", "take_along_dim", "roll", "flip",
    "add", "sub", "rsub", "neg", "mean", "alias", "positive", "abs", "get", "cat", "concat", "concatenate", "stack",
    "where", "topk", "sort", "scatter", "index_put", "tril", "triu", "maximum", "minimum", "max", "min", "amax", "amin",
    "sum", "cumsum", "as_strided", "unfold",
})  # fmt: skip
"""Operations after which gates still are gates, as long as only constants or other gates come in beside them."""

COMPARES = frozenset({
    "gt", "lt", "ge", "le", "eq", "ne", "greater", "less", "greater_equal", "less_equal", "not_equal", "detach",
    "argmax", "argmin", "signbit", "isclose",
})  # fmt: skip
"""Operations whose results depend on the input without being differentiable."""

UNOPENED = frozenset({"repr", "format", "str", "register_hook", "retain_grad", "backward", "fn"})
"""Functions written in Python that compute nothing which is explained."""
