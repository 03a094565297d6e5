"""Ways from a loss back to a tensor: read as class scores, through a matrix that makes them, or compared by row."""

from collections.abc import Collection, Generator, Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import Node

from lightning_explain.attribution.autograd_graph import operation_of

Source = tuple[Node, int]
"""A tensor in the autograd graph: its node, and which of the node's outputs it is."""

FACTORS = {
    "Mm": (0, 1), "Bmm": (0, 1), "Mv": (0, 1), "Addmm": (1, 2), "Addmv": (1, 2), "Baddbmm": (1, 2),
    "Linear": (0, 1), "Convolution": (0, 1), "Cdist": (0, 1), "EuclideanDist": (0, 1),
}  # fmt: skip
"""Operands of an operation that combines every row of one matrix with every row or column of the other."""

LINKS = {"Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid"}
"""What turns scores into probabilities: what passes these is read as scores, whatever follows."""

BY_LABEL = {"NllLoss", "MultiMarginLoss"}
"""Losses of a row of scores for each sample and its label."""

READERS = BY_LABEL | {"BinaryCrossEntropyWithLogits", "BinaryCrossEntropy", "MultilabelMarginLoss", "Gather"}
"""What reads scores as they are."""

DISTANCES = {"Norm", "LinalgVectorNorm", "Cdist", "EuclideanDist"}
"""What compares places rather than classes."""

RESHAPING = {
    "T", "Transpose", "Permute", "View", "UnsafeView", "Reshape", "Unsqueeze", "Squeeze", "Expand", "ToCopy", "Clone",
    "Div", "Mul", "ClampMin", "Norm", "LinalgVectorNorm", "WeightNormInterface",
}  # fmt: skip
"""What a weight may pass and still be one: other forms of it, and its normalisation; nothing of a batch."""


def _weight(node: Node | None) -> Tensor | None:
    """Return the parameter that a matrix is a form of; None where it may depend on a batch."""
    while node is not None:
        variable = getattr(node, "variable", None)
        if variable is not None:
            return variable if isinstance(variable, nn.Parameter) else None
        if operation_of(node) not in RESHAPING:
            return None
        parents = node.next_functions
        if any(parent is None for parent, _ in parents):
            return None
        weights = [_weight(parent) for parent, _ in parents[1:]]
        if any(weight is None for weight in weights):
            return None
        node = parents[0][0]
    return None


