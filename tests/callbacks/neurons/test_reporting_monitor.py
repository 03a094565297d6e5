"""When a monitor reports, and what it takes from a checkpoint."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from tests.callbacks.neurons.exemplars.test_card_maker import Validated
from tests.training import explanation_warnings, fit

X, Y = torch.randn(24, 4, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 2
LOADERS = DataLoader(TensorDataset(X, Y), 8), DataLoader(TensorDataset(X[:12], Y[:12]), 6)


def small() -> Validated:
    return Validated(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)))


def monitor_of(**options: Any) -> ActiveNeuronMonitor:
    given: dict[str, Any] = {"feeding": 0, "maps": 0, "ablation": 0, "on_error": "raise"}
    return ActiveNeuronMonitor(**given | options)


def run(monitor: ActiveNeuronMonitor, **options: Any) -> Any:
    return fit(monitor, **{"model": small, "data": LOADERS, **options})


def test_due_epochs_alone_are_reported_with_their_exemplars() -> None:
    monitor = monitor_of(every_n_epochs=2)
    run(monitor, max_epochs=5, num_sanity_val_steps=2)
    assert [record["epoch"] for record in monitor.records] == [1, 3]
    assert monitor.latest is not None
    found = monitor.latest.layers["net.1"].exemplars
    assert found is not None and found.epoch == 3
    # those of the report before, not of the validation before
    assert not found.stayed.isnan().any()


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_training_is_reported_where_there_is_no_validation() -> None:
    monitor = monitor_of()
    run(monitor, data=(LOADERS[0],))
    assert monitor.latest is not None and monitor.latest.stage == "train"
    assert [record["epoch"] for record in monitor.records] == [0, 1] and list(monitor.profiles) == ["train"]
    assert monitor.active_sets == {"net.1": monitor.profiles["train"]["net.1"].set_indices()}
    assert monitor.latest.layers["net.1"].exemplars is None


def test_active_sets_are_of_the_validation_where_there_is_one() -> None:
    monitor = monitor_of()
    assert monitor.latest is None and monitor.records == [] and monitor.active_sets == {}
    run(monitor, max_epochs=1)
    assert monitor.active_sets == {"net.1": monitor.profiles["val"]["net.1"].set_indices()}
    assert monitor.class_names == ["0", "1"] and set(monitor.class_metrics) == {"precision", "recall", "f1"}


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    monitor = monitor_of()
    trainer = run(monitor, max_epochs=2)
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)


def resumed(saved: dict[str, Any], monitor: ActiveNeuronMonitor, path: Any) -> None:
    torch.save(saved, path)
    run(monitor, max_epochs=3, ckpt=path)


def test_a_resumed_run_goes_on_with_turnover_and_exemplars(saved: dict[str, Any], tmp_path: Any) -> None:
    monitor = monitor_of()
    resumed(saved, monitor, tmp_path / "a.ckpt")
    assert monitor.latest is not None and [record["epoch"] for record in monitor.records] == [2]
    layer = monitor.latest.layers["net.1"]
    assert layer.exemplars is not None and not layer.exemplars.stayed.isnan().any()
    assert not layer.history.turnover.isnan().all() and monitor.latest.caveat == ""


def test_checkpoints_from_before_there_were_exemplars_are_read(saved: dict[str, Any], tmp_path: Any) -> None:
    states = {key: {**state} for key, state in saved["callbacks"].items()}
    (state,) = (state for state in states.values() if "exemplars" in state)
    del state["exemplars"]
    monitor = monitor_of()
    resumed({**saved, "callbacks": states}, monitor, tmp_path / "a.ckpt")
    assert monitor.latest is not None
    layer = monitor.latest.layers["net.1"]
    assert layer.exemplars is not None and layer.exemplars.stayed.isnan().all()
    assert not layer.history.turnover.isnan().all()


def test_another_rule_of_counting_begins_anew_and_is_reported(saved: dict[str, Any], tmp_path: Any) -> None:
    monitor = monitor_of(threshold=0.5)
    with explanation_warnings() as told:
        resumed(saved, monitor, tmp_path / "a.ckpt")
    assert any("checkpoint was written with" in message and "threshold" in message for message in told)
    assert monitor.latest is not None and monitor.latest.caveat
    layer = monitor.latest.layers["net.1"]
    assert layer.exemplars is not None and layer.exemplars.stayed.isnan().all()
    assert layer.history.turnover.isnan().all()
