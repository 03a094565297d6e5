"""Every n-th batch is counted, with n from the times that counting and training take."""

from types import SimpleNamespace
from typing import Any

import pytest

from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice, StageChoice


def test_the_interval_keeps_the_share_of_time() -> None:
    choice = StageChoice()
    choice.add(counted=True, counting=50.0, passed=60.0)  # the first batch of a run says nothing
    for _ in range(4):
        choice.add(counted=True, counting=1.0, passed=2.0)
    assert choice.n_counted == 5
    every = choice.stride(0.1)
    # one second of counting in n batches of a second each, at most a tenth of the time
    assert 1 / (every + 1) <= 0.1 < 1 / (every / 2 + 1)
    assert every & (every - 1) == 0
    assert choice.is_timed


def test_without_a_counted_batch_the_interval_stays() -> None:
    choice = StageChoice()
    choice.every = 4
    choice.add(counted=False, counting=0.0, passed=1.0)
    choice.add(counted=False, counting=0.0, passed=1.0)
    assert choice.stride(0.1) == 4
    assert not choice.is_timed


class Clock:
    def __init__(self) -> None:
        self.spent = self.now = 0.0

    def elapsed(self) -> float:
        return self.now


class Spending(MonitorSchedule):
    """A schedule with a clock that is set by hand."""

    def __init__(self, limit: float | None) -> None:
        self.clock: Any = Clock()
        self._limit = limit

    @property
    def limit(self) -> float | None:
        return self._limit

    @property
    def stopwatch(self) -> Any:
        return self.clock


def choice_within(limit: float | None) -> tuple[BatchChoice, Clock]:
    schedule = Spending(limit)
    return BatchChoice(schedule), schedule.clock


TRAINER: Any = SimpleNamespace(state=SimpleNamespace(fn="fit"), num_val_batches=[100], world_size=1, global_rank=0)


def test_without_a_budget_every_batch_counts() -> None:
    choice, _ = choice_within(None)
    choice.begin_stage("train", TRAINER)
    assert all(choice.begin_batch("train", i) for i in range(20))


def test_with_a_budget_every_nth_counts_after_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, clock = choice_within(0.2)
    monkeypatch.setattr(
        "lightning_explain.callbacks.neurons.counting.batch_choice.largest", lambda trainer, value: value
    )
    choice.begin_stage("train", TRAINER)
    counted = []
    for i in range(64):
        if choice.begin_batch("train", i):
            counted.append(i)
            clock.spent += 1.0
            clock.now += 1.0
        clock.now += 1.0
        choice.end_batch("train", TRAINER)
    # half of a fifth is for counting: one second in ten, so every 16th of batches of one second
    assert counted == [*range(16), 16, 32, 48]


def test_a_validation_that_is_wanted_wholly_counts_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, _ = choice_within(0.01)
    monkeypatch.setattr(
        "lightning_explain.callbacks.neurons.counting.batch_choice.largest", lambda trainer, value: value
    )
    choice.begin_stage("val", TRAINER)
    assert [i for i in range(9) if choice.begin_batch("val", i)] == [0, 4, 8]
    choice.begin_stage("val", TRAINER, wholly=True)
    assert all(choice.begin_batch("val", i) for i in range(9))
