"""One pass under the rules: the model runs forward, and relevance goes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from lightning_explain.activation_checkpointing import checkpointing_off
from lightning_explain.attribution.autograd_graph import Node, check_passable, moved_back, operation_of
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.composites import Composite
from lightning_explain.attribution.lrp.softmax_losses import SoftmaxLosses
from lightning_explain.attribution.lrp.trace import RelevanceTrace
from lightning_explain.attribution.result import parts_of
from lightning_explain.attribution.scores import explained_score
from lightning_explain.batches import Inputs
from lightning_explain.errors import ExplanationError


@dataclass(frozen=True)
class Seen:
    """A layer's output: its place in the graph, and its value before anything wrote into it."""

    edge: GradientEdge
    value: Tensor

    @classmethod
    def of(cls, output: Tensor) -> "Seen":
        """Take the output of any layer."""
        return cls(get_gradient_edge(output), output.detach().clone())

    @classmethod
    def after(cls, node: Node) -> "Seen":
        """Take the output of a layer that has a rule from what it keeps for its backward pass."""
        return cls(GradientEdge(node, 0), node.output)


@dataclass(frozen=True)
class Pass:
    """A finished forward pass under the rules, ready to be propagated back."""

    trace: RelevanceTrace
    inputs: tuple[Tensor, ...]
    score: Tensor

    def relevance(
        self, seen: Mapping[str, Seen], losses: SoftmaxLosses
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Propagate back once: the relevance of each input, and of each layer output in `seen`.

        Args:
            seen: Outputs of layers.
            losses: Gets what softmaxes lose; where their rows cannot be told apart by sample, by a second walk back.
        """
        first, leaves = self.trace.layers.first, self.trace.leaves
        # autograd takes places in the graph and tensors alike, torch's annotations only one or the other
        edges: list[Any] = [entry.edge for entry in seen.values()]
        # an input that was scaled before its layer read it: the way back is walked a second time
        is_moved = any(self._place(read) is None for read, _ in first)
        again: dict[str, Any] = {"retain_graph": is_moved or losses.needs_labels, "allow_unused": True}
        with losses.watched():
            found = torch.autograd.grad(self.score.sum(), (*leaves, *edges), **again)
            if losses.needs_labels:
                torch.autograd.grad(self.score, leaves, losses.labels(self.score), **again)
        wanted = (*leaves, *(entry.value for entry in seen.values()))
        gradients = iter([_or_zeros(gradient, like) for gradient, like in zip(found, wanted, strict=True)])
        values = [
            part.detach() * next(gradients) if part.requires_grad else torch.zeros(part.shape, device=part.device)
            for part in self.inputs
        ]
        for read, _ in first:
            self._add_to_inputs(values, read, next(gradients))
        hidden = {name: entry.value * next(gradients) for name, entry in seen.items()}
        # the layout of the convolutions is theirs alone
        return tuple(part.contiguous() for part in values), {name: part.contiguous() for name, part in hidden.items()}

    def _place(self, read: Tensor) -> int | None:
        """Find the input that a layer read as it was given."""
        for place, (part, given) in enumerate(zip(self.inputs, self.trace.given, strict=True)):
            # after an in-place operation it would be a node of another kind
            if read is part or (read is given and operation_of(read.grad_fn) == "Clone"):
                return place
        return None

    def _add_to_inputs(self, values: list[Tensor], read: Tensor, relevance: Tensor) -> None:
        """Add the relevance that arrived at a first layer to the inputs that it read."""
        place = self._place(read)
        if place is not None:
            values[place] = values[place] + relevance
            return
        explained = [place for place, part in enumerate(self.inputs) if part.requires_grad]
        back = moved_back(relevance, read, tuple(self.inputs[place] for place in explained))
        for place, moved in zip(explained, back, strict=True):
            values[place] = values[place] + moved


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    """Return the gradient of a layer's output; torch makes no zeros for one that is used for nothing."""
    return torch.zeros_like(like) if gradient is None else gradient


def run_by_rules(
    model: nn.Module, composite: Composite, choices: Choices, inputs: Inputs, indices: Tensor | None
) -> Pass:
    """Run the model under the rules, and refuse operations that relevance cannot pass."""
    # clones: tensors made under inference mode cannot take part in autograd
    parts = tuple(part.detach().clone().requires_grad_(part.is_floating_point()) for part in parts_of(inputs))
    trace = RelevanceTrace(model, composite, parts, choices)
    # a part that runs again on the way back would meet no rule
    with checkpointing_off(), trace:
        output = model(*trace.given)
    score = explained_score(output, indices)
    if not score.requires_grad:
        raise ExplanationError(
            "The model's output does not depend on its input through differentiable operations (was it detached, "
            "computed with no_grad, or rounded?), so there is nothing to propagate relevance through."
        )
    trace.layers.check()
    check_passable(score, trace.leaves, trace)
    trace.layers.settle(score)
    return Pass(trace, parts, score)


def heads_of(trace: RelevanceTrace) -> dict[str, tuple[Seen, int]]:
    """Name the outputs of all attentions by the module that computes them."""
    found: dict[str, tuple[Seen, int]] = {}
    calls: dict[str, int] = {}
    for path, edge, value, n_heads in trace.attention:
        call = calls.get(path, 0)
        calls[path] = call + 1
        found[f"{path}#{call}" if call else path] = Seen(edge, value), n_heads
    return found
