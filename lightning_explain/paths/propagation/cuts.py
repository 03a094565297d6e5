"""A forward pass that is cut at every layer, attention head and recurrent state: what each came from, and its rule.

Each place has a value of its own, where the graph restarts. So the way back can be walked piece by piece.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.activation_checkpointing import checkpointing_off
from lightning_explain.attribution.autograd_graph import Node, check_passable
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.composites import Composite, check_names
from lightning_explain.attribution.lrp.input_rules import AnyRule
from lightning_explain.attribution.lrp.maps import AffineMap
from lightning_explain.attribution.lrp.operations.handler import Operation, sequence_number
from lightning_explain.attribution.lrp.operations.recurrent import HANDLERS as RECURRENT
from lightning_explain.attribution.lrp.rules import EpsilonRule, GammaRule, Rule, ZeroRule, ZPlusRule
from lightning_explain.attribution.lrp.softmax_losses import Lost
from lightning_explain.attribution.lrp.trace import RelevanceTrace
from lightning_explain.attribution.scores import check_differentiable, check_finite, explained_score
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.paths.propagation.ids import Ids

SHARED_OUT = (ZeroRule, EpsilonRule, GammaRule, ZPlusRule)


@dataclass(frozen=True, eq=False)
class Cut:
    """A place where the pass is cut.

    Attributes:
        name: Of the layer, of the module that computes an attention, or of a recurrent module and a part of it.
        kind: `input`, `layer`, `heads`, `state`, or `inner` for a linear layer inside a recurrent one.
        leaf: Its value, where the graph restarts.
        before: What the value comes from, with its graph: what a layer read, the value itself for others; None for
            inputs.
        layer: The map that a layer applied, a BatchNorm that follows merged into it.
        rule: How a layer's relevance is shared out.
        part: Which of the model's inputs this is, or was looked up by.
        origin: For each vector that was looked up, the place of its id in that input [...].
        n_heads: Number of heads where they are merged with samples, and torch's own module tells; otherwise 0.
    """

    name: str
    kind: str
    leaf: Tensor
    before: Tensor | None = None
    layer: AffineMap | None = None
    rule: Rule | None = None
    part: int = 0
    origin: Tensor | None = None
    n_heads: int = 0

    def back(self, gradient: Tensor) -> Tensor:
        """Return the modified gradient at `before`, given that at the value; linear in it."""
        if self.layer is None or self.rule is None or self.before is None:
            return gradient
        # a model that opens autocast itself computes in 16 bits; relevance goes back in the type of the weights
        dtype = self.layer.weight.dtype
        read, z, gradient = (part.detach().to(dtype) for part in (self.before, self.leaf, gradient))
        return self.rule.modified_gradient(self.layer, read, z, gradient).to(self.before.dtype)


@dataclass(frozen=True, eq=False)
class CutPass:
    """A forward pass in pieces.

    Attributes:
        cuts: In the order in which they were made, the inputs first.
        score: The explained score of each sample [batch], with a graph that ends at the cuts.
        began_score: Number that the first node had which picked the score from the model's output.
    """

    cuts: tuple[Cut, ...]
    score: Tensor
    began_score: int


class Begin(torch.autograd.Function):
    """Identity that allows in-place operations on a leaf; the graph ends behind it."""

    @staticmethod
    def forward(ctx: Any, leaf: Tensor) -> Tensor:
        """Return a copy."""
        out = leaf.clone()
        # the trace looks after these: an in-place write that follows must not change what a layer gave
        ctx.output = out.detach()
        ctx.version = out._version
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradient as it is."""
        del ctx
        return gradients[0]


