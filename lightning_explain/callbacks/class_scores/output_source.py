"""Parts of a module that return the output of its explained forward: the steps of many modules call the parts."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.batches import input_of, tensors_in, two_dimensional
from lightning_explain.callbacks.base.forward import TRIED, Question, undisturbed
from lightning_explain.callbacks.base.output_choice import are_probabilities_of
from lightning_explain.capture import Hook, is_compiled
from lightning_explain.isolation import is_whole
from lightning_explain.weights.sharded import sharded_modules

Place = int | str | None


@dataclass(frozen=True)
class OutputSource:
    """A part of a module whose output is what the explained forward returns.

    Attributes:
        name: Of the part.
        place: Index or key in its output; None for the output itself.
    """

    name: str
    place: Place = None


@dataclass
class _Recorded:
    """Outputs of parts in one forward pass, in the order in which they came."""

    outputs: list[tuple[OutputSource, Tensor]] = field(default_factory=list[tuple[OutputSource, Tensor]])

    def take(self, output: Any, *, name: str) -> None:
        self.outputs += [(OutputSource(name, place), part) for place, part in tensors_in(output).items()]


def _is_same(part: Tensor, scores: Tensor) -> bool:
    return part.numel() == scores.numel() and part.data_ptr() == scores.data_ptr() and part.dtype == scores.dtype


def _is_alike(part: Tensor, scores: Tensor) -> bool:
    """Return True for a tensor of the same predictions: of equal values, or of which the scores are probabilities."""
    rows = two_dimensional(part.detach())
    if rows.numel() != scores.numel() or len(rows) != len(scores) or not rows.is_floating_point():
        return False
    rows = rows.reshape(scores.shape)
    return torch.equal(rows, scores) or are_probabilities_of(scores, rows)


def matching(recorded: list[tuple[OutputSource, Tensor]], scores: Tensor) -> list[OutputSource]:
    """Choose the parts that returned these scores, the outermost first; none where several different ones would do."""
    same = [source for source, part in recorded if _is_same(part, scores)]
    if not same:
        alike = [(source, part) for source, part in recorded if _is_alike(part, scores)]
        if len({part.data_ptr() for _, part in alike}) > 1:
            return []
        same = [source for source, _ in alike]
    return sorted(set(same), key=lambda source: source.name.count("."))


def score_sources(pl_module: nn.Module, batch: Any, question: Question) -> list[OutputSource]:
    """Find the parts of a module that return what its explained forward returns; none where that cannot be known.

    The module is left as found. One that was compiled, or whose weights are sharded over processes, is not tried.

    Cost: a forward pass of 8 samples.
    """
    if any(map(is_compiled, pl_module.modules())) or not is_whole(pl_module) or sharded_modules(pl_module):
        return []
    question.check(pl_module)
    inputs = input_of(batch, question.input)
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    recorded = _Recorded()
    hooks = [
        module.register_forward_hook(Hook(partial(recorded.take, name=name)))
        for name, module in pl_module.named_modules()
        if name
    ]
    try:
        with undisturbed(pl_module), torch.no_grad():
            scores = question.scores(pl_module)(*(part[:TRIED].detach().clone() for part in parts))
            return matching(recorded.outputs, scores.detach())
    finally:
        for hook in hooks:
            hook.remove()
