"""The batches that a neuron monitor counts, where a budget does not allow all."""

from typing import Any

from lightning_explain.budget import stride_within
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule, largest
from lightning_explain.callbacks.neurons.counting.watch import STAGES, Stage
from lightning_explain.callbacks.neurons.results import Counted

FOR_COUNTING = 0.5
"""Share of the budget that counting may take; the rest is for reports."""

DECIDED_AFTER = tuple(16 << (3 * power) for power in range(8))
"""Batches of a training epoch after which it is seen anew how rarely to count: 16, 128, 1024, ..."""

FEWEST = 8
"""Batches of a validation that are counted at least: its samples may come sorted by class."""

CHEAPER = 4
"""A validation batch goes forward only; until the first ones were timed they get so many times the stride."""


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
    """Skips batches that a budget does not allow to count; without a budget all are counted.

    How rarely is decided by all processes together: when a stage begins, and after 16, 128, 1024, ... batches of a
    training epoch, where processes are in step with each other; within a validation they need not be.

    Args:
        schedule: The time that is spent, and the budget.

    Attributes:
        counts: True if the running batch is counted.
    """

    def __init__(self, schedule: MonitorSchedule) -> None:
        self.counts = True
        self._wholly = False
        self._schedule = schedule
        self._stages: dict[Stage, StageChoice] = {}
        self._at_begin = (0.0, 0.0)
        self.begin_run()

    def begin_run(self) -> None:
        """Begin a fit."""
        self._stages = {stage: StageChoice() for stage in STAGES}

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
        choice.begin()

    def begin_batch(self, stage: Stage, batch_idx: int) -> bool:
        """Return True if a batch is to be counted."""
        self.counts = (
            self._schedule.limit is None
            or (stage == "val" and self._wholly)
            or batch_idx % self._stages[stage].every == 0
        )
        self._at_begin = self._now()
        return self.counts

    def end_batch(self, stage: Stage, trainer: Any) -> None:
        """Note that a batch is done. Now and then a collective call, to see anew how rarely to count."""
        limit = self._schedule.limit
        if limit is None:
            return
        choice, (spent, elapsed) = self._stages[stage], self._now()
        choice.add(counted=self.counts, counting=spent - self._at_begin[0], passed=elapsed - self._at_begin[1])
        if stage == "train" and choice.n_batches in DECIDED_AFTER:
            choice.every = largest(trainer, choice.stride(FOR_COUNTING * limit))

    def end_stage(self, stage: Stage) -> None:
        """Choose the interval of the next stage; all processes agree on one when it begins."""
        if self._schedule.limit is not None:
            self._stages[stage].every = self._stages[stage].stride(FOR_COUNTING * self._schedule.limit)

    def counted(self, stage: Stage) -> Counted | None:
        """Return the number of batches of a stage that were counted; None without a budget."""
        choice = self._stages[stage]
        return None if self._schedule.limit is None else Counted(choice.n_counted, choice.n_batches)

    def state_dict(self) -> dict[str, list[int]]:
        """Return the strides and the batches so far, as plain numbers."""
        return {stage: [c.every, c.n_counted, c.n_batches] for stage, c in self._stages.items()}

    def load_state_dict(self, state: dict[str, list[int]]) -> None:
        """Go on from what `state_dict` returned."""
        for stage, choice in self._stages.items():
            choice.every, choice.n_counted, choice.n_batches = state[stage]
            choice.is_timed = choice.n_batches > 0
