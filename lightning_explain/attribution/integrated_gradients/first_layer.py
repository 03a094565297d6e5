"""The first layer of a network, where it is linear: along a straight path its output goes straight too."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.nn import grad as input_gradients

from lightning_explain.attribution.integrated_gradients.fast_layers import FastForward, FastLayers
from lightning_explain.attribution.scores import Scores
from lightning_explain.weights.sharded import is_held_together

CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: input_gradients.conv1d_input,
    nn.Conv2d: input_gradients.conv2d_input,
    nn.Conv3d: input_gradients.conv3d_input,
}
"""Gradient at the input of each kind of convolution."""

MOST_COLUMNS = 5
"""Numbers in a patch per channel of the output, up to which patches are added up instead: with the few channels that
inputs have, a fifth to two thirds of the time on the CPU, and beyond it as much."""


@dataclass(frozen=True)
class Ends:
    """Output of the first layer at both ends of the path of each sample.

    Attributes:
        start: At the baselines [batch, ...], or [1, ...] where all samples share it.
        way: From there to the inputs [batch, ...].
    """

    start: Tensor
    way: Tensor

    def of(self, samples: Tensor) -> "Ends":
        """Keep only the given samples (LongTensor of indices)."""
        return Ends(self.start if len(self.start) == 1 else self.start[samples], self.way[samples])

    def at(self, nodes: Tensor) -> Tensor:
        """Return the output at every node for every sample [nodes * batch, ...], with a gradient, no leaf and no view.

        Args:
            nodes: Positions on the path in [0, 1]: [nodes], or [nodes, batch] where every sample has its own.
        """
        alpha = nodes.to(self.way).reshape(len(nodes), -1, *(1,) * (self.way.ndim - 1))
        start = self.start.detach().requires_grad_()
        # no leaf, since networks may write into it: nn.ReLU(inplace=True); no view, or their gradients would be copied
        if len(nodes) == 1:
            return torch.addcmul(start, alpha[0], self.way)
        is_last = self.way.ndim == 4 and self.way.is_contiguous(memory_format=torch.channels_last)
        rows = torch.empty(
            (len(nodes) * len(self.way), *self.way.shape[1:]),
            dtype=self.way.dtype,
            device=self.way.device,
            memory_format=torch.channels_last if is_last else torch.contiguous_format,
        )
        torch.mul(alpha, self.way, out=rows.unflatten(0, (len(nodes), -1)))
        rows.unflatten(0, (len(nodes), -1)).add_(start)
        return rows


@dataclass(frozen=True)
class FirstLayer:
    """A linear layer or convolution through which alone the input reaches the scores.

    Attributes:
        module: The layer.
        shape: Of what it reads of one sample: that of the input, or another one of as many numbers.
        bytes_per_sample: Of what it puts out.
        transposed: From gradients at its output [rows, ...] to those at what it reads.
    """

    module: nn.Module
    shape: torch.Size
    bytes_per_sample: int
    transposed: Callable[[Tensor], Tensor]

    def ends(self, inputs: Tensor, baselines: Tensor) -> Ends:
        """Run the layer at both ends of the path."""
        with torch.no_grad():
            start = self._output(baselines)
            return Ends(start, self._output(inputs) - start)

    def _output(self, x: Tensor) -> Tensor:
        output: Tensor = self.module.forward(x.reshape(len(x), *self.shape))
        return output

    @contextmanager
    def giving(self, outputs: list[Tensor]) -> Generator[GradientEdge, None, None]:
        """Let the layer put out `outputs.pop()` [rows, ...], whatever it reads; yields where gradients arrive.

        The tensor is taken out of the list, so that it is given up where the network needs it no longer.
        """
        # of the tensor itself: where a network writes into a view of it, the view's own edge is passed by
        edge = get_gradient_edge(outputs[-1])
        with _forward_of(self.module, lambda *_, **__: outputs.pop()):
            yield edge

    def pulled_back(self, gradients: Tensor, like: Tensor) -> Tensor:
        """Turn gradients at the output [rows, ...] into gradients at the input, of the shape of its samples."""
        return self.transposed(gradients).reshape(len(gradients), *like.shape[1:])


@contextmanager
def _forward_of(module: nn.Module, forward: Callable[..., Tensor]) -> Generator[None, None, None]:
    found = vars(module).get("forward")
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        if found is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = found


def find_first_layer(model: Scores, inputs: tuple[Tensor, ...], fast: FastLayers | None = None) -> FirstLayer | None:
    """Find the layer that alone reads the input, if it is an `nn.Linear` or a convolution; call it inside `explaining`.

    It is what reads the input itself (or the input in another shape), is called once, and leaves the scores without
    any other gradient at the input. Subclasses and layers whose weights are computed stay as they are.

    Args:
        model: What is explained; None is returned for what is no `nn.Module`, and for weights sharded over processes.
        inputs: The inputs, one of them of floating-point type; the first sample is run through the model.
        fast: Layers that run with other weights than their own.

    Cost: a forward and a backward pass of two rows.
    """
    try:
        rows = tuple(part[:1].repeat(2, *(1,) * (part.ndim - 1)) for part in inputs)
        return watched_first_layer(model, rows, FastLayers() if fast is None else fast)[0]
    except Exception:  # noqa: BLE001 - what only saves time must not be what fails: the passes that follow will tell
        return None


def watched_first_layer(
    model: Scores, rows: tuple[Tensor, ...], fast: FastLayers
) -> tuple[FirstLayer | None, Tensor | None]:
    """Run a model, and return the layer that alone reads its input and the scores; None where there are none.

    Args:
        model: What is explained.
        rows: Inputs, each [rows, ...].
        fast: Layers that run with other weights than their own; whether they can be differentiated shows here.

    Cost: a forward pass, and a backward pass where there are such layers or a first layer is possible.
    """
    candidates: list[nn.Module] = []
    is_alone = sum(part.is_floating_point() for part in rows) == 1
    if is_alone and isinstance(model, nn.Module) and is_held_together(model):
        candidates = [module for module in model.modules() if _is_linear(module)]
    if candidates or fast.by_weight:
        return _look(model, candidates, rows, fast)
    with torch.no_grad():
        scores = model(*(part.clone() for part in rows))
    return None, scores if isinstance(scores, Tensor) else None


def _is_linear(module: nn.Module) -> bool:
    """Return True if a module is exactly of its type, with its own parameters."""
    return (
        (type(module) is nn.Linear or type(module) in CONVOLUTIONS)
        and ("forward" not in vars(module) or isinstance(vars(module)["forward"], FastForward))
        and not isinstance(vars(module).get("padding"), str)
        and vars(module).get("padding_mode", "zeros") == "zeros"
        and not vars(module)["_backward_hooks"]
        and not vars(module)["_backward_pre_hooks"]
        and all(type(parameter) is nn.Parameter for parameter in module.parameters(recurse=False))
    )


@dataclass
class _Seen:
    """A layer that reads the input.

    Attributes:
        module: The layer.
        shape: Of what it reads of one sample.
        output: What it puts out.
        edge: Where the gradient of its output arrives.
    """

    module: nn.Module
    shape: torch.Size
    output: Tensor
    edge: GradientEdge


def _look(
    model: Scores, candidates: list[nn.Module], rows: tuple[Tensor, ...], fast: FastLayers
) -> tuple[FirstLayer | None, Tensor | None]:
    """Run the model once, see who reads the input, and whether its output is all that the scores have of it."""
    calls: Counter[nn.Module] = Counter()
    seen: list[_Seen] = []
    given = [part.clone().requires_grad_(part.is_floating_point()) for part in rows]
    read, expected = next((g, r) for g, r in zip(given, rows, strict=True) if g.requires_grad)

    def watch(module: nn.Module, forward: Callable[[Tensor], Tensor], *args: Tensor, **named: Tensor) -> Tensor:
        (x,) = *args, *named.values()
        calls[module] += 1
        output = forward(x)
        if not _is_same(x, read, expected) or output.dtype != x.dtype:
            return output
        # cut here, so that any other gradient at the input shows; a copy, since networks may write into it
        output = output.detach().requires_grad_().clone()
        seen.append(_Seen(module, x.shape[1:], output, get_gradient_edge(output)))
        return output

    with ExitStack() as stack:
        for module in candidates:
            stack.enter_context(_forward_of(module, partial(watch, module, module.forward)))
        scores = model(*given)
        if not isinstance(scores, Tensor) or not scores.requires_grad:
            return None, scores if isinstance(scores, Tensor) else None
        # watched too: checkpointed blocks run once more in the backward pass
        edges = [get_gradient_edge(part) for part in given if part.requires_grad] + [one.edge for one in seen]
        found = cast("tuple[Tensor | None, ...]", torch.autograd.grad(scores.sum(), edges, allow_unused=True))
    scores = scores.detach()
    if len(seen) != 1 or found[0] is not None or found[1] is None or calls[seen[0].module] != 1:
        return None, scores
    (only,) = seen
    shown = FirstLayer(only.module, only.shape, only.output[:1].nbytes, _transposed(only.module, only.shape, fast))
    return shown, scores


def _is_same(x: Tensor, given: Tensor, expected: Tensor) -> bool:
    """Return True if a tensor is the input, unchanged: itself or in another shape, the sample first."""
    return (
        x.data_ptr() == given.data_ptr()
        and x.is_contiguous()
        and x.numel() == given.numel()
        and len(x) == len(given)
        and given._version == 0
        and torch.equal(given, expected)
    )


def _transposed(module: nn.Module, shape: torch.Size, fast: FastLayers) -> Callable[[Tensor], Tensor]:
    assert isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    weight = fast.weight_of(module.weight)
    if isinstance(module, nn.Linear):
        return lambda gradients: gradients @ weight
    if isinstance(module, nn.Conv2d) and module.groups == 1 and weight[0].numel() <= MOST_COLUMNS * len(weight):
        return partial(_folded, weight.flatten(1).t(), module, shape[1:])
    at_input, options = CONVOLUTIONS[type(module)], (module.stride, module.padding, module.dilation, module.groups)
    return lambda gradients: at_input((len(gradients), *shape), weight, gradients, *options)


def _folded(weight: Tensor, convolution: nn.Conv2d, size: torch.Size, gradients: Tensor) -> Tensor:
    """Return the gradient at the input of a convolution: every output's share of its patch, patches added up."""
    how = convolution
    assert not isinstance(how.padding, str)
    return functional.fold(
        weight @ gradients.flatten(2), (size[0], size[1]), how.kernel_size, how.dilation, how.padding, how.stride
    )
