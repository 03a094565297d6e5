"""A monitor with max_overhead stretches its cadence; the clock is turned by the tests, the runs are real."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, Probe, Saliency
from lightning_explain import schedule as schedule_module
from lightning_explain.callbacks.neurons import measurements
from lightning_explain.callbacks.neurons.counting import stage_counts as neuron_counts
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.reliability.matrix import Case, run
from tests.training import fit, logged_fit

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*that max_overhead"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

N_BATCHES = 8
"""Training batches of an epoch; each takes a second of the tests' clock."""

VALIDATION = 3 * 1.0
"""Seconds of the three batches of a validation."""


class Clock(pl.Callback):
    """A clock that stands still but for what the tests let pass, and what a batch takes. Last of the callbacks."""

    def __init__(self) -> None:
        self.now = 0.0

    def tick(self, seconds: float) -> None:
        self.now += seconds

    def on_train_batch_start(self, *_: Any) -> None:
        self.tick(1.0)

    def on_validation_batch_start(self, *_: Any) -> None:
        self.tick(1.0)

    def asks(self, seconds: float) -> Any:
        """Return a method that takes so long."""

        def explained(model: Any, inputs: Any, target: Any = None) -> Any:
            self.tick(seconds)
            return Saliency()(model, inputs, target)

        return explained

    def reads(self, seconds: float) -> Any:
        """Return a way to a batch's labels that takes so long."""

        def labels(batch: Any) -> Any:
            self.tick(seconds)
            return batch[1]

        return labels


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (schedule_module, neuron_counts):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def timed_run(clock: Clock, monitors: list[Any], *, n_val: int = 40, **options: Any) -> pl.Trainer:
    data = DigitData(n_train=16 * N_BATCHES, n_val=n_val, batch_size=16)
    return fit(*monitors, clock, data=data, seed=1, num_sanity_val_steps=0, **{"max_epochs": 12, **options})


def attribution(clock: Clock, **options: Any) -> AttributionMonitor:
    defaults = {"probe": small_probe(), "measures": ["cosine"], "on_error": "raise"}
    return AttributionMonitor(method={"slow": clock.asks(2.0)}, **(defaults | options))


def small_probe() -> Probe:
    return Probe.from_dataset(DigitData().val, per_class=1)


def neurons(clock: Clock, seconds: float, **options: Any) -> ActiveNeuronMonitor:
    defaults = {"probe": small_probe(), "feeding": 0, "maps": 0, "on_error": "raise"}
    return ActiveNeuronMonitor(target=clock.reads(seconds), **(defaults | options))


def epochs_of(monitor: Any) -> list[int]:
    return [record["epoch"] for record in monitor.records]


def expected_epochs(n_epochs: int, *, share: float, cost: float) -> list[int]:
    """Which epochs fit, written anew from the rule: this explanation and one more must fit in."""
    passed, spent, found = cost, cost, []
    for epoch in range(n_epochs):
        passed += N_BATCHES
        if spent + 2 * cost <= share * (passed + 2 * cost) or epoch == n_epochs - 1:
            passed, spent = passed + cost, spent + cost
            found.append(epoch)
        passed += VALIDATION
    return found


def test_an_attribution_monitor_explains_where_it_fits_and_at_both_ends(clock: Clock, tmp_path: Path) -> None:
    monitor = attribution(clock, max_overhead=0.1)
    trainer = timed_run(clock, [monitor], logger=TensorBoardLogger(tmp_path))
    assert epochs_of(monitor) == [0, *expected_epochs(12, share=0.1, cost=2.0)]
    assert 3 < len(monitor.records) < 12
    assert monitor.records[0]["step"] == 0
    assert [record["skipped"] for record in monitor.records][:2] == [0, epochs_of(monitor)[1]]
    logged = Events(trainer.log_dir or "").curve("explain/attribution/overhead")
    assert list(logged.values())[-1] <= 0.1
    assert list(logged)[-1] == 12 * N_BATCHES


def test_without_a_budget_nothing_is_skipped_or_said(clock: Clock, tmp_path: Path) -> None:
    monitor = attribution(clock)
    trainer = timed_run(clock, [monitor], logger=TensorBoardLogger(tmp_path), max_epochs=3)
    assert epochs_of(monitor) == [0, 0, 1, 2]
    assert "skipped" not in monitor.records[-1]
    assert monitor.state_dict()["pacing"] is None
    assert len(Events(trainer.log_dir or "").curve("explain/attribution/overhead")) == 4


