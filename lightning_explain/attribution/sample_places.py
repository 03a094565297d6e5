"""Places of a batch's samples in the tensors of an autograd graph, followed node by node from the inputs.

Models merge the samples with heads or windows, or move them behind the tokens. A size says nothing of that, so only
operations are followed whose effect on the places is known; after any other the places are unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from torch import Tensor

from lightning_explain.attribution.autograd_graph import Node, operation_of

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SamplePlaces:
    """Along dimension `dim`, entry `(o * n_samples + b) * inner + i` belongs to sample `b`.

    Example:
        >>> import torch
        >>> SamplePlaces(0, 1, 2, 3).sums(torch.arange(6.0))
        tensor([ 3., 12.])
    """

    dim: int
    outer: int
    n_samples: int
    inner: int

    def sums(self, values: Tensor) -> Tensor:
        """Sum the entries of each sample [n_samples]."""
        others = [dim for dim in range(values.ndim) if dim != self.dim]
        by_place = values.sum(others) if others else values
        return by_place.reshape(self.outer, self.n_samples, self.inner).sum((0, 2))


Places = SamplePlaces | None
Rule = Callable[[Node, SamplePlaces, Shape, Shape], Places]
"""From a node, the places in what it reads, and the shapes of that and of its output, to the places in its output."""


def _shape_of(node: Node, output: int) -> Shape:
    return tuple(int(size) for size in node._input_metadata[output].shape)


def saved_dims(value: Any, ndim: int) -> set[int]:
    """Return dimensions as a node saves them: unsigned where they were negative."""
    given = value if isinstance(value, list | tuple) else (value,)
    signed = (int(dim) - 2**64 if int(dim) >= 2**63 else int(dim) for dim in given)
    return {dim % max(ndim, 1) for dim in signed}


def viewed(places: SamplePlaces, before: Shape, after: Shape) -> Places:
    """Follow the places through a view that keeps the order of the entries.

    Example:
        >>> viewed(SamplePlaces(0, 1, 5, 1), (5, 2, 3), (10, 3))
        SamplePlaces(dim=0, outer=1, n_samples=5, inner=2)
        >>> viewed(SamplePlaces(0, 1, 4, 1), (4, 3), (2, 2, 3)) is None
        True
    """
    stride = places.inner * prod(before[places.dim + 1 :])
    for dim in range(len(after)):
        behind = prod(after[dim + 1 :])
        if stride % behind == 0 and after[dim] * behind % (stride * places.n_samples) == 0:
            inner = stride // behind
            return SamplePlaces(dim, after[dim] // (inner * places.n_samples), places.n_samples, inner)
    return None


def _viewed(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    del node
    return viewed(places, before, after)


def kept(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    """Keep the places through an operation that works on each sample, dimension by dimension."""
    del node
    return places if len(before) == len(after) and before[places.dim] == after[places.dim] else None


def _kept_beside(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    """Keep the places unless the node works along the samples."""
    dims = node._saved_dims if hasattr(node, "_saved_dims") else node._saved_dim
    return None if places.dim in saved_dims(dims, len(before)) else kept(node, places, before, after)


def _broadcast(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    del node
    dim = places.dim + len(after) - len(before)
    return replace(places, dim=dim) if dim >= 0 and before[places.dim] == after[dim] else None


def _transposed(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    del after
    (one,), (two,) = saved_dims(node._saved_dim0, len(before)), saved_dims(node._saved_dim1, len(before))
    return replace(places, dim={one: two, two: one}.get(places.dim, places.dim))


def _turned(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    del node, after
    return replace(places, dim=len(before) - 1 - places.dim)


def _permuted(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    del after
    order = [next(iter(saved_dims(dim, len(before)))) for dim in node._saved_dims]
    return replace(places, dim=order.index(places.dim))


def _reduced(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    if len(after) == len(before):
        return kept(node, places, before, after)
    dims = saved_dims(node._saved_dim, len(before)) if hasattr(node, "_saved_dim") else set(range(len(before)))
    return None if places.dim in dims else replace(places, dim=places.dim - sum(dim < places.dim for dim in dims))


def _stacked(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    del before
    (new,) = saved_dims(node._saved_dim, len(after))
    return replace(places, dim=places.dim + (new <= places.dim))


def _joined(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    (dim,) = saved_dims(node._saved_dim, len(after))
    if dim != places.dim:
        return kept(node, places, before, after)
    grown, left = divmod(after[dim], places.n_samples * places.inner)
    return None if left else replace(places, outer=grown)


def _indexed(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    """Follow indexing by one tensor along another dimension."""
    del before, after
    used = [(dim, index) for dim, index in enumerate(node._saved_indices) if index is not None]
    if len(used) != 1 or used[0][0] == places.dim:
        return None
    dim, index = used[0]
    return places if places.dim < dim else replace(places, dim=places.dim + index.ndim - 1)


_KEEPING = (
    "Abs", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D", "AvgPool2D", "AvgPool3D",
    "ConstantPadNd", "LeakyRelu", "LogSoftmax", "MaskedFill", "MaxPool2DWithIndices", "MaxPool3DWithIndices",
    "NativeDropout", "Neg", "Normalised", "PassedActivation", "PreluKernel", "ReflectionPad1D", "ReflectionPad2D",
    "Relu",
    "ReplicationPad1D", "ReplicationPad2D", "SafeSoftmax", "ScaledDotProductEfficientAttention",
    "ScaledDotProductFlashAttention", "ScaledDotProductFlashAttentionForCpu", "Shared", "Slice", "Softmax", "Tril",
    "Triu", "UpsampleBicubic2D", "UpsampleBilinear2D", "UpsampleLinear1D", "UpsampleNearest1D", "UpsampleNearest2D",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(_KEEPING, kept),
    **dict.fromkeys(("Cumsum", "Flip", "Gather", "Roll", "Split", "SplitWithSizes", "UnsafeSplit"), _kept_beside),
    **dict.fromkeys(("Add", "Div", "Expand", "Mul", "Rsub", "Sub"), _broadcast),
    **dict.fromkeys(
        ("Alias", "Clone", "ReshapeAlias", "Squeeze", "ToCopy", "UnsafeView", "Unsqueeze", "View"), _viewed
    ),
    **dict.fromkeys(("Amax", "Amin", "LinalgVectorNorm", "Max", "Mean", "Min", "Select", "Sum", "Unbind"), _reduced),
    "Cat": _joined,
    "Index": _indexed,
    "Permute": _permuted,
    "Stack": _stacked,
    "T": _turned,
    "Transpose": _transposed,
}
"""Operations that places are followed through, by autograd's name of them."""

