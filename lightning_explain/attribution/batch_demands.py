"""Models that constrain their batch: a fixed size, samples that depend on each other, layers without a gradient."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.passes import ran_out_of_memory
from lightning_explain.attribution.result import Forward
from lightning_explain.errors import ExplanationError
from lightning_explain.randomness import rng_preserved

MOVED = 1e-3
"""By which share of the largest score a sample's scores may move with the samples beside it: rounding moves less."""

QUANTISED = ".quantized"
"""In the module path of every layer that torch has quantised."""


@dataclass(frozen=True)
class Padded:
    """A model that takes one batch size only, given any smaller batch.

    Attributes:
        forward: The model.
        size: The batch size it takes.

    Example:
        >>> Padded(lambda x: x.reshape(4, -1), size=4)(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """

    forward: Forward
    size: int

    def __call__(self, *inputs: Tensor) -> Any:
        """Repeat the last row up to the size, and drop what the model says of the repetitions."""
        n_rows = len(inputs[0])
        output = self.forward(*(torch.cat([x, x[-1:].expand(self.size - n_rows, *x.shape[1:])]) for x in inputs))
        return output[:n_rows] if isinstance(output, Tensor) and output.ndim else output


def fixed_batch_size(forward: Forward, parts: tuple[Tensor, ...], chunk_size: int | None) -> int | None:
    """Find the only batch size that a model takes; call it inside `explaining`.

    Args:
        forward: Inputs to scores.
        parts: The inputs, each [batch, ...].
        chunk_size: A size that the user named, if any.

    Returns:
        `chunk_size` or the batch's own size where the model takes that and fails with two samples; None where it takes
        two samples, or neither.

    Cost: a forward pass of two rows, and of `chunk_size` or of the batch where that fails.
    """
    if _takes(forward, parts, 2):
        return None
    sizes = (size for size in (chunk_size, len(parts[0])) if size is not None and size != 2)
    return next((size for size in sizes if _takes(forward, parts, size)), None)


def _takes(forward: Forward, parts: tuple[Tensor, ...], size: int) -> bool:
    try:
        with torch.no_grad():
            forward(*_rows(parts, size))
    except Exception as problem:  # noqa: BLE001 - whatever a model says to a batch that it does not take
        return ran_out_of_memory(problem)
    return True


def _rows(parts: tuple[Tensor, ...], size: int) -> tuple[Tensor, ...]:
    """Return `size` samples, the first ones again where there are fewer."""
    return tuple(x[torch.arange(size, device=x.device) % len(x)] for x in parts)


def check_rows_apart(forward: Forward, parts: tuple[Tensor, ...], size: int | None) -> None:
    """Refuse a model whose scores of one sample depend on the samples beside it; call it inside `explaining`.

    Such as batch norm without running statistics, in eval mode: every chunk of points would be explained otherwise.

    Args:
        forward: Inputs to scores.
        parts: The inputs, each [batch, ...].
        size: Rows to run at once; None for two.

    Raises:
        ExplanationError: The scores of the first sample move when the others change.

    Cost: two forward passes of that many rows, four where something moves.
    """
    alone, among = first_sample(parts, max(2, size or 2))
    try:
        with torch.no_grad():
            moved = _moved(forward, alone, among)
            # scores that are drawn at random move by themselves
            if moved is None or moved <= MOVED or (_moved(forward, alone, alone) or 0.0) > MOVED:
                return
    except Exception:  # noqa: BLE001 - what only looks ahead must not be what fails: the passes that follow will tell
        return
    raise ExplanationError(
        f"The scores of sample 0 move by {moved:.0%} when the other samples of its batch change{_culprit(forward)}: "
        "the model looks at samples together, so that no explanation of one sample is true of it in every batch. Give "
        "chunk_size=1 to explain what the model does with each sample on its own, or give it running statistics "
        "(track_running_stats=True)."
    )


def first_sample(parts: tuple[Tensor, ...], n_rows: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return rows with nothing but the first sample, and rows in which others stand beside it: each [n_rows, ...]."""
    alone = tuple(x[:1].expand(n_rows, *x.shape[1:]).clone() for x in parts)
    return alone, tuple(_with_others(x, n_rows) for x in parts)


def _with_others(x: Tensor, n_rows: int) -> Tensor:
    """Return the first sample, and others that differ from it."""
    other = x[-1:] if len(x) > 1 and not torch.equal(x[-1], x[0]) else x[:1]
    if x.is_floating_point() and other is not x[-1:] and torch.equal(other, x[:1]):
        other = 0.5 * x[:1]
    return torch.cat([x[:1], other.expand(n_rows - 1, *x.shape[1:])])


def _moved(forward: Forward, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float | None:
    with rng_preserved():  # so that what is drawn at random, as by dropout that stays on, is the same in both
        a = forward(*(x.clone() for x in one))
    b = forward(*(x.clone() for x in other))
    return first_moved(a, b, len(one[0]))


def first_moved(a: object, b: object, n_rows: int) -> float | None:
    """Return the distance of the first row's scores as a share of the largest; None where there are no scores.

    Example:
        >>> first_moved(torch.tensor([[2.0, 4.0], [0.0, 0.0]]), torch.tensor([[2.0, 3.0], [9.0, 9.0]]), 2)
        0.25
    """
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.ndim == 0 or a.shape != b.shape or len(a) != n_rows:
        return None
    largest = torch.maximum(a[0].abs().max(), b[0].abs().max())
    return float((a[0] - b[0]).abs().max() / largest) if bool(largest > 0) else 0.0


def _culprit(forward: Forward) -> str:
    """Name a batch norm without running statistics, if there is one."""
    if not isinstance(forward, nn.Module):
        return ""
    for name, module in forward.named_modules():
        if getattr(module, "track_running_stats", True) is False and "BatchNorm" in type(module).__name__:
            return f" ({name or 'the model'} is a {type(module).__name__} without running statistics)"
    return ""


def refuse_quantised(forward: Forward) -> None:
    """Refuse a network with quantised layers, through which no gradient passes.

    Raises:
        ExplanationError: Some layer is quantised; the message names it.
    """
    if not isinstance(forward, nn.Module):
        return
    for name, module in forward.named_modules():
        kind = type(module)
        if QUANTISED in kind.__module__ and not any(True for _ in module.parameters(recurse=False)):
            raise ExplanationError(
                f"{name or 'The model'} is a quantised {kind.__name__}, which has no gradient. Explain the network as "
                "it was before it was quantised."
            )


def refuse_flat(sizes: Tensor, change: Tensor) -> None:
    """Refuse explanations that are zero everywhere though the scores changed: a function of steps has no gradient.

    Args:
        sizes: Sum of |values| of each sample [batch].
        change: F(input) - F(baseline) [batch].

    Raises:
        ExplanationError: Every sample that changed has nothing but zeros.
    """
    changed = change != 0
    if bool(changed.any()) and not bool((sizes[changed] > 0).any()):
        raise ExplanationError(
            f"The gradient is zero everywhere between baselines and inputs, but the score changes by up to "
            f"{float(change.abs().max()):.3g}: the model rounds, compares or is quantised, so that gradients cannot "
            "explain it. Explain the network as it was before it was quantised, or give forward_fn= a function "
            "without such steps."
        )
