"""Reading the autograd graph: which operations relevance may pass, and which tensors are still the input.

A rule sits on layers, but a forward function may do anything between them. Relevance is `activation * gradient`,
which is right for whatever moves numbers about or is linear in them; every other operation is refused by name.
"""

from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError

Node = Any
"""A node of the autograd graph; torch types only an abstract base of it."""

MOVES = frozenset({
    "Alias", "AsStrided", "AsStridedScatter", "Cat", "ChannelShuffle", "Clone", "Col2Im", "Complex", "Conj",
    "ConjPhysical", "ConstantPadNd", "Diag", "Diagonal", "DiagonalScatter", "Expand", "Flip", "Gather", "Im2Col",
    "Imag", "Index", "IndexCopy", "IndexFill", "IndexPut", "IndexSelect", "Kthvalue", "LiftFresh", "MaskedFill",
    "MaskedScatter", "MaskedSelect", "Median", "Mode", "PackPaddedSequence", "Permute", "PixelShuffle",
    "PixelUnshuffle", "Real", "ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D", "Repeat", "RepeatInterleave",
    "ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D", "ReshapeAlias", "ResolveConj", "Roll", "Rot90",
    "Scatter", "Select", "SelectScatter", "Slice", "SliceScatter", "Sort", "Split", "SplitWithSizes", "Squeeze",
    "Stack", "T", "Take", "ToCopy", "Topk", "Transpose", "Tril", "Triu", "Unbind", "Unfold", "UnsafeIndex",
    "UnsafeSplit", "UnsafeView", "Unsqueeze", "View", "ViewAsComplex", "ViewAsReal", "Where",
    # of `fully_shard`: the inputs as they are
    "RegisterPostBackwardFunction",
})  # fmt: skip
"""Operations that only move or copy numbers."""

SCALINGS = frozenset({"Add", "Sub", "Mul", "Div", "Neg"})
"""Elementwise and affine, as long as only one operand depends on the input."""

PASSES = MOVES | {
    # autograd's name of `Tensor.copy_`, and of writing into a part of a tensor
    "torch::autograd::CopyBackwards", "torch::autograd::CopySlices",
    "Abs", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D", "Add", "Amax", "Amin",
    "Aminmax", "AvgPool2D", "AvgPool3D", "Cummax", "Cummin", "Cumsum", "Dist", "EmbeddingBag", "FftC2C", "FftC2R",
    "FftR2C", "Fmax", "Fmin", "FractionalMaxPool2D", "FractionalMaxPool3D", "Hypot", "IndexAdd", "IndexReduce",
    "LeakyRelu", "LinalgVectorNorm", "Max", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "MaxUnpool2D",
    "MaxUnpool3D", "Maximum",
    "Mean", "Min", "Minimum", "Nansum", "NativeDropout", "Neg", "Norm", "PreluKernel", "Relu", "RreluWithNoise",
    "Rsub", "ScatterAdd", "ScatterReduce", "SegmentReduce", "Std", "Sub", "Sum", "Trace", "UpsampleBicubic2D",
    "UpsampleBicubic2DAa", "UpsampleBilinear2D", "UpsampleBilinear2DAa", "UpsampleLinear1D", "UpsampleNearest1D",
    "UpsampleNearest2D", "UpsampleNearest3D", "UpsampleNearestExact1D", "UpsampleNearestExact2D",
    "UpsampleNearestExact3D", "UpsampleTrilinear3D",
}  # fmt: skip
"""Operations whose own gradient hands relevance on: linear ones, and those with f(cx) = c f(x) for c > 0."""

EXPANDED = frozenset({"Softmax", "LogSoftmax", "Logsumexp", "SafeSoftmax"})
"""Operations whose own gradient is a first-order Taylor expansion, which loses some of the relevance."""


def operation_of(node: Node) -> str:
    """Name a node's operation without autograd's suffix.

    Example:
        >>> operation_of(torch.ones(1, requires_grad=True).exp().grad_fn)
        'Exp'
    """
    return str(node.name()).rstrip("0123456789").removesuffix("Backward")


def inputs_of(node: Node) -> list[Node]:
    """Return the nodes whose outputs a node reads."""
    return [parent for parent, _ in node.next_functions if parent is not None]


def ordered_nodes(root: Node | None) -> list[Node]:
    """List the nodes at or above `root`, each after those it reads.

    Cost: a few microseconds per node of the graph.
    """
    found: dict[Node, None] = {}
    stack = [] if root is None else [root]
    while stack:
        node = stack[-1]
        waiting = [parent for parent in inputs_of(node) if parent not in found]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        found[node] = None
    return list(found)


def dependent_nodes(root: Node, leaves: Collection[Tensor]) -> set[Node]:
    """Find the nodes at or above `root` through which it depends on one of the leaves.

    Cost: a few microseconds per node of the graph.
    """
    owners = {id(leaf) for leaf in leaves}
    depends: dict[Node, bool] = {}
    for node in ordered_nodes(root):
        is_leaf = operation_of(node) == "torch::autograd::AccumulateGrad"
        depends[node] = id(node.variable) in owners if is_leaf else any(depends[p] for p in inputs_of(node))
    return {node for node, does in depends.items() if does}