def test_the_state_a_run_was_stopped_in_is_explained(clock: Clock) -> None:
    monitor = attribution(clock, max_overhead=0.01)
    stop = EarlyStopping("val_loss", patience=0, mode="max", check_on_train_epoch_end=False)
    trainer = timed_run(clock, [monitor, stop], max_epochs=50)
    assert trainer.current_epoch < 5
    assert epochs_of(monitor) == [0, trainer.current_epoch - 1]
    assert monitor.records[-1]["step"] == trainer.global_step - 1
    assert monitor.latest is not None
    assert monitor.probe is not None
    model = trainer.lightning_module.eval()
    with torch.no_grad():
        assert torch.allclose(monitor.latest.scores, model(monitor.probe.inputs), atol=1e-6)


@pytest.mark.parametrize("options", [{"limit_val_batches": 0}, {"max_epochs": -1, "max_steps": 40}])
def test_the_last_epoch_is_explained_once_however_the_run_ends(clock: Clock, options: dict[str, Any]) -> None:
    monitor = attribution(clock, max_overhead=0.001)
    trainer = timed_run(clock, [monitor], **{"max_epochs": 5, **options})
    assert trainer.current_epoch == 5
    assert epochs_of(monitor) == [0, 4]


def test_by_steps_the_last_moment_that_was_skipped_is_made_up_for(clock: Clock) -> None:
    monitor = attribution(clock, max_overhead=0.001, every_n_epochs=None, every_n_train_steps=3)
    timed_run(clock, [monitor], max_epochs=2)
    assert [record["step"] for record in monitor.records] == [0, 2 * N_BATCHES - 1]


def test_one_of_min_every_moments_is_used(clock: Clock) -> None:
    monitor = attribution(clock, max_overhead=0.001, min_every=4)
    with pytest.warns(ExplanationWarning, match=r"more than the 0.1 % that max_overhead=0.001 allows"):
        timed_run(clock, [monitor])
    assert epochs_of(monitor) == [0, 3, 7, 11]


def test_monitors_share_the_budget(clock: Clock) -> None:
    monitors = [attribution(clock, max_overhead=0.2, name=name) for name in ("a", "b")]
    unlimited = attribution(clock, name="c")
    timed_run(clock, [*monitors, unlimited], max_epochs=14)
    assert len(unlimited.records) == 15
    for monitor in monitors:
        assert 3 < len(monitor.records) < 15
        assert monitor._schedule.limit == pytest.approx(0.1)
        assert monitor._schedule.stopwatch.share() <= 0.1


def test_paths_stretch_their_cadence_too(clock: Clock) -> None:
    slow = DecisionPathMonitor(
        forward_fn=lambda module, x: (clock.tick(0.5), module(x))[1],
        probe=small_probe(),
        max_overhead=0.1,
        on_error="raise",
    )
    timed_run(clock, [slow])
    assert slow.records[0]["epoch"] is None
    assert epochs_of(slow)[-1] == 11
    assert 3 < len(slow.records) < 12
    assert slow._schedule.stopwatch.share() <= 0.1