class _Way(NamedTuple):
    """A step back from the loss.

    Attributes:
        node: Where it has come to.
        output: Which output of the node.
        weight: The weight matrix passed last; None where none was since the scores were read.
        scored: Whether scores were read since the last product of matrices.
        compared: Whether a distance was taken since.
        weighed: Whether what the weight matrix made was read as scores.
        by_label: The loss that read scores by label; None for another.
    """

    node: Node
    output: int
    weight: Tensor | None = None
    scored: bool = False
    compared: bool = False
    weighed: bool = False
    by_label: Node | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Identity: ways to the same node that bring the same along are one."""
        return self.node, self.output, self.weight is None, *self[3:]

    def through(self, weight: Tensor) -> "_Way":
        """Pass a weight matrix."""
        weighed = self.scored if self.weight is None else self.weighed
        return self._replace(weight=weight, weighed=weighed, scored=False, compared=False, by_label=None)

    def beside(self, *, compared: bool) -> "_Way":
        """Pass a product with a matrix that is no weight: what is read as scores is the product."""
        return self._replace(scored=False, by_label=None, compared=compared) if self.weight is None else self

    def past(self, operation: str) -> "_Way":
        """Pass an operation."""
        way = self
        if operation in LINKS:
            way = way._replace(weight=None, weighed=False, scored=True, compared=False)
        if way.weight is not None:
            return way
        if operation in READERS:
            way = way._replace(scored=True, compared=False, by_label=way.node if operation in BY_LABEL else None)
        return way._replace(scored=False, by_label=None, compared=True) if operation in DISTANCES else way


def _both(way: _Way) -> bool:
    """Return True if a node combines two tensors of the batch."""
    parents = way.node.next_functions
    return len(parents) > 1 and all(parent is not None and _weight(parent) is None for parent, _ in parents[:2])


def _steps(way: _Way, frozen: Mapping[Source, Tensor]) -> Generator[_Way, None, None]:
    operation, parents = operation_of(way.node), way.node.next_functions
    passed, factors = way.past(operation), FACTORS.get(operation, ())
    if operation == "Mul" and _both(way) and not passed.scored and passed.weight is None:
        passed = passed._replace(compared=True)
    elif operation == "Sub" and any(parent is None for parent, _ in parents):
        passed = passed._replace(compared=False)  # a distance to something given
    kept = frozen.get((way.node, way.output))
    for place, (parent, output) in enumerate(parents):
        if parent is None:
            continue
        step = passed
        if kept is not None:
            step = way.through(kept)
        elif place in factors:
            (other,) = (parents[factor][0] for factor in factors if factor != place)
            weight = _weight(other)
            step = way.through(weight) if weight is not None else passed.beside(compared=other is not None)
        yield step._replace(node=parent, output=output)


class LossReading:
    """The ways from the losses of a step to what was returned, put together.

    Attributes:
        by_label: For each tensor that was returned, the losses that read it as scores by label.
    """

    def __init__(self) -> None:
        self.by_label: dict[Source, set[Node]] = {}
        self._scored = self._plain = self._compared = False
        self._weights: dict[bool, Tensor] = {}

    def add(self, loss: Node | None, returned: Collection[Source], frozen: Mapping[Source, Tensor]) -> None:
        """Follow every way from a loss to what was returned.

        Args:
            loss: Node of the loss; None for a loss without a graph.
            returned: The tensors that were returned.
            frozen: What modules with a weight matrix that is not trained put out, and their matrix.
        """
        waiting = [] if loss is None else [_Way(loss, 0)]
        seen = set[tuple[object, ...]]()
        while waiting:
            way = waiting.pop()
            if way.key in seen:
                continue
            seen.add(way.key)
            if (way.node, way.output) in returned:
                self._arrive(way)
            else:
                waiting += _steps(way, frozen)

    def _arrive(self, way: _Way) -> None:
        if way.weight is not None:
            self._weights.setdefault(way.weighed, way.weight)
        elif way.scored:
            self._scored = True
            if way.by_label is not None:
                self.by_label.setdefault((way.node, way.output), set()).add(way.by_label)
        elif way.compared:
            self._compared = True
        else:
            self._plain = True

    @property
    def weight(self) -> Tensor | None:
        """A weight matrix that makes scores of what was returned; None where a loss may read that as scores itself.

        A loss beside it that reads what was returned, but not as scores, changes nothing where the product with the
        matrix is read as scores.
        """
        if self._scored:
            return None
        if True in self._weights:
            return self._weights[True]
        return None if self._plain or self._compared else self._weights.get(False)

    @property
    def only_compares(self) -> bool:
        """True if no loss reads what was returned as scores, and one takes distances or products of its rows."""
        return self._compared and not self._scored and not self._weights


def read_loss(
    loss: Node | None, returned: Collection[Source], frozen: Mapping[Source, Tensor] | None = None
) -> LossReading:
    """Return the reading of a single loss; see `LossReading.add`.

    Losses may multiply scores with other matrices (costs, each other), with scalars, or by element; those are no
    weight matrices.

    Example:
        >>> import torch
        >>> head, x = nn.Linear(3, 3), torch.ones(2, 3, requires_grad=True) * 2
        >>> read_loss(head(x).sum().grad_fn, [(x.grad_fn, 0)]).weight is head.weight
        True
        >>> read_loss((head(x) + x).sum().grad_fn, [(x.grad_fn, 0)]).weight
        >>> read_loss((x @ x.T).exp().sum().grad_fn, [(x.grad_fn, 0)]).only_compares
        True
    """
    reading = LossReading()
    reading.add(loss, returned, frozen or {})
    return reading