class CuttingTrace(RelevanceTrace):
    """A trace that cuts the pass.

    Args:
        model: The model, for the names of its layers.
        composite: The rules of layers.
        inputs: The explained inputs, and those that are only carried along or looked up.
        choices: The rules of attention and gates.
        changes: Makes the value of some places another one, with which the model goes on.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite,
        inputs: tuple[Tensor, ...],
        choices: Choices,
        changes: Mapping[int, Callable[[Tensor], Tensor]],
    ) -> None:
        self._changes = changes
        self.cuts = [Cut("", "input", part, part=place) for place, part in enumerate(inputs) if part.requires_grad]
        self._ids = Ids({place: part for place, part in enumerate(inputs) if not part.is_floating_point()})
        self._n_recurrent = 0
        super().__init__(model, composite, inputs, choices, cut=self._cut_layer)

    def _cut_layer(
        self, read: Tensor, layer: AffineMap, rule: AnyRule, name: str | None, compute: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if not isinstance(rule, SHARED_OUT):
            raise ConfigurationError(
                f"rules= gives {type(rule).__name__} to {name or 'a layer'}; decision paths can share a contribution "
                f"out by {', '.join(kind.__name__ for kind in SHARED_OUT)}. Give one of these."
            )
        with torch.no_grad():
            output = compute(read.detach())
        kind = "inner" if self._n_recurrent else "layer"
        return self._begin(Cut(name or "functional", kind, _leaf(output), read, layer, rule))

    def _dependent(self, operation: Operation, tensors: Sequence[Tensor]) -> Any:
        is_recurrent = operation.name in RECURRENT
        self._n_recurrent += is_recurrent
        try:
            return super()._dependent(operation, tensors)
        finally:
            self._n_recurrent -= is_recurrent

    def _begin(self, cut: Cut) -> Tensor:
        change = self._changes.get(len(self.cuts))
        self.cuts.append(cut if change is None else replace(cut, leaf=_leaf(change(cut.leaf.detach()))))
        out: Any = Begin.apply(self.cuts[-1].leaf)
        return out

    def heads(self, output: Tensor) -> Tensor:
        """Cut at what the heads of an attention gave."""
        current = self._calls.current
        if not output.requires_grad:
            return output
        n_heads = self._calls.n_heads if output.ndim == 3 else 0
        name = current[0] if current and current[0] else "attention"
        return self._begin(Cut(name, "heads", _leaf(output), output, n_heads=n_heads))

    def expands(self, output: Tensor, lost: Lost) -> None:
        """Take no note of what a softmax loses: a layer of units states what it absorbs."""

    def state(self, hidden: Tensor, part: str) -> Tensor:
        """Cut at a recurrent state."""
        if not hidden.requires_grad:
            return hidden
        current = self._calls.current
        name = current[0] if current and current[0] else "recurrent"
        return self._begin(Cut(f"{name}.{part}" if part else name, "state", _leaf(hidden), hidden))

    def _independent(self, operation: Operation, tensors: Sequence[Tensor]) -> Any:
        """Cut at lookups that turn ids of an input into vectors."""
        if operation.name in ("embedding", "embedding_bag"):
            ids: Any = operation.args[0] if operation.args else operation.kwargs["input"]
            if self._ids.origin(ids) is not None:
                return self._looked_up(ids, operation.run) if operation.name == "embedding" else self._bag(operation)
        if operation.name == "getitem" and tensors[0].is_floating_point():
            ids = operation.args[1]
            if self._ids.origin(ids) is not None and ids.dtype != torch.bool:
                return self._looked_up(ids, operation.run)
        result = super()._independent(operation, tensors)
        self._ids.follow(operation, tensors, result)
        return result

    def _looked_up(self, ids: Tensor, run: Callable[[], Tensor]) -> Tensor:
        origin = self._ids.origin(ids)
        assert origin is not None
        return self._begin(Cut("", "input", _leaf(run()), part=origin[0], origin=origin[1]))

    def _bag(self, operation: Operation) -> Tensor:
        return _bag(lambda ids, weight: self._looked_up(ids, lambda: functional.embedding(ids, weight)), operation)

    def accepts(self, node: Node) -> bool:
        """Return True also for the beginnings of pieces."""
        return getattr(node, "_forward_cls", None) is Begin or super().accepts(node)


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()


def _bag(look_up: Callable[[Tensor, Tensor], Tensor], operation: Operation) -> Tensor:
    """Run an embedding bag in two steps, so that each token of a bag has a vector of its own."""

    def run(  # noqa: PLR0917 - torch's own arguments
        input: Tensor,  # noqa: A002
        weight: Tensor,
        offsets: Any = None,
        max_norm: Any = None,
        norm_type: float = 2,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        per_sample_weights: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Tensor:
        del offsets, max_norm, norm_type, scale_grad_by_freq, sparse, include_last_offset
        vectors = look_up(input, weight)
        kept = torch.ones_like(input, dtype=weight.dtype) if padding_idx is None else (input != padding_idx).to(weight)
        if mode == "max":
            return vectors.masked_fill(kept[..., None] == 0, -torch.inf).amax(1)
        factors = kept if per_sample_weights is None else kept * per_sample_weights
        total = (vectors * factors[..., None]).sum(1)
        return total / kept.sum(1, keepdim=True).clamp_min(1) if mode == "mean" else total

    return run(*operation.args, **operation.kwargs)


NO_LOOK_UP = (
    "Token ids have a path only where the model looks them up in an embedding. "
    "Give input= and forward_fn= that hand the network embedded tokens."
)


def run_in_cuts(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    target: Tensor | None,
    composite: Composite,
    choices: Choices,
    *,
    names_from: nn.Module,
    changes: Mapping[int, Callable[[Tensor], Tensor]] | None = None,
) -> CutPass:
    """Run the model once, cut at every place; call it inside `explaining`.

    Args:
        model: The model.
        inputs: As in `contributions`.
        target: The explained output of each sample.
        composite: The rules of layers.
        choices: The rules of attention and gates.
        names_from: The module whose layers are named.
        changes: Makes the value of a place another one, with which the model goes on.

    Raises:
        ConfigurationError: A layer or operation that relevance cannot pass, by name; ids that no embedding reads.
        ExplanationError: The output does not depend on the inputs, or is NaN or infinite.
    """
    check_names(names_from, composite)
    parts = tuple(part.detach().clone().requires_grad_(part.is_floating_point()) for part in inputs)
    trace = CuttingTrace(names_from, composite, parts, choices, changes or {})
    with checkpointing_off(), trace:
        output = model(*trace.given)
        began_score = sequence_number()
        score = explained_score(output, target)
    if not any(cut.kind == "input" for cut in trace.cuts):
        check_differentiable(parts, tokens=NO_LOOK_UP)
    if not score.requires_grad:
        raise ExplanationError(
            "The model's output does not depend on its input through operations that can be followed (was it detached, "
            "computed with no_grad, or rounded?), so there is no path to follow."
        )
    trace.layers.check()
    check_finite(tuple(part for part in parts if part.is_floating_point()), score.detach(), parts)
    leaves = tuple(cut.leaf for cut in trace.cuts)
    for tensor in (score, *(cut.before for cut in trace.cuts if cut.before is not None)):
        check_passable(tensor, leaves, trace)
    return CutPass(tuple(trace.cuts), score, began_score)
