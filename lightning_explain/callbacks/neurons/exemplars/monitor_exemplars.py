"""The exemplars of one monitor over a run: collected in each validation that is reported, compared with the last."""

from typing import Any

import torch
from torch import Tensor

from lightning_explain.batches import input_of
from lightning_explain.callbacks.base.default_probe import flat_loaders
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.neurons.counting.stage_counts import StageCounts
from lightning_explain.callbacks.neurons.exemplars.collector import ExemplarCollector
from lightning_explain.callbacks.neurons.exemplars.sample_numbers import DataNumbers, SampleNumbers
from lightning_explain.exemplars import Exemplars, LayerExemplars
from lightning_explain.exemplars.layer_exemplars import Remembered


class MonitorExemplars:
    """Collects and compares the exemplars of one monitor.

    Args:
        options: What is kept.
        question: Where batches hold the input.
        guard: The monitor's error handling.

    Attributes:
        options: What is kept.
        layers: The last exemplars by layer.
        numbers: What the numbers of their samples stand for; None before the first pass of this run.
    """

    def __init__(self, options: Exemplars, *, question: Question, guard: Guard) -> None:
        self.options = options
        self.layers: dict[str, LayerExemplars] = {}
        self.numbers: DataNumbers | None = None
        self._remembered: dict[str, Remembered] = {}
        self._question = question
        self._guard = guard
        self._collector: ExemplarCollector | None = None
        self._counting: SampleNumbers | None = None
        self._counts: StageCounts | None = None

    # -- a validation pass -------------------------------------------------------------------------------------

    def begin(self, trainer: Any, counts: StageCounts | None) -> None:
        """Begin a validation pass.

        Args:
            trainer: The Trainer.
            counts: The counts of validation, in whose hooks exemplars are collected; None to collect none.
        """
        self._stop()
        if counts is not None and self.options.k:
            self._counts = counts
            self._counting = SampleNumbers(flat_loaders(trainer.val_dataloaders), Ranks.of(trainer))
            self._collector = counts.exemplars = ExemplarCollector(self.options.k)

    def begin_batch(self, batch: Any, batch_idx: int, loader: int, labels: Tensor | None) -> None:
        """Number the samples of a batch.

        Args:
            batch: The batch.
            batch_idx: Its index in this process and loader.
            loader: Index of its loader.
            labels: Class of each sample: int64 [batch]; None for none.
        """
        if self._collector is None or self._counting is None or self._counts is None:
            return
        numbers = self._counting.of_batch(loader, batch_idx, self._n_samples(batch, labels))
        of_class = self._counts.of_class
        self._collector.begin_batch(
            numbers, labels, labels >= 0 if of_class is None and labels is not None else of_class
        )

    def _n_samples(self, batch: Any, labels: Tensor | None) -> int:
        if labels is not None:
            return len(labels)
        inputs = input_of(batch, self._question.input)
        return len(inputs[0] if isinstance(inputs, tuple) else inputs)

    def end_batch(self) -> None:
        """Merge what the batch gave."""
        if self._collector is not None:
            self._collector.end_batch()

    def finish(self, trainer: Any, epoch: int, *, has_labels: bool) -> dict[str, LayerExemplars]:
        """Return the exemplars of the pass by layer; a collective call in a distributed run.

        Args:
            trainer: The Trainer.
            epoch: Index of the epoch.
            has_labels: False where labels turned out to be none.
        """
        collector, counting = self._collector, self._counting
        if collector is None or counting is None:
            return self.layers
        self._stop()
        tops, shapes = collector.tops(Ranks.of(trainer))
        self.numbers = counting.finish()
        found = dict[str, LayerExemplars]()
        for key, top in tops.items():
            found[key] = LayerExemplars.of(
                top if has_labels else top._replace(labels=torch.full_like(top.labels, -1)),
                self.numbers.of(top.numbers),
                shape=shapes[key],
                by=self.options.by,
                epoch=epoch,
                before=self._remembered.get(key),
            )
        self.layers = found
        self._remembered = {key: each.remembered for key, each in found.items()}
        return found

    def _stop(self) -> None:
        if self._counts is not None:
            self._counts.exemplars = None
        self._collector, self._counting, self._counts = None, None, None

    # -- state -------------------------------------------------------------------------------------------------

    def start_over(self) -> None:
        """Forget all exemplars: they belonged to another run."""
        self.layers, self.numbers, self._remembered = {}, None, {}

    def state_dict(self) -> dict[str, Any]:
        """Return what the next report compares with, as plain tensors, numbers and strings."""
        return {layer: found.state_dict() for layer, found in self._remembered.items()}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Continue from what `state_dict` returned; None of a checkpoint that has none."""
        self._remembered = {layer: Remembered.from_state_dict(saved) for layer, saved in (state or {}).items()}
