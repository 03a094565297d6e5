"""Running a model so that its backward pass is relevance propagation.

Linear, convolution, BatchNorm and activation *functions* are taken over while the model runs, whichever module
calls them. So nothing is put on any module, and functional calls and subclasses are treated like layers.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lightning_explain.attribution.lrp.calls import LAYER_FUNCTIONS, layer_of, scaling_of
from lightning_explain.attribution.lrp.composites import ByLayer, Composite, rule_for
from lightning_explain.attribution.lrp.graph import Node, dependent_nodes, is_input, readers_of
from lightning_explain.attribution.lrp.input_rules import AnyRule, InputRule
from lightning_explain.attribution.lrp.maps import AffineMap, Dense
from lightning_explain.attribution.lrp.steps import Call, Ruled, keep, keeps, passed_on
from lightning_explain.errors import ConfigurationError

NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}

# ReLU and its leaky kin need no care: their gradient already is output / input
ACTIVATION_FUNCTIONS = frozenset({
    functional.relu6, functional.hardtanh, functional.gelu, functional.silu, functional.mish, functional.elu,
    functional.selu, functional.celu, functional.hardswish, functional.softsign, functional.tanh,
    torch.tanh, Tensor.tanh,
})  # fmt: skip
RELU_FUNCTIONS = frozenset({
    functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_,
})  # fmt: skip
IN_PLACE_FUNCTIONS = frozenset({
    Tensor.add_, Tensor.sub_, Tensor.mul_, Tensor.div_,
    Tensor.__iadd__, Tensor.__isub__, Tensor.__imul__, Tensor.__itruediv__,
})  # fmt: skip
BATCH_NORM_FUNCTIONS = frozenset({functional.batch_norm})
VIEW_FUNCTIONS = frozenset({Tensor.view})


Cut = Callable[[Tensor, AffineMap, AnyRule, str | None, Callable[[Tensor], Tensor]], tuple[Tensor, Tensor]]
"""Takes what a layer read, its map, rule, name and computation; returns its output as a leaf, where the graph begins
anew, and as what the model goes on with."""


def _named(name: str | None, kind: type[nn.Module]) -> str:
    return f"a functional {kind.__name__}" if name is None else f"{name!r} ({kind.__name__})"


def _view(function: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
    """Run `view`, also on what is a view only for channels-first images."""
    try:
        return function(*args, **kwargs)
    except RuntimeError:
        return function(args[0].contiguous(), *args[1:], **kwargs)


class RelevanceTrace(TorchFunctionMode):
    """Inside this context the model's layers compute what they always do, and go backward by their rules.

    Args:
        model: The model, for the names of its layers; it is only read.
        composite: The rules.
        inputs: The explained inputs: leaves that require grad.
        cut: If given, it makes each layer's output, so that the layers can be walked one by one instead.

    Attributes:
        nodes: The layers' places in the autograd graph.
        first_layers: For layers with an input rule: what they read, and the leaf at which autograd collects its
            relevance.
        merged: Place of a layer before a BatchNorm -> place of the BatchNorm into which it was merged.
    """

    def __init__(
        self, model: nn.Module, composite: Composite, inputs: tuple[Tensor, ...], *, cut: Cut | None = None
    ) -> None:
        super().__init__()
        self._cut = cut
        self._beginnings: list[Tensor] = []
        self.nodes: dict[Node, Call] = {}
        self._rectified: set[Node] = set()
        self.first_layers: list[tuple[Tensor, Tensor]] = []
        self.merged: dict[Node, Node] = {}
        self._rules = ByLayer(composite.layer_rules, composite.input_rules)
        self._inputs = inputs
        self._owners: dict[int, tuple[str, type[nn.Module]]] = {}
        for name, module in model.named_modules():
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                # the first one, as in named_parameters, where modules share it
                self._owners.setdefault(id(tensor), (name, type(module)))

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The inputs, and the leaves of the layers with an input rule."""
        return (*self._inputs, *(leaf for _, leaf in self.first_layers))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take over the functions of layers and activations; run any other as it is."""
        del types
        kwargs = kwargs or {}
        taken_over = self._taken_over(func)
        return func(*args, **kwargs) if taken_over is None else taken_over(func, args, kwargs)

    def _taken_over(self, function: Callable[..., Any]) -> Callable[..., Any] | None:
        """Say what runs instead of a function, called with the function and its arguments; None if it does itself."""
        of_kind = (
            (RELU_FUNCTIONS, self._relu),
            (IN_PLACE_FUNCTIONS, self._in_place),
            (LAYER_FUNCTIONS, self._linear),
            (BATCH_NORM_FUNCTIONS, self._batch_norm),
            (ACTIVATION_FUNCTIONS, passed_on),
            (VIEW_FUNCTIONS, _view),
        )
        return next((run for functions, run in of_kind if function in functions), None)

    def _in_place(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Before something writes into what a layer keeps, give the layer a copy of it."""
        node: Node = args[0].grad_fn
        if node in self.nodes and keeps(node):
            keep(node, node.output.clone())
        return function(*args, **kwargs)

    def _relu(self, function: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
        """Let a layer keep the output of the ReLU after it instead of its own, also where that overwrites its own.

        It holds all that counts: where it is zero, the gradient is, and with it the relevance. So one tensor for each
        layer need not be kept. This is undone by `settle` where something else reads the layer's output too. Nothing
        can write into it, since autograd needs it for the ReLU.
        """
        z: Tensor = args[0] if args else kwargs["input"]
        node: Node = z.grad_fn
        kept = node in self.nodes and keeps(node)
        result = function(*args, **kwargs)
        if kept:
            keep(node, result)
            self._rectified.add(node)
        return result

    def settle(self, score: Tensor) -> None:
        """Give layers their own output back where not only ReLUs read it, and forget what was needed until here.

        Args:
            score: What is explained, with its graph.
        """
        if self._rectified:
            readers = readers_of(score.grad_fn)
            for node in self._rectified:
                if readers.get(node, set()) - {"Relu"}:
                    layer, read = self.nodes[node].layer, self.nodes[node].read.detach()
                    keep(node, layer.apply(read.to(layer.weight.dtype), layer.weight, layer.bias))
        # what the layers read would be kept until the end of the way back
        self.nodes.clear()
        self._rectified.clear()

    def _linear(self, function: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
        parameters = [given for given in (*args[1:3], *kwargs.values()) if isinstance(given, Tensor)]
        name, kind = self._owner(parameters, LAYER_FUNCTIONS[function])
        weight: Any = args[1] if len(args) > 1 else kwargs["weight"]
        if dependent_nodes(weight.grad_fn, (*self.leaves, *self._beginnings)):
            raise ConfigurationError(
                f"LRP has no rule for {_named(name, kind)}, whose weights are computed from the input. "
                "Explain this model by IntegratedGradients."
            )
        a, layer = layer_of(function, args, kwargs)
        if not a.requires_grad:
            return function(*args, **kwargs)
        call = self._call(a, layer, name, kind)

        def compute(read: Tensor) -> Tensor:
            return layer.apply(read, layer.weight, layer.bias)

        return self._ruled(call, compute)

    def _batch_norm(self, function: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
        z, scaling = scaling_of(*args, **kwargs)
        if not z.requires_grad:
            return function(*args, **kwargs)

        def compute(_read: Tensor) -> Tensor:
            return scaling.apply(z, scaling.weight, scaling.bias)

        before = self.nodes.get(z.grad_fn)
        # a BatchNorm over [batch, length, features] scales the length, which no linear layer can take over
        if before is None or (isinstance(before.layer, Dense) and z.ndim != 2) or scaling.bias is None:
            name, kind = self._owner((*args[1:5], *kwargs.values()), NORMS.get(z.ndim, nn.BatchNorm1d))
            return self._ruled(self._call(z, scaling, name, kind), compute)
        merged = before.layer.rescaled(scaling.weight, scaling.bias)
        y = self._ruled(replace(before, layer=merged), compute)
        node: Node = z.grad_fn
        # what was merged into this one goes along
        self.merged |= dict.fromkeys([node, *(n for n, into in self.merged.items() if into is node)], y.grad_fn)
        node.output = None
        return y

    def _ruled(self, call: Call, compute: Callable[[Tensor], Tensor]) -> Tensor:
        if self._cut is None:
            out: Any = Ruled.apply(call.read, call, compute)
        else:
            leaf, out = self._cut(call.read, call.layer, call.rule, call.name, compute)
            self._beginnings.append(leaf)
        self.nodes[out.grad_fn] = call
        return out

    def _call(self, a: Tensor, layer: AffineMap, name: str | None, kind: type[nn.Module]) -> Call:
        """Find the rule; a layer with an input rule reads a leaf of its own, at which its relevance arrives."""
        reads_input = is_input(a, self._inputs)
        rule = rule_for(self._rules.input_rules, name, kind) if reads_input else None
        rule = rule or rule_for(self._rules.layer_rules, name, kind)
        if rule is None:
            raise ConfigurationError(f"LRP has no rule for {_named(name, kind)}. Add one for its name or type.")
        if not isinstance(rule, InputRule):
            return Call(a, layer, rule, name)
        if not reads_input:
            raise ConfigurationError(
                f"{type(rule).__name__} was given to {_named(name, kind)}, which does not read the model's input. "
                "Give it to a layer that does, and EpsilonRule, GammaRule or ZPlusRule to this one."
            )
        leaf = a.detach().requires_grad_()
        self.first_layers.append((a, leaf))
        return Call(leaf, layer, rule, name)

    def _owner(self, tensors: Iterable[Any], kind: type[nn.Module]) -> tuple[str | None, type[nn.Module]]:
        """Find the layer that a parameter or buffer belongs to: its name, and its type if that is a `kind`."""
        found = next((self._owners[id(tensor)] for tensor in tensors if id(tensor) in self._owners), None)
        if found is None:
            return None, kind
        name, own_kind = found
        return name, own_kind if issubclass(own_kind, kind) else kind
