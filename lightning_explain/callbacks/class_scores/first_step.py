"""The first training step of a fit: how its loss reads what is explained, and which labels it uses."""

from typing import Any

from torch import Tensor, nn

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.label_use import LabelUse, Relabelling
from lightning_explain.callbacks.class_scores.loss_evidence import LossEvidence
from lightning_explain.schedule import Stopwatch


class FirstStep:
    """Listens to one training step, and keeps what it told of the scores and of the labels.

    Args:
        question: How the explained function is reached.
        guard: The monitor's error handling.
        stopwatch: Measures the time spent.

    Attributes:
        no_scores: Why the loss speaks against class scores in what is explained; empty where it does not.
    """

    def __init__(self, question: Question, guard: Guard, stopwatch: Stopwatch) -> None:
        self._question = question
        self._guard = guard
        self._stopwatch = stopwatch
        self._evidence = LossEvidence(question)
        self._wanted = False
        self._label_use = LabelUse()
        self._relabelling: Relabelling | None = None
        self.no_scores = ""

    def begin_run(self, *, wanted: bool) -> None:
        """Begin a run, whose first step is listened to unless the user says what is explained."""
        self._evidence.detach()
        self._wanted = wanted and self._question.output is None and self._question.forward_fn is None
        self._label_use, self._relabelling, self.no_scores = LabelUse(), None, ""

    def begin(self, pl_module: nn.Module, batch: Any) -> None:
        """Listen, in the first step."""
        if self._wanted:
            with self._stopwatch.spending(), self._guard.doing("listening to the first training step"):
                self._evidence.attach(pl_module, batch)

    def before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Follow a loss of the step back to the module's output."""
        if self._wanted:
            # under manual optimisation the step still runs, and has returned nothing yet
            redirected = pl_module.automatic_optimization and trainer.strategy.model is not trainer.lightning_module
            with self._stopwatch.spending(), self._guard.doing("reading the graph of the first loss"):
                self._evidence.read(loss, redirected=redirected)

    def end(self, pl_module: nn.Module) -> None:
        """Take the hooks off, and keep what was found."""
        if not self._wanted:
            return
        self._wanted = False
        weight = self._evidence.reading.weight
        if weight is not None:
            name = next((name for name, own in pl_module.named_parameters() if own is weight), "a weight matrix")
            self.no_scores = (
                f"the loss does not read it as class scores: the way to them leads through {name}, a weight matrix, "
                "as with an embedding that another layer turns into scores"
            )
        elif self._evidence.reading.only_compares:
            self.no_scores = (
                "the loss reads no class scores from it, but takes distances or products of its rows, as with an "
                "embedding"
            )
        self._label_use = self._evidence.label_use
        self._evidence.detach()

    def interrupt(self) -> None:
        """Stop listening."""
        self._evidence.detach()

    def relabelling(self, *, waiting: bool) -> Relabelling | None:
        """Return the classes that the loss took the labels for; None if for themselves, or nothing is known.

        Args:
            waiting: Whether comparing may wait for the device.
        """
        if self._label_use.labels is not None and (waiting or not self._label_use.waits):
            self._relabelling, self._label_use = self._label_use.compared(), LabelUse()
        return self._relabelling