def test_neurons_are_counted_in_as_many_batches_as_fit(clock: Clock, tmp_path: Path) -> None:
    # every batch counted takes 0.08 s of 1.08 s: with 5 % for counting every 2nd one fits
    monitor = neurons(clock, 0.08, max_overhead=0.1)
    trainer = timed_run(clock, [monitor], max_epochs=6, logger=TensorBoardLogger(tmp_path))
    assert epochs_of(monitor)[-1] == 5
    counted = monitor.records[-1]["counted"]
    assert counted["train"] == {"n_batches": 4, "of": N_BATCHES}
    assert monitor.latest is not None
    profile = monitor.profiles["train"]["head.1"]
    assert int(profile.n_samples.sum()) == 4 * 16
    assert counted["val"] == {"n_batches": 3, "of": 3}  # a validation that is reported is counted wholly
    assert int(monitor.profiles["val"]["head.1"].n_samples.sum()) == 40
    lines = (Path(trainer.log_dir or "") / "explain/neurons/record.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["counted"] == counted
    assert Events(trainer.log_dir or "").curve("explain/neurons/overhead")
    assert monitor._schedule.stopwatch.share() <= 0.1


def test_every_batch_is_counted_where_that_fits_or_no_budget_is_set(clock: Clock) -> None:
    cheap = neurons(clock, 0.001, max_overhead=0.1, name="cheap")
    free = neurons(clock, 0.05, name="free")
    timed_run(clock, [cheap, free], max_epochs=2)
    for monitor in (cheap, free):
        assert int(monitor.profiles["train"]["head.1"].n_samples.sum()) == 16 * N_BATCHES
    assert cheap.records[-1]["counted"]["train"] == {"n_batches": N_BATCHES, "of": N_BATCHES}
    assert "counted" not in free.records[-1]


def test_rates_are_those_of_the_samples_counted(clock: Clock) -> None:
    few = neurons(clock, 0.08, max_overhead=0.1)
    seen: list[torch.Tensor] = []

    class Counting(pl.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            seen.clear()

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx % 2 == 0:
                seen.append(batch[1])

    timed_run(clock, [few, Counting()], max_epochs=6)
    by_class = torch.cat(seen).bincount(minlength=10)
    assert torch.equal(few.profiles["train"]["head.1"].n_samples, by_class)


def test_reports_that_do_not_fit_are_skipped_but_for_the_first_and_the_last(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = neurons(clock, 0.08, max_overhead=0.05)
    written = monitor._reporter._write
    monkeypatch.setattr(monitor._reporter, "_write", lambda *given: (clock.tick(2.0), written(*given)))
    stop = EarlyStopping("val_loss", patience=0, mode="max", check_on_train_epoch_end=False)
    trainer = timed_run(clock, [monitor, stop], max_epochs=50, n_val=16 * 16)
    assert epochs_of(monitor) == [0, trainer.current_epoch - 1]
    # nobody knew that the run would stop there: every 4th batch would fit, but 8 of a validation are always counted
    counted = [record["counted"]["val"]["n_batches"] for record in monitor.records]
    assert counted == [16, 8]
    assert monitor.records[-1]["skipped"] == trainer.current_epoch - 1
    assert monitor.latest is not None
    assert monitor.latest.stage == "val"


def test_a_stretched_cadence_survives_resume(clock: Clock, tmp_path: Path) -> None:
    def saver() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, save_last=True)

    def of(monitors: list[Any]) -> list[list[Any]]:
        return [epochs_of(monitor) for monitor in monitors]

    def two() -> list[Any]:
        return [neurons(clock, 0.08, max_overhead=0.2), attribution(clock, max_overhead=0.2)]

    whole, first, second = two(), two(), two()
    timed_run(clock, whole, max_epochs=10)

    class Cut(pl.Callback):
        def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.current_epoch == 6:
                raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        timed_run(clock, [*first, saver(), Cut()], max_epochs=10, enable_checkpointing=True)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    assert all(0 < s["pacing"]["spent"] < s["pacing"]["elapsed"] for key, s in state.items() if "Monitor" in key)
    pl.seed_everything(1, verbose=False)
    trainer = quiet_trainer(
        callbacks=[*second, saver(), clock], num_sanity_val_steps=0, max_epochs=10, enable_checkpointing=True
    )
    data = DigitData(n_train=16 * N_BATCHES, n_val=40, batch_size=16)
    trainer.fit(DigitNet(), data, ckpt_path=tmp_path / "last.ckpt")
    joined = [a + b for a, b in zip(of(first), of(second), strict=True)]
    assert joined == of(whole)
    assert 3 < len(joined[1]) < 10
    counted = [[record["counted"] for record in monitors[0].records] for monitors in (whole, second)]
    assert counted[0][-len(counted[1]) :] == counted[1]


def test_the_run_is_bit_identical_under_a_budget() -> None:
    assert run(Case(watching="a budget of time")) == []


def test_a_shared_budget_says_what_is_left_for_each() -> None:
    monitors = [
        monitor(on_error="raise", max_overhead=0.02, every_n_epochs=1, every_n_train_steps=2)
        for monitor in (ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor)
    ]
    with pytest.warns(ExplanationWarning, match="more than the 0.667 % that max_overhead=0.02, shared by 3"):
        quiet_trainer(callbacks=monitors).fit(DigitNet(), DigitData())
    assert all(monitor.records for monitor in monitors)


@pytest.mark.parametrize("monitor", [ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor])
@pytest.mark.parametrize("options", [{"max_overhead": 0.0}, {"max_overhead": 1.0}, {"min_every": 3}])
def test_what_is_no_budget_is_refused(monitor: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        monitor(**options)


def test_what_takes_passes_of_its_own_is_made_of_the_finished_network_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "SHARE", 100.0)
    monitor = ActiveNeuronMonitor(feeding=1, maps=0, on_error="raise")
    _, events = logged_fit(monitor, tmp_path, max_epochs=7)
    steps = [record["step"] for record in monitor.records]
    shown = [steps[count - 1] for count in (1, 2, 4, 7)]
    assert events.steps("explain/neurons/head.1/features") == shown
    assert monitor.latest is not None
    assert {card.epoch for cards in monitor.latest.cards.values() for card in cards.values()} == {6}