def readers_of(root: Node) -> dict[Node, set[str]]:
    """Name the operations that read each node's output, on the way to `root`.

    Cost: a few microseconds per node of the graph.

    Example:
        >>> z = torch.ones(2, requires_grad=True) * 2
        >>> readers_of((z.relu() + z).grad_fn)[z.grad_fn] == {"Relu", "Add"}
        True
    """
    found: dict[Node, set[str]] = {root: set()}
    stack = [root]
    while stack:
        node = stack.pop()
        for parent in inputs_of(node):
            if parent not in found:
                found[parent] = set()
                stack.append(parent)
            found[parent].add(operation_of(node))
    return found


def _dependent_operands(node: Node, dependent: set[Node]) -> list[int]:
    return [place for place, (parent, _) in enumerate(node.next_functions) if parent in dependent]


def _is_scaling(node: Node, dependent: set[Node]) -> bool:
    """Return True for a product, quotient or mean that is linear in what depends on the input."""
    operation, operands = operation_of(node), _dependent_operands(node, dependent)
    if operation == "Lerp":
        return 2 not in operands
    return (operation == "Mul" and len(operands) == 1) or (operation == "Div" and operands == [0])


def _scales_one(node: Node, dependent: set[Node]) -> bool:
    """Return True if a node moves numbers, or changes those of one dependent operand one by one."""
    operation = operation_of(node)
    if operation in ("Add", "Sub"):
        return len(_dependent_operands(node, dependent)) == 1
    return operation not in ("Mul", "Div") or _is_scaling(node, dependent)


def check_passable(
    tensor: Tensor, leaves: Collection[Tensor], makers: "Makers", *, refusal: str = "LRP has no rule for"
) -> None:
    """Refuse a forward pass with an operation that relevance cannot pass.

    Args:
        tensor: What is explained, with its graph.
        leaves: The inputs.
        makers: Knows which nodes rules have made, and which module made a node.
        refusal: Start of the message, in front of the operations.

    Raises:
        ConfigurationError: Names the operations and the modules that ran them.
    """
    dependent = dependent_nodes(tensor.grad_fn, leaves)
    refused = [
        node
        for node in dependent
        if inputs_of(node)
        and operation_of(node) not in PASSES
        and not makers.accepts(node)
        and not _is_scaling(node, dependent)
    ]
    if not refused:
        return
    found = sorted({_in_words(node, makers.maker(node), makers.function(node)) for node in refused})
    raise ConfigurationError(
        f"{refusal} {', '.join(found[:8])}{', ...' if len(found) > 8 else ''}. "
        f"{makers.remedy}, or explain this model by IntegratedGradients."
    )


@runtime_checkable
class Makers(Protocol):
    """Origins of the nodes of the graph."""

    @property
    def remedy(self) -> str:
        """Advice for an operation without a rule."""
        ...

    def accepts(self, node: Node) -> bool:
        """Return True for a node that a rule made."""
        ...

    def maker(self, node: Node) -> str:
        """Return path and type of the module that made a node; empty if none did."""
        ...

    def function(self, node: Node) -> str:
        """Return the torch function that made a node, as a user writes it; empty if none did."""
        ...


def _in_words(node: Node, maker: str, function: str) -> str:
    operation = operation_of(node)
    products = {"Mul": "a product of two activations", "Div": "a division by an activation"}
    words = function or operation
    if operation in products:
        words = f"{products[operation]} ({words})"
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        words = f"the custom autograd function {operation}"
    elif not function:
        words = f"{operation}, called where torch functions cannot be followed (TorchScript, vmap, a C++ extension)"
    return f"{maker}: {words}" if maker else words


def is_input(tensor: Tensor, leaves: Collection[Tensor]) -> bool:
    """Return True if each element is one element of the inputs, moved, or scaled and shifted by constants.

    Cost: stops at the first other operation, so it is cheap in the depth of a network.
    """
    if any(tensor is leaf for leaf in leaves):
        return True
    seen, stack = set[Node](), [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if inputs_of(node) and operation_of(node) not in MOVES | SCALINGS:
            return False
        stack.extend(inputs_of(node))
    dependent = dependent_nodes(tensor.grad_fn, leaves)
    return bool(dependent) and all(_scales_one(node, dependent) for node in dependent)


def moved_back(relevance: Tensor, tensor: Tensor, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Carry relevance from a tensor for which `is_input` holds back to the inputs, unscaled.

    Each element is `scale * input + shift`. Relevance belongs to the input whatever the scale, so the gradient of
    the way there is divided by it.

    Returns:
        Relevance shaped like each leaf.
    """
    probe = torch.zeros_like(tensor, requires_grad=True)
    ways = torch.autograd.grad(tensor, leaves, probe, create_graph=True, materialize_grads=True)
    used = [way for way in ways if way.requires_grad]
    (scale,) = torch.autograd.grad(used, probe, [torch.ones_like(way) for way in used], materialize_grads=True)
    per_scale = torch.where(scale == 0, torch.zeros_like(scale), relevance / scale)
    return torch.autograd.grad(tensor, leaves, per_scale, retain_graph=True, materialize_grads=True)
