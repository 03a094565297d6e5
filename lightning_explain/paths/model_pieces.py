"""Forward pass in pieces, one per layer: its input, its output, its rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.activation_checkpointing import checkpointing_off
from lightning_explain.attribution.autograd_graph import check_passable, dependent_nodes, operation_of
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.composites import Composite, check_names
from lightning_explain.attribution.lrp.input_rules import AnyRule
from lightning_explain.attribution.lrp.maps import AffineMap, Dense
from lightning_explain.attribution.lrp.rules import EpsilonRule, GammaRule, Rule, ZeroRule, ZPlusRule
from lightning_explain.attribution.lrp.trace import RelevanceTrace
from lightning_explain.attribution.scores import check_finite, explained_score
from lightning_explain.errors import ConfigurationError, ExplanationError

SHARED_OUT = (ZeroRule, EpsilonRule, GammaRule, ZPlusRule)


@dataclass(frozen=True, eq=False)
class CutLayer:
    """One application of a linear layer or convolution.

    Attributes:
        name: Its name; `name#1` for the second application of the same layer.
        read: What it read, with a graph that ends at the outputs of the layers before it.
        layer: The map that it applied, a BatchNorm that follows merged into it.
        rule: How its relevance is shared out.
        output: Its output [batch, ...], a leaf.
    """

    name: str
    read: Tensor
    layer: AffineMap
    rule: Rule
    output: Tensor

    @property
    def unit_dim(self) -> int:
        """Unit dimension of one sample's output: 0 for channels, -1 for features."""
        return -1 if isinstance(self.layer, Dense) else 0


@dataclass(frozen=True, eq=False)
class PiecewisePass:
    """A forward pass in pieces.

    Attributes:
        inputs: The explained inputs: leaves, those of integer type without a gradient.
        layers: The layers in the order in which they ran.
        score: The explained score of each sample [batch], with a graph that ends at the last layers' outputs.
    """

    inputs: tuple[Tensor, ...]
    layers: tuple[CutLayer, ...]
    score: Tensor

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """All leaves: the inputs, then the outputs of the layers."""
        return (*self.inputs, *(layer.output for layer in self.layers))


class _Begin(torch.autograd.Function):
    """Identity that allows in-place operations on a leaf; the graph ends behind it."""

    @staticmethod
    def forward(ctx: Any, leaf: Tensor) -> Tensor:
        out = leaf.clone()
        # the trace looks after these: an in-place write that follows must not change what a layer gave
        ctx.output = out.detach()
        ctx.version = out._version
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        del ctx
        return gradients[0]


class _Cutter:
    """Collects the layers while the model runs."""

    def __init__(self) -> None:
        self.layers: list[CutLayer] = []

    def __call__(
        self,
        read: Tensor,
        layer: AffineMap,
        rule: AnyRule,
        name: str | None,
        compute: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        if not isinstance(rule, SHARED_OUT):
            raise ConfigurationError(
                f"rules= gives {type(rule).__name__} to {name or 'a layer'}; decision paths can share a contribution "
                f"out by {', '.join(kind.__name__ for kind in SHARED_OUT)}. Give one of these."
            )
        with torch.no_grad():
            output = compute(read.detach())
        output = output.detach().requires_grad_()
        self.layers.append(CutLayer(name or "functional", read, layer, rule, output))
        out: Any = _Begin.apply(output)
        return output, out


def run_in_pieces(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    target: Tensor | None,
    composite: Composite,
    *,
    names_from: nn.Module,
) -> PiecewisePass:
    """Run the model once, layer by layer; call it inside `explaining`.

    Raises:
        ConfigurationError: A layer or operation that contributions cannot pass, by name.
        ExplanationError: The output does not depend on the inputs, or is NaN or infinite.
    """
    check_names(names_from, composite)
    parts = tuple(part.detach().clone().requires_grad_(part.is_floating_point()) for part in inputs)
    cutter = _Cutter()
    trace = RelevanceTrace(names_from, composite, parts, Choices("cp"), cut=cutter)
    with checkpointing_off(), trace:
        score = explained_score(model(*parts), target)
    if not score.requires_grad or not cutter.layers:
        raise ExplanationError(
            "The model's output does not depend on its input through linear layers or convolutions that can be "
            "followed (was it detached, or computed with no_grad?), so there is no path to follow."
        )
    trace.layers.check()
    check_finite(parts, score.detach())
    found = PiecewisePass(parts, _used(parts, cutter.layers, score), score)
    _check_samples_first(found)
    for tensor in (score, *(layer.read for layer in found.layers)):
        check_passable(tensor, found.sources, trace, refusal="Decision paths cannot follow")
    return found


def _check_samples_first(found: PiecewisePass) -> None:
    """Refuse layers whose first dimension is not that of the samples: their units could not be assigned to samples."""
    n_samples = len(found.score)
    mixed = [layer for layer in found.layers if len(layer.output) != n_samples]
    if mixed:
        raise ConfigurationError(
            "Decision paths cannot follow "
            + ", ".join(f"{layer.name!r} (output {list(layer.output.shape)})" for layer in mixed[:8])
            + f": the first dimension must be that of the {n_samples} samples, which it is not in recurrent layers and "
            "where steps or tokens are merged with samples. Keep samples in a dimension of their own, or explain this "
            "model by IntegratedGradients."
        )


def sources_of(tensor: Tensor, sources: Sequence[Tensor]) -> list[int]:
    """Return the places of the leaves that a tensor is computed from."""
    if any(tensor is leaf for leaf in sources):
        return [place for place, leaf in enumerate(sources) if leaf is tensor]
    nodes = dependent_nodes(tensor.grad_fn, sources)
    found = {id(node.variable) for node in nodes if operation_of(node) == "torch::autograd::AccumulateGrad"}
    return [place for place, leaf in enumerate(sources) if id(leaf) in found]


def _used(inputs: tuple[Tensor, ...], layers: Sequence[CutLayer], score: Tensor) -> tuple[CutLayer, ...]:
    """Remove layers that do not contribute to the score, and those merged into a BatchNorm; number the calls."""
    leaves = (*inputs, *(layer.output for layer in layers))
    wanted = set(sources_of(score, leaves))
    for place in reversed(range(len(inputs), len(leaves))):
        if place in wanted:
            wanted.update(sources_of(layers[place - len(inputs)].read, leaves))
    used: list[CutLayer] = []
    calls: dict[str, int] = {}
    for place, layer in enumerate(layers, len(inputs)):
        if place in wanted:
            call = calls.get(layer.name, 0)
            calls[layer.name] = call + 1
            used.append(replace(layer, name=f"{layer.name}#{call}" if call else layer.name))
    return tuple(used)
