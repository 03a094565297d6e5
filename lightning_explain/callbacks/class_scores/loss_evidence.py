"""Evidence from the loss: does it read what the explained forward returns, or what another layer makes of it."""

from collections.abc import Collection, Generator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import Node

from lightning_explain.attribution.autograd_graph import operation_of
from lightning_explain.batches import score_candidates, tensors_in
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.output_source import OutputSource, Place, score_sources
from lightning_explain.capture import Hook, Removable, is_compiled

Source = tuple[Node, int]
"""A tensor in the autograd graph: its node, and which of the node's outputs it is."""

FACTORS = {
    "Mm": (0, 1), "Bmm": (0, 1), "Mv": (0, 1), "Addmm": (1, 2), "Addmv": (1, 2), "Baddbmm": (1, 2),
    "Linear": (0, 1), "Convolution": (0, 1),
}  # fmt: skip
"""Operands of an operation that are multiplied as matrices."""

LINKS = {"Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid"}
"""What turns scores into probabilities: what passes these is read as scores, whatever follows."""

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
    """

    node: Node
    output: int
    weight: Tensor | None


def _steps(way: _Way) -> Generator[_Way, None, None]:
    operation, parents = operation_of(way.node), way.node.next_functions
    passed = None if operation in LINKS else way.weight
    factors = FACTORS.get(operation, ())
    weights = {place: _weight(parents[place][0]) for place in factors}
    for place, (parent, output) in enumerate(parents):
        if parent is not None:
            other = [weights[factor] for factor in factors if factor != place] if place in factors else []
            yield _Way(parent, output, passed if not other or other[0] is None else other[0])


def weights_before_loss(loss: Node | None, returned: Collection[Source]) -> Tensor | None:
    """Return a trained weight matrix that is multiplied with what was returned, if every way to the loss passes one.

    None where the loss reads it as it is, or as probabilities, or does not depend on it. Losses may multiply scores
    with other matrices (costs, each other), with scalars, or by element; those are no trained matrices.

    Args:
        loss: Node of the loss; None for a loss without a graph.
        returned: The tensors that were returned.

    Example:
        >>> import torch
        >>> head, x = nn.Linear(3, 3), torch.ones(2, 3, requires_grad=True) * 2
        >>> weights_before_loss(head(x).sum().grad_fn, [(x.grad_fn, 0)]) is head.weight
        True
        >>> weights_before_loss((head(x) + x).sum().grad_fn, [(x.grad_fn, 0)])
    """
    waiting = [] if loss is None else [_Way(loss, 0, None)]
    seen, found = set[tuple[Node, int, bool]](), None
    while waiting:
        way = waiting.pop()
        key = (way.node, way.output, way.weight is None)
        if key in seen:
            continue
        seen.add(key)
        if (way.node, way.output) in returned:
            if way.weight is None:
                return None
            found = way.weight
        else:
            waiting += _steps(way)
    return found


class LossEvidence:
    """Listens in one training step to what the explained forward returns, and looks where the loss reads it.

    Args:
        question: How the explained function is reached.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self.forget()

    def forget(self) -> None:
        """Forget what was seen."""
        self._handles: list[Removable] = []
        self._own: list[list[Source]] = []
        self._parts: list[Source] = []
        self._verdicts: list[Tensor | None] = []

    def attach(self, pl_module: nn.Module, batch: Any) -> None:
        """Put the hooks on: of the module, and of the parts that return the same.

        Nothing compiled is listened to.

        Cost: a forward pass of 8 samples.
        """
        self.detach()
        if any(map(is_compiled, pl_module.modules())):
            return
        sources: list[OutputSource] = []
        with suppress(Exception):  # batches of training may have another form than those of validation
            sources = score_sources(pl_module, batch, self._question)
        modules = dict(pl_module.named_modules())
        self._handles = [pl_module.register_forward_hook(Hook(self._catch_own))]
        for source in sources:
            catch = Hook(partial(self._catch_part, place=source.place))
            self._handles.append(modules[source.name].register_forward_hook(catch))

    def detach(self) -> None:
        """Take the hooks off and forget everything."""
        for handle in self._handles:
            handle.remove()
        self.forget()

    def _catch_own(self, output: Any) -> None:
        place = self._question.choice.place
        found = score_candidates(output) if place is None else {None: tensors_in(output).get(place)}
        self._own.append(_sources(list(found.values())) if len(found) == 1 else [])

    def _catch_part(self, output: Any, *, place: Place) -> None:
        self._parts += _sources([tensors_in(output).get(place)])

    def read(self, loss: Tensor, *, redirected: bool) -> None:
        """Look where a loss reads what was returned so far.

        Args:
            loss: Before its backward pass.
            redirected: Whether the module's last output is what the step returned, as under DDP.
        """
        own = self._own[:-1] if redirected else self._own
        returned = {source for sources in own for source in sources} | set(self._parts)
        if returned and _reaches(loss.grad_fn, returned):
            self._verdicts.append(weights_before_loss(loss.grad_fn, returned))

    def weight(self) -> Tensor | None:
        """Return a weight that stands between what is explained and every loss of the step that depends on it."""
        return None if any(weight is None for weight in self._verdicts) else next(iter(self._verdicts), None)


def _reaches(loss: Node | None, returned: Collection[Source]) -> bool:
    waiting, seen = [(loss, 0)], set[tuple[Node | None, int]]()
    while waiting:
        source = waiting.pop()
        if source in returned:
            return True
        if source[0] is not None and source not in seen:
            seen.add(source)
            waiting += source[0].next_functions
    return False


def _sources(tensors: list[Tensor | None]) -> list[Source]:
    return [(t.grad_fn, t.output_nr) for t in tensors if t is not None and t.grad_fn is not None]
