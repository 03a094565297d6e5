"""Catching the class scores that a training or validation step computes, without another forward pass."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric

from lightning_explain.batches import output_of, tensors_in, two_dimensional
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.output_source import OutputSource
from lightning_explain.capture import Hook, Removable, hook_output, is_recording_paused
from lightning_explain.errors import ConfigurationError

EXPLAINED = ""
"""The name of what the explained forward returns."""


class ScoreCatcher:
    """Keeps the tensors of a step that may be class scores [batch, classes].

    First of all that is what the explained forward returns: the module's own output where the step calls `self(x)`,
    and where it calls parts of the module, the output of the part that is known to return the same. Where nothing is
    known of the parts, all direct children's outputs are kept that have a row for each sample.

    Args:
        question: Where an output holds the scores.

    Attributes:
        problem: Why the last output that was looked at holds no scores; empty if it does.
        differs: True, as a tensor on the scores' device, if the module returned different scores for as many samples in
            one step; None while it returned scores once in each.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._handles: list[Removable] = []
        self._own: list[Any] = []
        self._parts: dict[str, Any] = {}
        self._sources: list[OutputSource] = []
        self._hooked: set[str] = set()
        self._listening = False
        self.problem = ""
        self.differs: Tensor | None = None

    def attach(self, pl_module: nn.Module) -> None:
        """Put the hooks on; does nothing when they are on."""
        if self._handles:
            return
        self._handles = [pl_module.register_forward_hook(Hook(self._catch_own))]
        for name, child in pl_module.named_children():
            # metrics and losses return no class scores, though some return one number per class or sample
            if not isinstance(child, Metric) and type(child).__module__ != "torch.nn.modules.loss":
                self._hook(pl_module, name, child)

    def _hook(self, pl_module: nn.Module, name: str, module: nn.Module) -> None:
        self._hooked.add(name)
        self._handles.append(hook_output(pl_module, module, partial(self._catch_part, name=name)))

    def know(self, sources: list[OutputSource], pl_module: nn.Module) -> None:
        """Take over which parts of the module return what the explained forward does, the best first."""
        self._sources = sources
        modules = dict(pl_module.named_modules())
        for source in sources:
            if source.name not in self._hooked:
                self._hook(pl_module, source.name, modules[source.name])

    def detach(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._hooked, self._sources = [], set(), []
        self._forget()
        self._listening = False

    def _forget(self) -> None:
        self._own, self._parts = [], {}

    def start(self) -> None:
        """Listen from here on."""
        self._forget()
        self._listening, self.problem = True, ""

    def stop(self, n_samples: int | None, *, redirected: bool = False) -> dict[str, Tensor]:
        """End listening; return what may be the class scores of `n_samples` samples (of any number for None).

        Args:
            n_samples: Rows that scores must have.
            redirected: Whether the strategy called the step through the module's forward, so that the module's last
                output is what the step returned.

        Returns:
            `EXPLAINED` alone where the step computed what the explained forward returns; otherwise the outputs of the
            direct children, by name.
        """
        own, parts = self._own[:-1] if redirected else self._own, self._parts
        self._forget()
        self._listening = False
        seen = [self._scores(output, n_samples) for output in reversed(own)]
        self._compare([scores for scores in seen if scores is not None])
        known = [source for source in self._sources if source.name in parts]
        seen += [_fitting(tensors_in(parts[source.name]).get(source.place), n_samples) for source in known]
        for scores in seen:
            if scores is not None:
                return {EXPLAINED: scores}
        if own or self._sources:
            return {}
        found = {name: self._scores(output, n_samples) for name, output in parts.items()}
        return {name: scores for name, scores in found.items() if scores is not None}

    def _compare(self, seen: list[Tensor]) -> None:
        """Note, without a wait, whether calls of one step returned different scores."""
        for other in seen[1:]:
            if other.shape == seen[0].shape and other.device == seen[0].device:
                differs = (other != seen[0]).any()
                self.differs = differs if self.differs is None else self.differs.to(differs.device) | differs

    def _scores(self, output: Any, n_samples: int | None) -> Tensor | None:
        try:
            return _fitting(output_of(output, self._question.chosen), n_samples)
        except ConfigurationError as error:
            self.problem = str(error)
            return None

    def _catch_own(self, output: Any) -> None:
        # an explanation of as many samples, made before the step runs, is no call of the step
        if self._listening and not is_recording_paused():
            self._own.append(None if _is_map(output) else output)

    def _catch_part(self, output: Any, *, name: str) -> None:
        if self._listening and not is_recording_paused() and not _is_map(output):
            self._parts[name] = output


def _is_map(output: Any) -> bool:
    """Return True for what is no class scores, and not to be kept alive."""
    return isinstance(output, Tensor) and two_dimensional(output).ndim > 2


def _fitting(scores: Tensor | None, n_samples: int | None) -> Tensor | None:
    if scores is None or not scores.is_floating_point() or not scores.ndim:
        return None
    scores = two_dimensional(scores.detach())
    return scores if scores.ndim <= 2 and n_samples in (None, len(scores)) else None
