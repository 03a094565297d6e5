"""Measurements that take passes of their own: as many as the budget allows, and always at the end of a run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from lightning_explain import ActiveNeuronMonitor, InputXGradient, Probe
from lightning_explain.callbacks.neurons import measurements
from lightning_explain.callbacks.neurons.measurements import Measurements, n_samples_of
from lightning_explain.callbacks.neurons.reporter import NeuronReporter
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import Detail
from lightning_explain.neurons import unit_layers
from tests.callbacks.neurons.small_counts import GivenChoice, GivenCounts, guard, neuron_probe, no_exemplars, schedule
from tests.callbacks.neurons.small_reports import profile
from tests.events import tab_headers
from tests.models import quiet_trainer
from tests.training import fit, logged_fit


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Counted(InputXGradient):
    """Counts its calls."""

    n_calls = 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        Counted.n_calls += 1
        return super().__call__(*args, **options)


def measured_reports(n_reports: int, *, trained: int, max_epochs: int = -1, every: int | None = None) -> list[int]:
    """Return which of several reports had new feeding features; each epoch trains on so many samples."""
    net, watch = Net(), GivenCounts(val={"net.3": profile()})
    trainer = quiet_trainer(max_epochs=max_epochs)
    trainer.strategy.connect(net)
    trainer.state.fn = TrainerFn.FITTING
    watch.watched = tuple(replace(layer, unit_dim=1) for layer in unit_layers(net, "net.3"))
    probe = Probe(inputs=torch.rand(6, 3), targets=torch.tensor([0, 1] * 3))
    reporter = NeuronReporter(
        "neurons",
        watch=watch,
        probe=neuron_probe(probe),
        guard=guard(),
        schedule=schedule(),
        choice=GivenChoice(),
        class_names=["cat", "dog"],
        feeding=2,
        method=Counted(),
        maps=0,
        ablation=0,
        exemplars=no_exemplars(),
        detail=Detail("full"),
        measure_every_n_reports=every,
    )
    made: list[int] = []
    for epoch in range(n_reports):
        trainer.fit_loop.epoch_progress.current.processed = epoch
        trainer.fit_loop.epoch_progress.current.completed = epoch
        reporter.measurements.budget.train(trained)
        before = Counted.n_calls
        reporter.report_epoch(trainer, net, "val", step=epoch)
        assert reporter.latest is not None
        features = reporter.latest.layers["net.3"].feeding
        if made or Counted.n_calls > before:
            assert features is not None and set(features.neurons.tolist()) <= {0, 1, 3}  # neuron 2 is dead
        if Counted.n_calls > before:
            made.append(epoch + 1)
    return made


# 2 neurons of each class, 6 samples, input x gradient: 2 * 2 * 6 = 24 passes of a sample at each measurement
COST = 24


@pytest.mark.parametrize(
    ("trained", "max_epochs", "expected"),
    [
        (10_000, -1, [1, 2, 4, 8]),  # affordable: as reports double
        (10_000, 10, [1, 2, 4, 10]),  # the eighth is left to the last
        (10_000, 1000, [1, 2, 4, 8]),
        # 5 % of 3 * 100 samples are 15 passes an epoch: 24 after two, 48 after four; unknown length, so none is early
        (100, -1, [2, 4, 8]),
        # the first and the last fit into the whole run; 9 passes an epoch: 48 after six
        (60, 12, [1, 6, 12]),
        (60, 100, [1, 6, 8]),
        (60, 2, [2]),  # 18 passes in all are less than two measurements
        (1, 10, [10]),
        (0, 3, [3]),
    ],
)
def test_reports_are_measured_as_far_as_passes_go(trained: int, max_epochs: int, expected: list[int]) -> None:
    assert measured_reports(12 if max_epochs == 12 else 10 if max_epochs != 2 and max_epochs != 3 else max_epochs,
                            trained=trained, max_epochs=max_epochs) == expected  # fmt: skip


def test_a_user_may_measure_at_every_report() -> None:
    assert measured_reports(4, trained=0, max_epochs=4, every=1) == [1, 2, 3, 4]
    assert measured_reports(5, trained=0, max_epochs=5, every=2) == [2, 4, 5]
    with pytest.raises(ConfigurationError, match="measure_every_n_reports=0; expected at least 1"):
        ActiveNeuronMonitor(measure_every_n_reports=0)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (torch.zeros(7, 2), 7),
        ((torch.zeros(7, 2), torch.zeros(7)), 7),
        ({"meta": {"name": "a"}, "x": [torch.zeros(5)]}, 5),
        ("text", 1),
        (torch.tensor(3.0), 1),
        ([], 1),
    ],
)
def test_samples_of_a_batch(batch: Any, expected: int) -> None:
    assert n_samples_of(batch) == expected


def neurons(**options: Any) -> ActiveNeuronMonitor:
    return ActiveNeuronMonitor(**{"feeding": 1, "maps": 0, "on_error": "raise"} | options)


def test_a_short_run_ends_with_all_of_it_and_says_what_waited(tmp_path: Path) -> None:
    monitor = neurons()
    logged_fit(monitor, tmp_path, max_epochs=3)
    early, last = monitor.records[0], monitor.records[-1]
    assert early["not_measured_now"] == ["exemplars", "ablation", "feeding"] and not early["feeding"]
    assert early["passes"] == {"training": 3 * 256, "measurements": 0, "limit": measurements.SHARE}
    assert last["not_measured_now"] == [] and last["passes"]["training"] == 3 * 3 * 256
    assert {found["epoch"] for found in last["feeding"].values()} == {2} and set(last["feeding"]) == set(last["layers"])
    assert monitor.latest is not None and monitor.latest.cards and monitor.latest.effect_rows()
    assert [record["step"] for record in monitor.records] == [7, 15, 23]


class StopAfter(EarlyStopping):
    """Stops after an epoch, which no other callback knows before."""

    def __init__(self, epoch: int) -> None:
        super().__init__("val_loss")
        self.epoch = epoch

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.should_stop = True


@pytest.mark.parametrize("order", [1, -1])
def test_a_run_that_is_stopped_early_is_measured_when_it_has_ended(tmp_path: Path, order: int) -> None:
    monitor = neurons(name=f"neurons{order}")
    trainer, events = logged_fit([monitor, StopAfter(2)][::order], tmp_path, max_epochs=100)
    assert trainer.current_epoch == 3
    name = f"explain/{monitor.name}"
    assert events.steps(f"{name}/head.1/features")[-1] == events.steps(f"{name}/head.1/exemplars")[-1] == 23
    assert len(events.steps(f"{name}/head.1/rates")) == 3
    assert monitor.latest is not None and len(monitor.records) == 3 and monitor.records[-1]["not_measured_now"] == []
    assert {layer.feeding_epoch for layer in monitor.latest.layers.values()} == {2}
    assert {card.epoch for cards in monitor.latest.cards.values() for card in cards.values()} == {2}
    (path,) = tmp_path.rglob("record.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [7, 15, 23, 23]  # of several lines of one step the last counts
    assert [found["epoch"] for found in lines[2]["feeding"].values()] == [0, 0, 0]
    assert [found["epoch"] for found in lines[3]["feeding"].values()] == [2, 2, 2]
    assert lines[2]["scalars"] == lines[3]["scalars"]
    # the event takes the place of the one before, and has its crops
    header = tab_headers(trainer.loggers[0].log_dir, f"{name}/tab")[-1]  # type: ignore[attr-defined]
    assert header["step"] == 23 and header["count"] == 3 and "exemplars_step" not in header
    assert all(layer["exemplars"] and layer["feeding_epoch"] == 2 for layer in header["layers"])


def test_the_first_report_of_a_long_run_is_measured_and_kept_when_it_breaks_off(tmp_path: Path) -> None:
    class Break(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
            if trainer.current_epoch == 3:
                raise RuntimeError("power cut")

    monitor = neurons()
    with pytest.raises(RuntimeError, match="power cut"):
        logged_fit([monitor, Break()], tmp_path, max_epochs=1000)
    assert monitor.records[0]["not_measured_now"] == []
    last = monitor.records[-1]
    assert last["epoch"] == 2 and {found["epoch"] for found in last["feeding"].values()} == {0}
    assert "feeding" in last["not_measured_now"]
    # nothing of the run that broke off is taken for a lack of the next one
    fit(monitor, max_epochs=1)
    assert monitor.records[-1]["not_measured_now"] == []


def test_two_runs_decide_alike_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def passes(slow: bool) -> list[Any]:
        monitor = neurons()
        if slow:
            spending = monitor._schedule.stopwatch.add
            monkeypatch.setattr(monitor._schedule.stopwatch, "add", lambda seconds: spending(100 * seconds))
        fit(monitor, max_epochs=4)
        return [(record["passes"], record["not_measured_now"]) for record in monitor.records]

    assert passes(slow=False) == passes(slow=True)


def test_validation_alone_is_measured_each_time() -> None:
    monitor = neurons()
    trainer = fit(monitor, max_epochs=1)
    for _ in range(3):
        trainer.validate(trainer.lightning_module, trainer.datamodule, verbose=False)  # type: ignore[attr-defined]
    assert [record["not_measured_now"] for record in monitor.records] == [[]] * 4


def test_processes_decide_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    def largest(trainer: Any, number: int) -> int:
        given.append(number)
        return 4  # another process affords feeding features alone

    monkeypatch.setattr(measurements, "largest", largest)
    monitor = neurons()
    fit(monitor, max_epochs=2)
    assert given[0] == 0 and monitor.records[0]["not_measured_now"] == ["exemplars", "ablation"]
    assert monitor.records[0]["feeding"] and isinstance(monitor._reporter.measurements, Measurements)
