"""Calls of linear layers, convolutions and batch norms: which rule each has, and what it keeps for its way back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from lightning_explain.attribution.autograd_graph import Node, is_input, readers_of
from lightning_explain.attribution.lrp.calls import layer_of, scaling_of
from lightning_explain.attribution.lrp.chosen_rules import ChosenRule
from lightning_explain.attribution.lrp.composites import ByLayer, Composite, rule_for
from lightning_explain.attribution.lrp.input_rules import AnyRule, InputRule
from lightning_explain.attribution.lrp.maps import AffineMap, Convolution, Dense
from lightning_explain.attribution.lrp.module_calls import ModuleCalls
from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer
from lightning_explain.attribution.lrp.operations.products import product
from lightning_explain.attribution.lrp.rules import ZeroRule
from lightning_explain.attribution.lrp.steps import RelevanceCall, Ruled, keep, keeps, merged
from lightning_explain.errors import ConfigurationError

KINDS: dict[str, type[nn.Module]] = {
    "linear": nn.Linear,
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
    "conv_transpose1d": nn.ConvTranspose1d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}
"""Type of layer by the name of its function."""
NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}

Cut = Callable[[Tensor, AffineMap, AnyRule, str | None, Callable[[Tensor], Tensor]], Tensor]
"""Takes what a layer read, its map, rule, name and computation; returns what the model goes on with."""


def _named(name: str | None, kind: type[nn.Module]) -> str:
    return f"a functional {kind.__name__}" if name is None else f"{name!r} ({kind.__name__})"


class Layers:
    """Runs the layers of one pass by their rules.

    Args:
        calls: Tells which module makes a call.
        composite: The rules.
        inputs: The explained inputs, as leaves and as the model was given them.
        cut: If given, it makes each layer's output, so that the layers can be walked one by one instead.

    Attributes:
        nodes: The layers' places in the autograd graph.
        first: For layers with an input rule: what they read, and the leaf at which autograd collects its relevance.
        merged: Place of a layer before a BatchNorm -> place of the BatchNorm into which it was merged.
        missing: Layers that have no rule.
    """

    def __init__(self, calls: ModuleCalls, composite: Composite, inputs: Sequence[Tensor], cut: Cut | None) -> None:
        self._calls, self._inputs, self._cut = calls, inputs, cut
        self._rules = ByLayer(composite.layer_rules, composite.input_rules)
        self._rectified: set[Node] = set()
        self.nodes: dict[Node, RelevanceCall] = {}
        self.first: list[tuple[Tensor, Tensor]] = []
        self.merged: dict[Node, Node] = {}
        self.missing: dict[str, None] = {}

    def apply(self, a: Tensor, layer: AffineMap, kind: type[nn.Module], tensors: Sequence[Any]) -> Tensor:
        """Apply a layer by the rule that it has."""
        name, kind = self._calls.caller(tensors, kind)
        call = self._call(a, layer, name, kind)

        def compute(read: Tensor) -> Tensor:
            return layer.apply(read, layer.weight, layer.bias)

        return self._ruled(call, compute)

    def batch_norm(self, tracer: Tracer, operation: Operation) -> Tensor:
        """Merge a batch norm with the layer before it, or apply it as a scaling of its own."""
        z, scaling = scaling_of(*operation.args, **operation.kwargs)
        del tracer

        def compute(_read: Tensor) -> Tensor:
            return scaling.apply(z, scaling.weight, scaling.bias)

        before = self.nodes.get(z.grad_fn)
        if before is None or not _takes_scaling(before.layer, z) or scaling.bias is None:
            given = (*operation.args[1:5], *operation.kwargs.values())
            name, kind = self._calls.caller(given, NORMS.get(z.ndim, nn.BatchNorm1d))
            return self._ruled(self._call(z, scaling, name, kind), compute)
        y = self._ruled(replace(before, scalings=(*before.scalings, (scaling.weight, scaling.bias))), compute)
        node: Node = z.grad_fn
        # what was merged into this one goes along
        self.merged |= dict.fromkeys([node, *(n for n, into in self.merged.items() if into is node)], y.grad_fn)
        node.output = None
        return y

    def relu(self, tracer: Tracer, operation: Operation) -> Tensor:
        """Let a layer keep the output of the ReLU after it instead of its own, also where that overwrites its own.

        It holds all that counts: where it is zero, the gradient is, and with it the relevance. So one tensor for each
        layer need not be kept. This is undone by `settle` where something else reads the layer's output too. Nothing
        can write into it, since autograd needs it for the ReLU.
        """
        del tracer
        z: Tensor = operation.args[0] if operation.args else operation.kwargs["input"]
        node: Node = z.grad_fn
        kept = node in self.nodes and keeps(node)
        result = operation.run()
        if kept:
            keep(node, result)
            self._rectified.add(node)
        return result

    def before_write(self, target: Tensor) -> None:
        """Before something writes into what a layer keeps, give the layer a copy of it."""
        node: Node = target.grad_fn
        if node in self.nodes and keeps(node):
            keep(node, node.output.clone())

    def copy_of(self, target: Tensor) -> Tensor:
        """Return a copy of a tensor that something will write into: the layer's, or one of its own."""
        self.before_write(target)
        node: Node = target.grad_fn
        # a layer may keep what a ReLU made of its output
        is_its = node in self.nodes and keeps(node) and node not in self._rectified
        return node.output if is_its else target.detach().clone()

    def settle(self, score: Tensor) -> None:
        """Give layers their own output back where not only ReLUs read it, and forget what was needed until here.

        Args:
            score: What is explained, with its graph.
        """
        if self._rectified:
            readers = readers_of(score.grad_fn)
            for node in self._rectified:
                if readers.get(node, set()) - {"Relu"}:
                    call, read = self.nodes[node], self.nodes[node].read.detach()
                    layer = merged(call.layer, call.scalings)
                    keep(node, layer.apply(read.to(layer.weight.dtype), layer.weight, layer.bias))
        # what the layers read would be kept until the end of the way back
        self.nodes.clear()
        self._rectified.clear()

    def check(self) -> None:
        """Refuse a pass in which a layer without a rule ran.

        Raises:
            ConfigurationError: Names the layers.
        """
        if self.missing:
            names = list(self.missing)
            raise ConfigurationError(
                f"LRP has no rule for {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}: the rules given name "
                "neither it nor its type. Add one for its name or type, e.g. EpsilonRule()."
            )

    def _ruled(self, call: RelevanceCall, compute: Callable[[Tensor], Tensor]) -> Tensor:
        if self._cut is None:
            out: Any = Ruled.apply(call.read, call, compute)
        else:
            out: Any = self._cut(call.read, merged(call.layer, call.scalings), call.rule, call.name, compute)
        self.nodes[out.grad_fn] = call
        return out

    def _call(self, a: Tensor, layer: AffineMap, name: str | None, kind: type[nn.Module]) -> RelevanceCall:
        """Find the rule; a layer with an input rule reads a leaf of its own, at which its relevance arrives."""
        reads_input = self._reads_input(a, name, kind)
        rule = rule_for(self._rules.input_rules, name, kind) if reads_input else None
        rule = rule or rule_for(self._rules.layer_rules, name, kind)
        if rule is None:
            self.missing[_named(name, kind)] = None
            rule = ZeroRule()
        if isinstance(rule, ChosenRule):
            rule = rule.choose(layer, a)
        if not isinstance(rule, InputRule):
            return RelevanceCall(a, layer, rule, name)
        if not reads_input:
            raise ConfigurationError(
                f"{type(rule).__name__} was given to {_named(name, kind)}, which does not read the model's input. "
                "Give it to a layer that does, and EpsilonRule, GammaRule or ZPlusRule to this one."
            )
        leaf = a.detach().requires_grad_()
        self.first.append((a, leaf))
        return RelevanceCall(leaf, layer, rule, name)

    def _reads_input(self, a: Tensor, name: str | None, kind: type[nn.Module]) -> bool:
        """Return True where it matters and holds that a layer reads the model's input."""
        candidates = (rule_for(rules, name, kind) for rules in (self._rules.input_rules, self._rules.layer_rules))
        return any(isinstance(rule, InputRule | ChosenRule) for rule in candidates) and is_input(a, self._inputs)

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers of the functions of layers."""
        return {
            **dict.fromkeys(KINDS, self._linear),
            "batch_norm": self.batch_norm,
            "relu": self.relu,
        }

    def _linear(self, tracer: Tracer, operation: Operation) -> Tensor:
        weight: Any = operation.args[1] if len(operation.args) > 1 else operation.kwargs["weight"]
        read: Any = operation.args[0] if operation.args else operation.kwargs["input"]
        if tracer.depends(weight):
            return product(tracer, operation, (read, weight), is_contraction=True)
        if not tracer.depends(read):
            return operation.run()
        a, layer = layer_of(KINDS[operation.name], operation.args, operation.kwargs)
        given = [part for part in (*operation.args[1:3], *operation.kwargs.values()) if isinstance(part, Tensor)]
        return self.apply(a, layer, KINDS[operation.name], given)


def _takes_scaling(layer: AffineMap, z: Tensor) -> bool:
    """Return True for layers that a batch norm behind them can be merged with.

    One over [batch, length, features] scales the length, which no linear layer can take over.
    """
    return isinstance(layer, Convolution) or (isinstance(layer, Dense) and z.ndim == 2)