PRODUCTS: dict[str, tuple[dict[int, int], ...]] = {
    "Bmm": ({0: 0, 1: 1}, {0: 0, 2: 2}),
    "Mm": ({0: 0}, {1: 1}),
    "Addmm": ({0: 0, 1: 1}, {0: 0}, {1: 1}),
}
"""Where the dimensions of each operand of a matrix product are in its result."""


def _after(node: Node, operand: int, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    name = operation_of(node)
    if name in PRODUCTS:
        dim = PRODUCTS[name][operand].get(places.dim)
        return None if dim is None else replace(places, dim=dim)
    rule = RULES.get(name)
    return None if rule is None else rule(node, places, before, after)


class FollowedSamples:
    """The places of the samples in the outputs of nodes.

    Args:
        known: Nodes whose places are known: those of the inputs.
        own_rules: Rules for nodes of other names, by name.
    """

    def __init__(self, known: Mapping[Node, SamplePlaces], own_rules: Mapping[str, Rule]) -> None:
        self._found: dict[tuple[Node, int], Places] = {(node, 0): places for node, places in known.items()}
        self._own_rules = own_rules
        self._depends: dict[Node, bool] = dict.fromkeys(known, True)

    def know(self, node: Node, places: Places) -> None:
        """Add a node whose places are known, or known to be unknown."""
        self._found[node, 0], self._depends[node] = places, True

    def of(self, node: Node, output: int = 0) -> Places:
        """Return the places in an output of a node; None where they are unknown.

        Cost: a few microseconds for each node above that has not been met before.
        """
        stack = [(node, output)]
        while stack:
            place = stack[-1]
            if place in self._found:
                stack.pop()
                continue
            above = [(parent, number) for parent, number in place[0].next_functions if parent is not None]
            waiting = [parent for parent in above if parent not in self._found]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            self._found[place] = self._of(*place)
            self._depends[place[0]] = any(self._depends[parent] for parent, _ in above)
        return self._found[node, output]

    def _of(self, node: Node, output: int) -> Places:
        after = _shape_of(node, output) if hasattr(node, "_input_metadata") else ()
        found: list[Places] = []
        for operand, (parent, number) in enumerate(node.next_functions):
            if parent is None or not self._depends[parent]:
                continue
            places, rule = self._found[parent, number], self._own_rules.get(operation_of(node))
            if places is None:
                return None
            before = _shape_of(parent, number)
            found.append(
                _after(node, operand, places, before, after) if rule is None else rule(node, places, before, after)
            )
        return found[0] if found and all(places == found[0] for places in found) else None
