"""Every n-th batch is counted, with n from the times that counting and training take."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.callbacks.neurons.counting import batch_choice
from lightning_explain.callbacks.neurons.counting.batch_choice import (
    ENOUGH,
    MOST_SPARED,
    BatchChoice,
    StageChoice,
    stride_of_samples,
)
from lightning_explain.errors import ConfigurationError
from tests.callbacks.neurons.small_counts import schedule
from tests.events import tab_headers
from tests.models import DigitData
from tests.training import fit, logged_fit


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


TRAINER: Any = SimpleNamespace(
    state=SimpleNamespace(fn="fit"),
    num_val_batches=[100],
    world_size=1,
    global_rank=0,
    check_val_every_n_epoch=1,
    current_epoch=0,
)


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


@given(st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 5_000)), max_size=12))
def test_what_is_left_of_each_class_is_enough(classes: list[tuple[int, int]]) -> None:
    train, val = (torch.tensor([float(pair[i]) for pair in classes]) for i in (0, 1))
    stride = stride_of_samples(train, val)
    needed = [(n, max(ENOUGH, m)) for n, m in classes if n or m]

    def enough(each: int) -> bool:
        return all(n >= each * m for n, m in needed)

    assert stride == 1 or enough(stride)
    assert stride == MOST_SPARED or not needed or not enough(2 * stride)


def test_classes_that_one_stage_lacks_are_counted_wholly() -> None:
    assert stride_of_samples(torch.tensor([4000.0]), torch.tensor([100.0, 90.0])) == 1
    assert stride_of_samples(torch.zeros(0), torch.zeros(0)) == 1
    assert stride_of_samples(torch.tensor([1e9]), torch.tensor([1.0])) == MOST_SPARED


def test_epochs_without_a_validation_are_counted_wholly() -> None:
    choice = BatchChoice(schedule())
    choice.spare({"a": torch.tensor([800.0])}, {"a": torch.tensor([200.0])})
    trainer = SimpleNamespace(**vars(TRAINER) | {"check_val_every_n_epoch": 2})
    strides: list[int] = []
    for trainer.current_epoch in range(4):
        choice.begin_stage("train", trainer)
        strides.append(sum(choice.begin_batch("train", i) for i in range(8)))
    trainer.check_val_every_n_epoch = None  # validations by steps: no epoch is sure to end with one
    choice.begin_stage("train", trainer)
    assert [*strides, sum(choice.begin_batch("train", i) for i in range(8))] == [8, 2, 8, 2, 8]
    resumed = BatchChoice(schedule())
    resumed.load_state_dict(choice.state_dict())
    resumed.begin_stage("train", TRAINER)
    assert sum(resumed.begin_batch("train", i) for i in range(8)) == 2
    resumed.load_state_dict({stage: [1, 0, 0] for stage in ("train", "val")})  # of an earlier version


def test_layers_that_are_counted_more_rarely_do_not_decide() -> None:
    choice = BatchChoice(schedule())
    train = {"relu": torch.tensor([800.0, 900.0]), "attention": torch.tensor([100.0, 110.0])}
    choice.spare(train, {"relu": torch.tensor([100.0, 100.0])})
    choice.begin_stage("train", TRAINER)
    assert [i for i in range(9) if choice.begin_batch("train", i)] == [0, 4, 8]


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_choice, "ENOUGH", 5)


@pytest.mark.usefixtures("few_are_enough")
def test_a_run_counts_every_second_batch_and_says_so(tmp_path: Path) -> None:
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, exemplars=0, count_every_n_batches=None, on_error="raise")
    data = DigitData(n_train=256, n_val=96)
    trainer, events = logged_fit(monitor, tmp_path, data=data, max_epochs=3)
    assert "counted" not in monitor.records[0]
    for record in monitor.records[1:]:
        counted = record["counted"]["train"]
        assert (counted["n_batches"], counted["of"]) == (4, 8) and "val" not in record["counted"]
    trained = monitor.profiles["train"]["head.1"].n_samples
    assert int(trained.sum()) == 4 * 32 and int(monitor.profiles["val"]["head.1"].n_samples.sum()) == 96
    smallest = min(int(n) for n in trained)
    assert counted["rate_error"] == pytest.approx(0.5 / smallest**0.5, abs=1e-4)
    words = f"Counted in 4 of 8 batches, rates within ± {100 * 0.5 / smallest**0.5:.2g} points (standard error)."
    assert f"Training: {words}" in events.text("explain/neurons/notes")
    assert tab_headers(trainer.loggers[0].log_dir, "explain/neurons/tab")[-1]["training"] == words  # type: ignore[attr-defined]


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("options", [{}, {"count_every_n_batches": None, "every_n_train_steps": 3}])
def test_every_batch_is_counted_by_default_and_where_reports_come_within_an_epoch(options: dict[str, Any]) -> None:
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, exemplars=0, on_error="raise", **options)
    fit(monitor, max_epochs=2)
    assert int(monitor.profiles["train"]["head.1"].n_samples.sum()) == 256 and "counted" not in monitor.records[-1]


def test_an_interval_below_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="count_every_n_batches=0; expected at least 1"):
        ActiveNeuronMonitor(count_every_n_batches=0)
