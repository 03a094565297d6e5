"""Running a model so that its backward pass is relevance propagation.

Linear, convolution, BatchNorm and activation *functions* are taken over while the model runs, whichever module
calls them. So nothing is put on any module, and functional calls and subclasses are treated like layers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lightning_explain.attribution.lrp_calls import LAYER_FUNCTIONS, layer_of, scaling_of
from lightning_explain.attribution.lrp_composites import ByLayer, Composite, rule_for
from lightning_explain.attribution.lrp_graph import Node, dependent_nodes, is_input
from lightning_explain.attribution.lrp_input_rules import AnyRule, InputRule
from lightning_explain.attribution.lrp_maps import AffineMap, Dense
from lightning_explain.errors import ConfigurationError

NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}

# ReLU and its leaky kin need no care: their gradient already is output / input
ACTIVATION_FUNCTIONS = frozenset({
    functional.relu6, functional.hardtanh, functional.gelu, functional.silu, functional.mish, functional.elu,
    functional.selu, functional.celu, functional.hardswish, functional.softsign, functional.tanh,
    torch.tanh, Tensor.tanh,
})  # fmt: skip
RELU_FUNCTIONS = frozenset({functional.relu, functional.relu_, torch.relu_, Tensor.relu_})
IN_PLACE_FUNCTIONS = RELU_FUNCTIONS | {
    Tensor.add_, Tensor.sub_, Tensor.mul_, Tensor.div_,
    Tensor.__iadd__, Tensor.__isub__, Tensor.__imul__, Tensor.__itruediv__,
}  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """What a layer read, the map it applied, its rule, and its name where it has one."""

    read: Tensor
    layer: AffineMap
    rule: AnyRule
    name: str | None = None


Cut = Callable[[Tensor, AffineMap, AnyRule, str | None, Callable[[Tensor], Tensor]], tuple[Tensor, Tensor]]
"""Takes what a layer read, its map, rule, name and computation; returns its output as a leaf, where the graph begins
anew, and as what the model goes on with."""


class _Ruled(torch.autograd.Function):
    """A layer whose backward pass is its rule."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, call: _Call, compute: Callable[[Tensor], Tensor]) -> Tensor:
        z = compute(a)
        ctx.layer, ctx.rule = call.layer, call.rule
        ctx.save_for_backward(a)
        # not a copy: the trace makes one, or accepts the change, when something writes into z
        ctx.output = z.detach()
        ctx.version = z._version
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (a,) = ctx.saved_tensors
        layer, rule = ctx.layer, ctx.rule
        z, ctx.output = ctx.output, None
        if z is None or z._version != ctx.version:
            # it was let go of when a BatchNorm took the layer over, or something that the trace did not see wrote in it
            z = layer.apply(a, layer.weight, layer.bias)
        if isinstance(rule, InputRule):
            return rule.relevance(layer, a, z, z * gradients[0]), None, None
        return rule.modified_gradient(layer, a, z, gradients[0]), None, None


class _PassedActivation(torch.autograd.Function):
    """An elementwise activation that hands relevance on unchanged: its gradient is output / input."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        a = function(z)
        ctx.save_for_backward(torch.where(z == 0, torch.zeros_like(z), a / z))
        return a

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (ratio,) = ctx.saved_tensors
        return gradients[0] * ratio, None


def _named(name: str | None, kind: type[nn.Module]) -> str:
    return f"a functional {kind.__name__}" if name is None else f"{name!r} ({kind.__name__})"


def _view(tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
    """Run `view`, also on what is a view only for channels-first images."""
    try:
        return tensor.view(*args, **kwargs)
    except RuntimeError:
        return tensor.contiguous().view(*args, **kwargs)


def _activation(function: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
    """Run an activation so that it hands relevance on; the only boolean among its options is `inplace`."""
    z: Tensor = args[0] if args else kwargs["input"]
    if not z.requires_grad:
        return function(*args, **kwargs)
    in_place = kwargs.get("inplace", False) or any(option is True for option in args[1:])
    options = tuple(False if option is True else option for option in args[1:])
    named = {key: value for key, value in kwargs.items() if key not in ("input", "inplace")}

    def compute(read: Tensor) -> Tensor:
        return function(read, *options, **named)

    out: Any = _PassedActivation.apply(z.clone() if in_place else z, compute)
    return z.copy_(out) if in_place else out


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
        self.nodes: dict[Node, _Call] = {}
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
        if func in IN_PLACE_FUNCTIONS:
            return self._in_place(func, args, kwargs)
        if func in LAYER_FUNCTIONS:
            return self._linear(func, args, kwargs)
        if func is functional.batch_norm:
            return self._batch_norm(args, kwargs)
        if func in ACTIVATION_FUNCTIONS:
            return _activation(func, args, kwargs)
        if func is Tensor.view:
            return _view(args[0], args[1:], kwargs)
        return func(*args, **kwargs)

    def _in_place(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Before something writes into a layer's output, give the layer a copy to keep.

        A ReLU needs none: where it writes, the gradient is zero, and with it the relevance.
        """
        written: Any = args[0] if args else kwargs.get("input")
        node: Any = written.grad_fn if written is not None else None
        if node not in self.nodes or node.output is None or node.output._version != node.version:
            return function(*args, **kwargs)
        if function not in RELU_FUNCTIONS:
            node.output = node.output.clone()
        result = function(*args, **kwargs)
        node.version = node.output._version
        return result

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

    def _batch_norm(self, args: Any, kwargs: Any) -> Tensor:
        z, scaling = scaling_of(*args, **kwargs)
        if not z.requires_grad:
            return functional.batch_norm(*args, **kwargs)

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
        self.merged[node] = y.grad_fn
        node.output = None
        return y

    def _ruled(self, call: _Call, compute: Callable[[Tensor], Tensor]) -> Tensor:
        if self._cut is None:
            out: Any = _Ruled.apply(call.read, call, compute)
        else:
            leaf, out = self._cut(call.read, call.layer, call.rule, call.name, compute)
            self._beginnings.append(leaf)
        self.nodes[out.grad_fn] = call
        return out

    def _call(self, a: Tensor, layer: AffineMap, name: str | None, kind: type[nn.Module]) -> _Call:
        """Find the rule; a layer with an input rule reads a leaf of its own, at which its relevance arrives."""
        reads_input = is_input(a, self._inputs)
        rule = rule_for(self._rules.input_rules, name, kind) if reads_input else None
        rule = rule or rule_for(self._rules.layer_rules, name, kind)
        if rule is None:
            raise ConfigurationError(f"LRP has no rule for {_named(name, kind)}. Add one for its name or type.")
        if not isinstance(rule, InputRule):
            return _Call(a, layer, rule, name)
        if not reads_input:
            raise ConfigurationError(
                f"{type(rule).__name__} was given to {_named(name, kind)}, which does not read the model's input. "
                "Give it to a layer that does, and EpsilonRule, GammaRule or ZPlusRule to this one."
            )
        leaf = a.detach().requires_grad_()
        self.first_layers.append((a, leaf))
        return _Call(leaf, layer, rule, name)

    def _owner(self, tensors: Iterable[Any], kind: type[nn.Module]) -> tuple[str | None, type[nn.Module]]:
        """Find the layer that a parameter or buffer belongs to: its name, and its type if that is a `kind`."""
        found = next((self._owners[id(tensor)] for tensor in tensors if id(tensor) in self._owners), None)
        if found is None:
            return None, kind
        name, own_kind = found
        return name, own_kind if issubclass(own_kind, kind) else kind
