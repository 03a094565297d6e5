"""Tracing of a forward pass: the axes after each operation, input and output of each module call."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lightning_explain.capture.padding_masks import KEEPING, LEAVING_OUT, MaskSource, arguments_of
from lightning_explain.capture.watched_layers import ACTIVATIONS
from lightning_explain.neurons.axes import (
    Axis,
    Dim,
    Dims,
    chosen,
    fresh,
    fresh_dims,
    has_units,
    only_units,
    size_of,
    sources,
)
from lightning_explain.neurons.forward_trace import ForwardTrace, FunctionCall, ModuleCall
from lightning_explain.neurons.operations.axis_rules import dims_after
from lightning_explain.neurons.operations.operation import AxisOperation, tensors_in

GETTERS = frozenset(["T", "mT", "H", "mH", "data", "real"])
BLOCKS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.TransformerEncoder, nn.TransformerDecoder)


def name_of(function: Any) -> str:
    """Return the name of a torch function without the trailing underscore of in-place functions."""
    name = getattr(getattr(function, "overloadpacket", function), "__name__", "")
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", "")
        return name if name in GETTERS else ""
    return name if name.startswith("__") else name.rstrip("_")


def batch_first_of(module: nn.Module) -> bool | None:
    """Return True if a torch module takes samples first; None for one that does not state it."""
    inner: Any = module
    if isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder):
        inner = module.layers[0]
    if isinstance(inner, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        inner = inner.self_attn
    known = isinstance(inner, nn.RNNBase | nn.MultiheadAttention | nn.Transformer)
    return bool(vars(inner)["batch_first"]) if known else None


def _put_back(taken: Dim, given: Dim) -> tuple[Dim, Dim]:
    """Return a dimension of a tensor that is written to, and what it holds afterwards.

    Args:
        taken: That dimension, or entries chosen from it: those that are written.
        given: What is written there.
    """
    choice = taken[0].axis.root.choice if len(taken) == 1 else None
    if choice is None or choice.order is None or len(choice.order) != size_of(choice.of):
        return taken, given
    back = torch.empty_like(choice.order)
    back[choice.order] = torch.arange(len(back), device=back.device)
    return choice.of, chosen(given, back, len(back))


def _unsorted(sequence: PackedSequence, dims: Dims) -> Dims:
    """Return the dimensions of a packed sequence whose samples are taken in the order in which they are unpacked."""
    both = dims[0][0].axis.root.packed if dims[0] else None
    order: Any = sequence.unsorted_indices
    if both is None or order is None:
        return dims
    samples = chosen(both[0], order, size_of(both[0]))
    axis = Axis(packed=(samples, both[1]))
    return (fresh(size_of(dims[0]), axis=axis), *dims[1:])


class AxisTracer(TorchFunctionMode):
    """Follows axes through every function that is called while it is active.

    Args:
        model: The model whose modules' calls are noted.
        functions: Names of functions whose calls are noted.
    """

    def __init__(self, model: nn.Module, functions: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.trace = ForwardTrace()
        self._modules = list(model.modules())
        self._wanted = functions
        self._running: list[nn.Module] = []
        self._known: Any = WeakTensorKeyDictionary()
        self._given: Any = WeakTensorKeyDictionary()
        self._votes: list[Axis] = []

    def dims(self, tensor: Any) -> Dims | None:
        """Return the dimensions of a tensor; None if it is not known to depend on the inputs."""
        return self._known.get(tensor) if isinstance(tensor, Tensor) else None

    # -- functions ---------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        name = name_of(func)
        first = args[0] if args and isinstance(args[0], Tensor) else None
        before = self.dims(first)
        source = None if first is None else self._given.get(first)
        out = func(*args, **kwargs)
        if name == "__setitem__":
            self._written(args)
        elif name and not name.startswith("_backward"):
            self._follow(name, args, kwargs, out)
        if name in self._wanted and first is not None and before is not None and isinstance(out, Tensor):
            gave = self.dims(out) or fresh_dims(out.shape, origin="lost")
            inside = tuple(self._running)
            call = len(self.trace.calls.get(inside[-1], ())) if inside else 0
            self.trace.functions.append(FunctionCall(name, func, tuple(args[1:]), kwargs, inside, call, source, gave))
        return out

    def _follow(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        results = [out] if isinstance(out, Tensor) else list(out) if isinstance(out, list | tuple) else []
        results = [result for result in results if isinstance(result, Tensor)]
        if not results or not any(part in self._known for part in tensors_in([args, kwargs])):
            return
        if name in ("_pad_packed_sequence", "_pack_padded_sequence"):
            self._packed(name, args, results[0])
            return
        found = [dims_after(AxisOperation(name, args, kwargs, each, i, self.dims)) for i, each in enumerate(results)]
        for result, dims in zip(results, found, strict=True):
            self._known[result] = dims

    def _packed(self, name: str, args: Any, result: Tensor) -> None:
        """Pack the steps of sequences into one dimension, and unpack them: the axis created here remembers both."""
        source, batch_first = self.dims(args[0]), args[2]
        assert source is not None
        if name == "_pack_padded_sequence":
            both = (source[0], source[1]) if batch_first else (source[1], source[0])
            axis = Axis()
            axis.packed = both
            self._known[result] = ((*fresh(result.shape[0], axis=axis),), *source[2:])
            return
        batch, steps = source[0][0].axis.root.packed or (fresh(result.shape[0]), fresh(result.shape[1]))
        size = result.shape[1 if batch_first else 0]
        steps = steps if size_of(steps) == size else fresh(size)
        self._known[result] = (*((batch, steps) if batch_first else (steps, batch)), *source[1:])

    def _written(self, args: Any) -> None:
        """Update a tensor's axes by those of values written into a part of it."""
        target, index, value = args
        given = self.dims(value)
        mine = self.dims(target)
        if given is None or (mine is not None and has_units(mine)):
            return
        blank = fresh_dims(target.shape)
        part = target.detach()[index]

        def lookup(tensor: Any) -> Dims | None:
            return blank if tensor is target else None

        taken = dims_after(AxisOperation("__getitem__", (target, index), {}, part, 0, lookup))
        pairs = dict(map(_put_back, taken[::-1], given[::-1]))
        self._known[target] = tuple(
            pairs[dim] if dim in pairs and size_of(pairs[dim]) == size_of(dim) else dim for dim in blank
        )

    # -- modules -----------------------------------------------------------------------------------------------

    @contextmanager
    def following(self, given: Any, reordered: Sequence[Tensor] = ()) -> Generator[None, None, None]:
        """Trace one forward pass.

        Args:
            given: Its arguments.
            reordered: Those whose first dimension holds the batch's samples in another order.
        """
        inputs = [tensor for tensor in tensors_in(given) if tensor.ndim and tensor not in self._known]
        for tensor in inputs:
            dims = fresh_dims(tensor.shape, origin="input")
            moved = any(tensor is each for each in reordered)
            self._known[tensor] = (chosen(dims[0], None, len(tensor)), *dims[1:]) if moved else dims
        handles = [
            handle
            for module in self._modules
            for handle in (
                module.register_forward_pre_hook(self._enter, with_kwargs=True),
                module.register_forward_hook(self._leave, with_kwargs=True),
            )
        ]
        try:
            with self:
                yield
        finally:
            self._running = []
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._running.append(module)
        named = arguments_of(module, args, kwargs) if kwargs or len(args) > 1 else {}
        for parameter in (*KEEPING, *LEAVING_OUT):
            mask = named.get(parameter)
            if isinstance(mask, Tensor) and mask.ndim == 2:
                self._masked(module, parameter, named)

    def _masked(self, module: nn.Module, parameter: str, named: Mapping[str, Any]) -> None:
        """Record the tokens that a mask refers to: those of the sequence passed beside it."""
        mask = named[parameter]
        prefix = parameter.partition("_")[0]
        own = [part for name, part in named.items() if name != parameter and name.startswith(prefix)]
        others = own if prefix in ("src", "tgt", "memory", "key", "decoder") else list(named.values())
        first = batch_first_of(module) is not False
        shape = tuple(mask.shape) if first else tuple(mask.shape)[::-1]
        for part in others:
            dims = self.dims(part)
            if part is mask or dims is None or tuple(part.shape[:2]) != shape or has_units(dims[:2]):
                continue
            tokens = dims[1 if first else 0]
            if len(tokens) == 1:
                self.trace.masks.append((tokens[0].axis, MaskSource(module, parameter)))
                return

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._running and self._running[-1] is module:
            self._running.pop()
        given = tensors_in([args, kwargs])
        took = self.dims(given[0]) if given else None
        if isinstance(module, nn.RNNBase):
            self._recurrent(module, args[0] if args else kwargs.get("input"), output)
        first = batch_first_of(module)
        if first is not None and took is not None and len(took) == 3:
            self._votes += sources(took[0 if first else 1])
        result = next((part for part in tensors_in(output)), None)
        calls = self.trace.calls.setdefault(module, [])
        countable = result is not None and result.is_floating_point() and result.ndim >= 2 and not result.is_nested
        gave = self.dims(result)
        if isinstance(output, tuple) and isinstance(output[0], PackedSequence) and gave is not None:
            gave = _unsorted(output[0], gave)
        calls.append(ModuleCall(took, gave, countable))
        # the innermost module that returned a tensor is the one that made it
        makes = isinstance(output, Tensor) and not isinstance(module, ACTIVATIONS)
        if makes and module is not self._modules[0] and output not in self._given:
            self._given[output] = (module, len(calls) - 1)

    def _recurrent(self, module: nn.RNNBase, given: Any, output: Any) -> None:
        """Set the axes of a recurrent layer's output: hidden units in the last dimension."""
        packed = isinstance(given, PackedSequence)
        took = self.dims(given.data if packed else given)
        sequence, state = output[0].data if packed else output[0], output[1]
        if took is None:
            return
        self._known[sequence] = (*only_units(took)[:-1], fresh(sequence.shape[-1], units=True))
        samples = (
            (_unsorted(given, took)[0][0].axis.packed or took)[0] if packed else took[0 if module.batch_first else -2]
        )
        for each in state if isinstance(state, tuple) else (state,):
            lead = (fresh(each.shape[0]), samples)[-(each.ndim - 1) :] if each.ndim == 3 else (fresh(each.shape[0]),)
            self._known[each] = (*only_units(lead), fresh(each.shape[-1], units=True))

    # -- samples -----------------------------------------------------------------------------------------------

    def settle(self, given: Any, output: Any) -> None:
        """Determine the axis of the inputs that holds the samples.

        That which is left in the scores, else what a layer of torch says of its input, else the first dimension.

        Args:
            given: The arguments of the pass.
            output: What it returned.
        """
        inputs = [dims for dims in map(self.dims, tensors_in(given)) if dims]
        known = [axis.root for axis in self.trace.samples]
        if not any(axis in known for dims in inputs for dim in dims for axis in sources(dim)):
            # the axes of an earlier call in the same step may say it already
            chosen = self._left_in(output, 2) or [axis.root for axis in self._votes] or self._left_in(output, 9)
            self.trace.samples += chosen[:1]
        self._votes = []
        known = [axis.root for axis in self.trace.samples]
        for dims in inputs:
            if not any(axis in known for dim in dims for axis in sources(dim)):
                self.trace.samples += sources(dims[0])

    def _left_in(self, output: Any, most_dims: int) -> list[Axis]:
        found = [dims for dims in map(self.dims, tensors_in(output)) if dims and len(dims) <= most_dims]
        firsts = [axis for d in found if len(d[0]) == 1 and not d[0][0].units for axis in sources(d[0])]
        return [axis for axis in firsts if axis.origin in ("input", "batch")]

    def knows_as(self, copies: Any, originals: Any) -> None:
        """Map copies to their originals, where those are known from an earlier call."""
        for one, other in zip(tensors_in(copies), tensors_in(originals), strict=False):
            if other in self._known and one.shape == other.shape:
                self._known[one] = self._known[other]

    def adopt(self, live: Any, followed: Any) -> None:
        """Map the tensors of the run's own call to those of the traced pass."""
        self.knows_as(live, followed)
