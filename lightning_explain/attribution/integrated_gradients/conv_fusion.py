"""Convolutions that run faster while a model is explained: merged with their batch norm, channels last."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution.integrated_gradients.passes import ran_out_of_memory
from lightning_explain.attribution.scores import Scores
from lightning_explain.weights.sharded import is_held_together

TRIAL_ROWS = 4
"""Samples on which the faster model must give the same scores."""

SAME = 1e-3
"""Largest difference of scores, as a share of the largest score, that counts as the same: float32 differs by 1e-6,
another function by far more."""


def speed_up_convolutions(model: Scores, inputs: tuple[Tensor, ...]) -> None:
    """Replace the forward of convolutions where this gives the same scores; call it inside `explaining`.

    A batch norm in eval mode is a scaling of the channels, so it is merged into the weights of the convolution whose
    output it reads. On the CPU, convolutions also run faster with channels as the last dimension in memory. Neither
    changes a parameter: the merged weights are tensors of their own, held by instance attributes that the isolation
    takes away again. Modules with hooks, subclasses, and modules called more than once stay as they are.

    Args:
        model: What is explained; nothing happens for what is no `nn.Module`, has no plain `nn.Conv2d`, or is so large
            that its weights stay spread over several processes.
        inputs: The inputs; a few of them are run through the model both ways.

    Cost: two forward passes of at most four samples.
    """
    if not isinstance(model, nn.Module) or not is_held_together(model):
        return  # weights that are gathered for a pass and given up after it cannot be held
    if any(_plain(module, nn.Conv2d) for module in model.modules()):
        few = tuple(part[:TRIAL_ROWS] for part in inputs)
        try:
            with torch.no_grad():
                _try(model, few)
        except (MemoryError, RuntimeError) as problem:
            # what only saves time must not fail for want of memory: the passes that follow may be smaller
            if not ran_out_of_memory(problem):
                raise


def _try(model: nn.Module, few: tuple[Tensor, ...]) -> None:
    """Put the faster forwards in place, and take them away unless the scores stay the same."""
    expected, merged, called = _look(model, few)
    if not isinstance(expected, Tensor):
        return
    faster = [module for module in called if _plain(module, nn.Conv2d)]
    for convolution in faster:
        vars(convolution)["forward"] = FastConvolution.of(convolution, merged.get(convolution))
    for norm in merged.values():
        vars(norm)["forward"] = _unchanged
    same = False
    try:
        found = model(*_cloned(few))
        same = bool((found - expected).abs().max() <= SAME * expected.abs().max())
    finally:
        for module in () if same else (*faster, *merged.values()):
            del vars(module)["forward"]


def _cloned(few: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.clone() for part in few)


def _plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return True if a module is of exactly this kind, with its own parameters, and nobody watches or changes it."""
    return (
        type(module) is kind
        and "forward" not in vars(module)
        and vars(module).get("padding_mode", "zeros") == "zeros"
        and not any(vars(module)[hooks] for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"))
        and all(type(parameter) is nn.Parameter for parameter in module.parameters(recurse=False))
    )


def _look(model: nn.Module, few: tuple[Tensor, ...]) -> tuple[Any, dict[nn.Module, nn.BatchNorm2d], list[nn.Module]]:
    """Run the model once: its scores, the batch norm that reads each convolution, modules that ran exactly once."""
    calls: Counter[nn.Module] = Counter()
    made_by: dict[int, nn.Module] = {}
    outputs: list[Tensor] = []  # kept alive, so that no identity is given twice
    pairs: list[tuple[nn.Module, nn.BatchNorm2d]] = []

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls[module] += 1
        if isinstance(module, nn.BatchNorm2d) and args and id(args[0]) in made_by:
            pairs.append((made_by[id(args[0])], module))
        elif isinstance(output, Tensor):
            made_by[id(output)] = module
            outputs.append(output)

    chosen = [m for m in model.modules() if _plain(m, nn.Conv2d) or _plain(m, nn.BatchNorm2d)]
    handles = [module.register_forward_hook(hook) for module in chosen]
    try:
        expected = model(*_cloned(few))
    finally:
        for handle in handles:
            handle.remove()
    once = [module for module in chosen if calls[module] == 1]
    merged = {c: n for c, n in pairs if calls[c] == calls[n] == 1 and n.running_var is not None and not n.training}
    return expected, merged, once


@dataclass(frozen=True)
class FastConvolution:
    """The forward of a convolution with weights and bias of its own.

    Attributes:
        convolution: Says how the weights are applied.
        weight: Merged with a batch norm where there is one, and channels last on the CPU.
        bias: Of the same kind.
    """

    convolution: nn.Conv2d
    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, convolution: nn.Module, norm: nn.BatchNorm2d | None) -> "FastConvolution":
        """Merge a convolution with the batch norm after it."""
        assert isinstance(convolution, nn.Conv2d)
        weight, bias = convolution.weight.detach(), convolution.bias
        bias = None if bias is None else bias.detach()
        if norm is not None:
            weight, bias = _merged(weight, bias, norm)
        if weight.device.type == "cpu":
            # `contiguous` would leave the strides of a single input channel, and the convolution goes by strides
            weight = weight.to(memory_format=torch.channels_last)
        return cls(convolution, weight, bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it to maps [batch, channels, height, width]."""
        how = self.convolution
        return functional.conv2d(x, self.weight, self.bias, how.stride, how.padding, how.dilation, how.groups)


def _merged(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale weights and bias as the batch norm scales the channels."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("only a batch norm with running statistics can be merged")
    scale = (variance + norm.eps).rsqrt()
    scale = scale * norm.weight.detach() if norm.affine else scale
    shift = -mean if bias is None else bias - mean
    shift = shift * scale + norm.bias.detach() if norm.affine else shift * scale
    return weight * scale[:, None, None, None], shift


def _unchanged(x: Tensor) -> Tensor:
    return x
