"""The result of every attribution method, and the call that makes a method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_explain.batches import Inputs

Forward = nn.Module | Callable[..., Any]
"""An `nn.Module`, or any callable from inputs to scores."""

Target = int | Tensor | None
"""The explained output: one index, one per sample (LongTensor [batch]), or None for a scalar output."""


def parts_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return inputs or attributions as a tuple, whether they are one tensor or several.

    Example:
        >>> len(parts_of(torch.zeros(2, 3)))
        1
    """
    return inputs if isinstance(inputs, tuple) else (inputs,)


def shaped_like(parts: tuple[Tensor, ...], inputs: Inputs) -> Inputs:
    """Undo `parts_of`: a single tensor where the inputs were one."""
    return parts if isinstance(inputs, tuple) else parts[0]


def flat(values: Inputs) -> Tensor:
    """Lay all parts of an attribution side by side: [batch, features].

    Example:
        >>> flat((torch.zeros(2, 3, 4), torch.zeros(2, 5))).shape
        torch.Size([2, 17])
    """
    return torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None] for part in parts_of(values)], dim=1)


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """An explanation of one batch.

    Attributes:
        values: Signed attributions, shaped like the inputs, in units of the explained output (logits).
            Positive: the feature speaks for the target.
        convergence_delta: `sum(values) - (F(x) - F(baseline))` per sample [batch]; None for methods that make
            no such promise.
        error: Bound on the relative L1 error of `values` per sample [batch], which at least 95 % of true errors of
            integrated gradients are meant to stay below, and never less than |convergence_delta| / sum |values|;
            None where there is no estimate.
        target: Explained output per sample [batch], or None for a scalar output.
        baseline: What the inputs were compared with, shaped like them; None for methods without one.
        n_evaluations: Gradient evaluations spent per sample [batch].
        coarse: The same explanation by a coarser rule that was computed on the way. How far a distance changes
            between `coarse` and `values` is the error of that distance.
        absorbed_share: The part of the explained output that reached no input [batch], for methods that hand the output
            itself down (LRP): what biases, norm offsets, learned positions and class tokens took. 0 for nothing; other
            than 0 to 1 where offsets speak against the output, or for more than all of it. NaN for an output of 0.
        softmax_share: The part of the explained output that the Taylor expansion of softmaxes lost on the way [batch];
            negative where it added some. None where no relevance passed a softmax. NaN for an output of 0.
        contrast: The class whose score was subtracted per sample [batch]: `F` is then the difference of the scores of
            `target` and `contrast`. None where the score of `target` alone was explained.
    """

    values: Inputs
    convergence_delta: Tensor | None
    error: Tensor | None
    target: Tensor | None
    baseline: Inputs | None
    n_evaluations: Tensor
    coarse: Inputs | None = None
    absorbed_share: Tensor | None = None
    softmax_share: Tensor | None = None
    contrast: Tensor | None = None

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The attributions as a tuple, one tensor for each input."""
        return parts_of(self.values)


def joined(pieces: Sequence[Attribution]) -> Attribution:
    """Put attributions of some samples each together to one of all of them."""
    if len(pieces) == 1:
        return pieces[0]
    together: dict[str, Any] = {}
    for entry in fields(Attribution):
        values: list[Any] = [getattr(piece, entry.name) for piece in pieces]
        if any(value is None for value in values):
            together[entry.name] = None
        elif isinstance(values[0], tuple):
            together[entry.name] = tuple(torch.cat(parts) for parts in zip(*values, strict=True))
        else:
            together[entry.name] = torch.cat(values)
    return Attribution(**together)


@runtime_checkable
class Method(Protocol):
    """Anything that explains: called with (model, inputs, target), returns an `Attribution`."""

    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`."""
        ...
