"""Running a model so that its backward pass is relevance propagation.

torch functions are taken over while the model runs, whichever module calls them. So nothing is put on any module, and
functional calls and subclasses are treated like layers.
"""

from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.weak import WeakTensorKeyDictionary

from lightning_explain.attribution.autograd_graph import EXPANDED, Node, operation_of
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.composites import Composite
from lightning_explain.attribution.lrp.maps import AffineMap
from lightning_explain.attribution.lrp.module_calls import ModuleCalls
from lightning_explain.attribution.lrp.module_rules import Cut, Layers
from lightning_explain.attribution.lrp.operations.functions import (
    ACTIVATIONS,
    COMPARES,
    HANDLERS,
    KEEPS_RANK,
    UNOPENED,
)
from lightning_explain.attribution.lrp.operations.gates import Rank
from lightning_explain.attribution.lrp.operations.handler import (
    CONVERSIONS,
    Handler,
    Operation,
    name_of,
    opened,
    out_of_place,
    sequence_number,
    tensors_in,
    works_in_place,
)
from lightning_explain.attribution.lrp.softmax_losses import Expansion, Lost
from lightning_explain.attribution.lrp.steps import OWN
from lightning_explain.errors import ConfigurationError


class RelevanceTrace(TorchFunctionMode):
    """Inside this context the model computes what it always does, and goes backward by the rules of its operations.

    Args:
        model: The model, for the names of its layers; it is only read.
        composite: The rules of layers.
        inputs: The explained inputs: leaves that require grad, or what is only carried along.
        choices: The rules of attention and gates.
        cut: If given, it makes each layer's output, so that the layers can be walked one by one instead.

    Attributes:
        given: The inputs as the model is to get them; it may write into them.
        layers: The layers of this pass.
        attention: Of each attention the path of its module, the place and value of its output, and the number of heads
            where its first dimension counts samples and heads.
        expansions: The operations that lose relevance, softmaxes.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite,
        inputs: tuple[Tensor, ...],
        choices: Choices,
        *,
        cut: Cut | None = None,
    ) -> None:
        super().__init__()
        self.choices, self._inputs = choices, inputs
        self.given = tuple(part.clone() if part.requires_grad else part for part in inputs)
        self._calls = ModuleCalls(model)
        self.layers = Layers(self._calls, composite, (*inputs, *self.given), cut)
        self.attention: list[tuple[str, GradientEdge, Tensor, int]] = []
        self.expansions: list[Expansion] = []
        self._handlers: dict[str, Handler] = {**HANDLERS, **self.layers.handlers()}
        self._ranks, self._compared = WeakTensorKeyDictionary(), WeakTensorKeyDictionary()
        self._trusted: list[tuple[int, int]] = []
        self._opened: list[Any] = []
        self._made: list[tuple[int, int, Any]] = []
        self._depth = 0

    def __enter__(self) -> "RelevanceTrace":
        if self._depth == 0:
            self._calls.__enter__()
        self._depth += 1
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._depth -= 1
        if self._depth == 0:
            self._calls.__exit__(kind, error, trace)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one torch function by its rule; one that does not depend on the inputs as it is."""
        del types
        # on the way back, and wherever the model itself wants no gradient
        if not torch.is_grad_enabled():
            return func(*args, **(kwargs or {}))
        name, in_place = name_of(func)
        if name == "get":
            # most attributes are no tensors
            found = func(*args)
            if not isinstance(found, Tensor):
                return found
        operation = Operation(func, name, args, kwargs or {}, in_place)
        tensors = operation.tensors()
        if not any(map(self.depends, tensors)):
            return self._independent(operation, tensors)
        if operation.name in CONVERSIONS:
            self._refuse_decision(operation)
        began = sequence_number()
        try:
            return self._dependent(operation, tensors)
        finally:
            self._made.append((began, sequence_number(), func))

    def _dependent(self, operation: Operation, tensors: Sequence[Tensor]) -> Any:
        """Run an operation that depends on the inputs by its rule."""
        handler = self._handlers.get(operation.name)
        if handler is None:
            if operation.in_place:
                self.layers.before_write(operation.args[0])
            return self._other(operation, tensors)
        if works_in_place(operation) and operation.name != "relu":
            return self._written(operation, handler)
        return handler(self, operation)

    def _independent(self, operation: Operation, tensors: Sequence[Tensor]) -> Any:
        """Run an operation that does not depend on the inputs, but look after truth values that do."""
        if not self._compared or not any(tensor in self._compared for tensor in tensors):
            return operation.run()
        if operation.name in CONVERSIONS:
            self._refuse_decision(operation)
        result = operation.run()
        self._note_comparison(result)
        return result

    def _written(self, operation: Operation, handler: Handler) -> Tensor:
        """Work out of place, and write the result where it belongs."""
        target: Tensor = operation.args[0] if operation.args else operation.kwargs["input"]
        if operation.name in ACTIVATIONS and self.depends(target) and not target._is_view():
            return handler(self, operation)
        self.layers.before_write(target)
        copied = out_of_place(operation)
        self.note_rank(copied.args[0], self.rank(target))
        result: Tensor = handler(self, copied)
        target.copy_(result)
        self.note_rank(target, self.rank(result))
        return target

    def _other(self, operation: Operation, tensors: Sequence[Tensor]) -> Any:
        """Run an operation without a rule of its own: the graph shows if relevance may pass it."""
        # methods of `Tensor` written in Python call the one of their base class, which torch takes for the same
        is_open = operation.name in UNOPENED or operation.function in self._opened
        function = None if is_open else opened(operation.function)
        result = operation.run() if function is None else self._run_inside(operation, function)
        if operation.name in COMPARES:
            self._note_comparison(result)
        if self._ranks and function is None:
            self._carry_rank(operation, tensors, result)
        return result

    def _run_inside(self, operation: Operation, function: Callable[..., Any]) -> Any:
        self._opened.append(operation.function)
        try:
            with self.inside():
                return function(*operation.args, **operation.kwargs)
        finally:
            self._opened.pop()

    def _carry_rank(self, operation: Operation, tensors: Sequence[Tensor], result: Any) -> None:
        explained = [tensor for tensor in tensors[: operation.n_read] if self.depends(tensor)]
        is_kept = operation.name in KEEPS_RANK and bool(explained)
        if is_kept or operation.in_place:  # what is written in place has become its own operand
            self.note_rank(result, min(map(self.rank, explained)) if is_kept else Rank.SIGNAL)

    def _note_comparison(self, result: Any) -> None:
        for tensor in tensors_in(result):
            self._compared[tensor] = True

    def _refuse_decision(self, operation: Operation) -> None:
        raise ConfigurationError(
            f"{self._calls.described()} turns values computed from its input into a {operation.name.strip('_')} of "
            "Python (as `if x.mean() > 0:` does), and LRP cannot say what that decision is worth. Write it with "
            "torch.where, take it from what is not explained (a mask, x.shape), or explain this model by "
            "IntegratedGradients."
        )

    # ---- what the rules of operations ask for

    def depends(self, value: Any) -> bool:
        """Return True for a tensor that is computed from the explained inputs; parameters require grad too."""
        if not isinstance(value, Tensor) or not value.requires_grad:
            return False
        return value.grad_fn is not None or any(value is part for part in self.leaves)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The explained inputs, and the leaves of the layers with an input rule."""
        return (*(part for part in self._inputs if part.requires_grad), *(leaf for _, leaf in self.layers.first))

    def rank(self, tensor: Tensor) -> int:
        """Return a tensor's rank as a gate."""
        return int(self._ranks.get(tensor) or Rank.SIGNAL)

    def note_rank(self, result: Any, rank: int) -> None:
        """Remember a result's rank as a gate."""
        for tensor in tensors_in(result):
            if rank:
                self._ranks[tensor] = rank
            else:
                self._ranks.pop(tensor, None)

    def kept(self, target: Tensor) -> Tensor:
        """Return the current values of a tensor, for when something has written into it."""
        return self.layers.copy_of(target)

    def layer(self, a: Tensor, layer: AffineMap, kind: type[nn.Module], tensors: Sequence[Any]) -> Tensor:
        """Apply a layer by the rule that the composite has for it."""
        return self.layers.apply(a, layer, kind, tensors)

    @contextmanager
    def inside(self) -> Generator[None, None, None]:
        """Meet the operations inside another one."""
        with self:
            yield

    @contextmanager
    def trusted(self) -> Generator[None, None, None]:
        """Accept operations inside with their own gradients."""
        began = sequence_number()
        try:
            yield
        finally:
            self._trusted.append((began, sequence_number()))

    def expands(self, output: Tensor, lost: Lost) -> None:
        """Take note of an operation that hands on a Taylor expansion: what is lost of the gradient at its output."""
        if output.requires_grad:
            self.expansions.append(Expansion(output.grad_fn, lost))

    def heads(self, output: Tensor) -> Tensor:
        """Take note of the output of an attention, [batch, heads, tokens, dimensions], and return it."""
        current = self._calls.current
        n_heads = self._calls.n_heads if output.ndim == 3 else 0
        if output.requires_grad and (output.ndim == 4 or n_heads):
            edge = get_gradient_edge(output)
            self.attention.append((current[0] if current else "", edge, output.detach(), n_heads))
        return output

    def state(self, hidden: Tensor, part: str) -> Tensor:
        """Return a recurrent layer's state as it is."""
        del part
        return hidden

    # ---- what the graph is checked by

    @property
    def remedy(self) -> str:
        """Advice for an operation without a rule."""
        known = "matrix products, convolutions, activations, softmax, normalisations, sums, products, indexing"
        return f"Write it in operations that LRP knows ({known})"

    def accepts(self, node: Node) -> bool:
        """Return True for a node that one of our rules made."""
        if node in self.layers.nodes:
            return True
        made_by = getattr(node, "_forward_cls", None)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return made_by in OWN
        return operation_of(node) in EXPANDED or self._is_trusted(node._sequence_nr())

    def _is_trusted(self, number: int) -> bool:
        place = bisect_right(self._trusted, (number, number + 1))
        return any(began <= number < end for began, end in self._trusted[max(0, place - 1) : place + 1])

    def function(self, node: Node) -> str:
        """Return the torch function that made a node, as a user writes it; empty if none did."""
        number = node._sequence_nr()
        around = [(end - began, made) for began, end, made in self._made if began <= number < end]
        innermost: Any = min(around, key=lambda found: found[0], default=(0, None))[1]
        if innermost is None:
            return ""
        return resolve_name(innermost) or getattr(innermost, "__name__", str(innermost))

    def maker(self, node: Node) -> str:
        """Return path and type of the module that made a node; empty if none did."""
        return self._calls.maker(node._sequence_nr())
