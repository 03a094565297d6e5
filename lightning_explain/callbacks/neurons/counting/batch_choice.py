"""The batches that a neuron monitor counts, where a budget does not allow all, or fewer say as much."""

from collections.abc import Mapping
from typing import Any

import torch

from lightning_explain.budget import stride_within
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule, largest
from lightning_explain.callbacks.neurons.counting.watch import STAGES, Stage
from lightning_explain.callbacks.neurons.results import Counted
from lightning_explain.errors import ConfigurationError

FOR_COUNTING = 0.5
"""Share of the budget that counting may take; the rest is for reports."""

DECIDED_AFTER = tuple(16 << (3 * power) for power in range(8))
"""Batches of a training epoch after which it is seen anew how rarely to count: 16, 128, 1024, ..."""

FEWEST = 8
"""Batches of a validation that are counted at least: its samples may come sorted by class."""

CHEAPER = 4
"""A validation batch goes forward only; until the first ones were timed they get so many times the stride."""


ENOUGH = 200
"""Training samples of each class that are counted at least: a rate of one half then has a standard error of 3.5 %."""

MOST_SPARED = 64
"""Largest interval of counted batches that follows from numbers of samples."""


def stride_of_samples(train: torch.Tensor, val: torch.Tensor) -> int:
    """Return the largest power of two n such that every n-th training batch is enough.

    Enough are `ENOUGH` samples of each class, and as many of each as validation has: training rates are compared with
    those of validation, which then are no surer.

    Args:
        train: Training samples of each class [classes].
        val: Validation samples of each class [classes].

    Example:
        >>> stride_of_samples(torch.tensor([400.0, 420.0]), torch.tensor([100.0, 90.0]))
        2
        >>> stride_of_samples(torch.tensor([6000.0, 5000.0]), torch.tensor([1000.0, 900.0]))
        4
    """
    n_classes = max(len(train), len(val))
    train, val = (torch.nn.functional.pad(each.double(), (0, n_classes - len(each))) for each in (train, val))
    seen = (train > 0) | (val > 0)
    if not bool(seen.any()):
        return 1
    spare = float((train / val.clamp_min(ENOUGH))[seen].min())
    stride = 1
    while 2 * stride <= min(spare, MOST_SPARED):
        stride *= 2
    return stride


def _ends_with_validation(trainer: Any) -> bool:
    """Return True if the running epoch certainly ends with a validation; where none does, training is reported."""
    every = trainer.check_val_every_n_epoch
    return every is not None and (trainer.current_epoch + 1) % every == 0


class StageChoice:
    """Every n-th batch of one stage, and what counting costs there.

    Attributes:
        every: n.
        n_counted: Batches counted since the stage began.
        n_batches: Batches since then.
        is_timed: True if n was found by timing.
    """

    def __init__(self) -> None:
        self.every = 1
        self.n_counted = self.n_batches = 0
        self.is_timed = False
        self._is_first = True
        self._forget_times()

    def _forget_times(self) -> None:
        self._seconds = {"counting": 0.0, "else": 0.0}
        self._n = {"counting": 0, "else": 0}

    def begin(self) -> None:
        """Begin the stage anew."""
        self.n_counted = self.n_batches = 0
        self._forget_times()

    def add(self, *, counted: bool, counting: float, passed: float) -> None:
        """Note a batch, the seconds that counting it took, and all that passed from its begin to its end."""
        self.n_batches += 1
        self.n_counted += counted
        if self._is_first:
            self._is_first = False
            return  # of the run: memory is allocated, functional activations are looked for
        for what, seconds, n in (("counting", counting, int(counted)), ("else", passed - counting, 1)):
            self._seconds[what] += seconds
            self._n[what] += n

    def stride(self, share: float) -> int:
        """Return the interval of counted batches by the times since the last choice; as before where there are none."""
        if not self._n["counting"]:
            return self.every
        self.is_timed = True
        cost, pause = (self._seconds[what] / self._n[what] for what in ("counting", "else"))
        self._forget_times()
        return stride_within(share, cost=cost, pause=pause)


