"""Catching the class scores that a training or validation step computes, without another forward pass."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassStatScores

from lightning_explain.batches import Selector, output_of
from lightning_explain.capture import Hook, Removable, hook_output
from lightning_explain.errors import ConfigurationError


class ScoreCatcher:
    """Keeps the last class scores [batch, classes] that the module, or one of its children, returned.

    The module's own forward is preferred; a step that calls `self.net(x)` instead of `self(x)` is caught at its
    direct children, where the last one that returns scores wins.

    Args:
        output: Where an output holds the scores; None to find them.
    """

    def __init__(self, output: Selector) -> None:
        self._output = output
        self._handles: list[Removable] = []
        self._own: Any = None
        self._child: list[Any] = []
        self._listening = False

    def attach(self, pl_module: nn.Module) -> None:
        """Put the hooks on; does nothing when they are on."""
        if self._handles:
            return
        self._handles = [pl_module.register_forward_hook(Hook(partial(self._catch, own=True)))]
        for child in pl_module.children():
            # metrics and losses return no class scores, though some return one number per class or sample
            if not isinstance(child, Metric) and type(child).__module__ != "torch.nn.modules.loss":
                self._handles.append(hook_output(pl_module, child, partial(self._catch, own=False)))

    def detach(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._listening = False

    def start(self) -> None:
        """Listen from here on."""
        self._own, self._child, self._listening = None, [], True

    def stop(self, n_samples: int | None) -> Tensor | None:
        """End listening; return the class scores of `n_samples` samples (of any number for None), if any were seen."""
        seen = [*([] if self._own is None else [self._own]), *reversed(self._child)]
        self._own, self._child, self._listening = None, [], False
        for output in seen:
            try:
                scores = output_of(output, self._output).detach()
            except ConfigurationError:
                continue
            if scores.ndim <= 2 and n_samples in (None, len(scores)):
                return scores
        return None

    def _catch(self, output: Any, *, own: bool) -> None:
        if not self._listening or (isinstance(output, Tensor) and output.ndim > 2):
            return  # maps are no class scores, and not to be kept alive
        if own:
            self._own = output
        else:
            self._child.append(output)


def predicted_classes(scores: Tensor) -> tuple[Tensor, int]:
    """Turn scores into predicted classes [batch] and the number of classes.

    One column means a binary classifier: its logit, or its probability where all values lie between 0 and 1.

    Example:
        >>> predicted_classes(torch.tensor([[0.2], [-1.0]]))
        (tensor([1, 0]), 2)
    """
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        is_probability = bool(((flat >= 0) & (flat <= 1)).all())
        return (flat[:, 0] > (0.5 if is_probability else 0)).long(), 2
    return flat.argmax(1), flat.shape[1]


class ClassScores:
    """Precision, recall and F1 of each class, by torchmetrics."""

    def __init__(self) -> None:
        self._counts: MulticlassStatScores | None = None

    def reset(self) -> None:
        """Forget what was counted."""
        self._counts = None

    def add(self, scores: Tensor, labels: Tensor, counted: Tensor | None) -> None:
        """Count one batch of scores [batch, classes] against its labels [batch]."""
        predicted, n_classes = predicted_classes(scores)
        known = (labels >= 0) & (labels < n_classes)
        known = known if counted is None else known & counted
        self._of(n_classes, scores.device).update(predicted[known], labels[known])

    def _of(self, n_classes: int, device: torch.device) -> MulticlassStatScores:
        if self._counts is None:
            with torch.inference_mode(mode=False):
                self._counts = MulticlassStatScores(n_classes, average=None, validate_args=False).to(device)
        return self._counts

    @property
    def n_classes(self) -> int:
        """Classes that the scores tell apart; 0 while there were none."""
        return 0 if self._counts is None else (self._counts.num_classes or 0)

    def figures(self, n_classes: int, device: torch.device) -> dict[str, list[float]]:
        """Return precision, recall and F1 by class; NaN for a class that was neither seen nor predicted.

        In a distributed run every process must call this.

        Args:
            n_classes: Classes that any process met; 0 for none.
            device: Where counts live.
        """
        if not n_classes:
            return {}
        counts = self._of(n_classes, device)
        if not counts.update_called:
            nothing = torch.zeros(0, dtype=torch.long, device=device)
            counts.update(nothing, nothing)
        hits, false_alarms, _, misses, _ = counts.compute().double().T
        return {
            "precision": (hits / (hits + false_alarms)).tolist(),
            "recall": (hits / (hits + misses)).tolist(),
            "f1": (2 * hits / (2 * hits + false_alarms + misses)).tolist(),
        }