class BatchChoice:
    """Skips batches that a budget does not allow to count, and training batches that are not needed.

    Without a budget every n-th training batch is counted, or as many as the counts of the epoch before show to be
    enough. With a budget, how rarely is decided by all processes together: when a stage begins, and after 16, 128,
    1024, ... batches of a training epoch, where processes are in step with each other; within a validation they need
    not be.

    Args:
        schedule: The time that is spent, and the budget.
        every: Count every n-th training batch where there is no budget; None to go by the numbers of samples.

    Attributes:
        counts: True if the running batch is counted.
    """

    def __init__(self, schedule: MonitorSchedule, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ConfigurationError(
                f"count_every_n_batches={every}; expected at least 1, or None to count as many training batches as "
                "rates need."
            )
        self.counts = True
        self._every = every
        self._wholly = False
        self._schedule = schedule
        self._stages: dict[Stage, StageChoice] = {}
        self._at_begin = (0.0, 0.0)
        self.begin_run()

    def begin_run(self) -> None:
        """Begin a fit."""
        self._stages = {stage: StageChoice() for stage in STAGES}
        self._stages["train"].every = self._every or 1
        self._spared, self._smallest_class = 1, 0.0

    def _now(self) -> tuple[float, float]:
        return self._schedule.stopwatch.spent, self._schedule.stopwatch.elapsed()

    def begin_stage(self, stage: Stage, trainer: Any, *, wholly: bool = False) -> None:
        """Begin a stage anew; a collective call in a distributed run.

        Args:
            stage: The stage.
            trainer: The Trainer.
            wholly: Count every batch, whatever it costs.
        """
        choice = self._stages[stage]
        self._wholly = wholly and stage == "val"
        if self._schedule.limit is not None and trainer.state.fn == "fit":
            every = choice.every
            if stage == "val":
                every = choice.every if choice.is_timed else CHEAPER * self._stages["train"].every
                every = min(every, *(max(1, int(n) // FEWEST) for n in trainer.num_val_batches if n < float("inf")))
            choice.every = largest(trainer, every)
        elif stage == "train":
            choice.every = self._every or (self._spared if _ends_with_validation(trainer) else 1)
        choice.begin()

    def spare(self, train: Mapping[str, torch.Tensor], val: Mapping[str, torch.Tensor]) -> None:
        """Choose the training batches of the next epoch by the samples of each class that were counted in this one.

        Args:
            train: Training samples of each class [classes] by layer, over all processes.
            val: Validation samples of each class [classes] by layer.
        """
        if not train or not val:
            return
        choice = self._stages["train"]
        # some layers are counted more rarely, or run in some batches only
        counted = torch.stack(list(train.values())).amax(0).cpu()
        self._smallest_class = float(counted[counted > 0].min()) if bool((counted > 0).any()) else 0.0
        if self._schedule.limit is None and self._every is None and not self._schedule.reports_by_step:
            self._spared = stride_of_samples(choice.every * counted, torch.stack(list(val.values())).amax(0).cpu())

    def begin_batch(self, stage: Stage, batch_idx: int) -> bool:
        """Return True if a batch is to be counted."""
        wholly = stage == "val" and (self._wholly or self._schedule.limit is None)
        self.counts = wholly or batch_idx % self._stages[stage].every == 0
        self._at_begin = self._now()
        return self.counts

    def end_batch(self, stage: Stage, trainer: Any) -> None:
        """Note that a batch is done. Now and then a collective call, to see anew how rarely to count."""
        limit = self._schedule.limit
        choice, (spent, elapsed) = self._stages[stage], self._now()
        choice.add(counted=self.counts, counting=spent - self._at_begin[0], passed=elapsed - self._at_begin[1])
        if limit is not None and stage == "train" and choice.n_batches in DECIDED_AFTER:
            choice.every = largest(trainer, choice.stride(FOR_COUNTING * limit))

    def end_stage(self, stage: Stage) -> None:
        """Choose the interval of the next stage; all processes agree on one when it begins."""
        if self._schedule.limit is not None:
            self._stages[stage].every = self._stages[stage].stride(FOR_COUNTING * self._schedule.limit)

    def counted(self, stage: Stage) -> Counted | None:
        """Return the number of batches of a stage that were counted; None without a budget if all were."""
        choice = self._stages[stage]
        if self._schedule.limit is not None:
            return Counted(choice.n_counted, choice.n_batches)
        if choice.every == 1:
            return None
        error = 0.5 / self._smallest_class**0.5 if self._smallest_class else None
        return Counted(choice.n_counted, choice.n_batches, error)

    def state_dict(self) -> dict[str, list[int]]:
        """Return the strides and the batches so far, as plain numbers."""
        stages = {stage: [c.every, c.n_counted, c.n_batches] for stage, c in self._stages.items()}
        return {**stages, "spared": [self._spared]}

    def load_state_dict(self, state: dict[str, list[int]]) -> None:
        """Go on from what `state_dict` returned."""
        for stage, choice in self._stages.items():
            choice.every, choice.n_counted, choice.n_batches = state[stage]
            choice.is_timed = choice.n_batches > 0
        (self._spared,) = state.get("spared", [1])  # checkpoints of before have none
