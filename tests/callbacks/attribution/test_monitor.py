"""AttributionMonitor in real runs: what it logs, where, at which step, and what others can do with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_explain import AttributionMonitor, IntegratedGradients, Probe
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import logged_fit as fit

pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")

QUICK = IntegratedGradients(n_steps=2)
"""Where it does not matter how exact an explanation is."""


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[AttributionMonitor, pl.Trainer, Events]:
    """Three epochs with two samples of each digit, and masks of their upper halves."""
    probe = Probe.from_dataset(DigitData().val, per_class=2)
    mask = torch.zeros(8, 8)
    mask[:4] = 1
    monitor = AttributionMonitor(
        probe=Probe(inputs=probe.inputs, targets=probe.targets, masks=mask), explained="predicted", on_error="raise"
    )
    return monitor, *fit(monitor, tmp_path_factory.mktemp("whole"), max_epochs=3)


def test_logs_every_tag_it_promises(whole_run: Any) -> None:
    _, _, events = whole_run
    expected = {"drift/previous", "drift/first", "drift/previous_error", "drift/first_error", "convergence_delta"}
    expected |= {"total_attribution", "mass_in_mask", "overhead", "error", "n_evaluations"}
    expected |= {f"drift/{digit}" for digit in range(10)}
    for measure in ("spearman", "spearman_absolute", "top_k", "relative_l1", "ssim"):
        expected |= {f"drift_{measure}/{reference}" for reference in ("previous", "first", "previous_error")}
    assert {f"explain/attribution/{name}" for name in expected} <= set(events.scalars)
    assert {"explain/attribution/heatmaps", "explain/attribution/filmstrip"} <= set(events.images)
    assert "explain/attribution/summary/text_summary" in events.texts
    assert "custom_scalars__config__" in events.texts
    path = Path(events._events.path) / "explain/attribution/record.jsonl"
    record = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["step"] for entry in record] == events.steps("explain/attribution/heatmaps")
    assert record[-1]["method"] == "IntegratedGradients (baseline: zeros)"
    assert len(record[-1]["drift"]["previous"]["cosine"]) == 20


def test_curves_line_up_with_lightnings_own(whole_run: Any) -> None:
    _, _, events = whole_run
    own = list(events.curve("val_acc"))
    assert list(events.curve("explain/attribution/total_attribution")) == [0, *own]
    assert list(events.curve("explain/attribution/drift/previous")) == own


def test_curves_line_up_where_there_is_no_validation(tmp_path: Path) -> None:
    probe = Probe.from_dataset(DigitData().val)
    _, events = fit(
        AttributionMonitor(probe=probe, method=QUICK, on_error="raise"), tmp_path, max_epochs=2, limit_val_batches=0
    )
    assert list(events.curve("explain/attribution/drift/previous")) == list(events.curve("train_loss_epoch"))


def test_step_cadence(tmp_path: Path) -> None:
    monitor = AttributionMonitor(every_n_epochs=None, every_n_train_steps=5, method=QUICK, on_error="raise")
    _, events = fit(monitor, tmp_path, max_epochs=2)
    assert list(events.curve("explain/attribution/total_attribution")) == [0, 4, 9, 14]


def test_epoch_cadence_skips_epochs_and_validations_in_their_middle(tmp_path: Path) -> None:
    _, events = fit(
        AttributionMonitor(every_n_epochs=2, method=QUICK, on_error="raise"),
        tmp_path,
        max_epochs=4,
        val_check_interval=4,
    )
    assert list(events.curve("explain/attribution/total_attribution")) == [0, 15, 31]


def test_figures_agree_with_a_direct_computation(whole_run: Any) -> None:
    monitor, trainer, events = whole_run
    attribution = monitor.latest.attribution
    again = IntegratedGradients()(trainer.lightning_module, monitor.probe.inputs, attribution.target)
    torch.testing.assert_close(attribution.values, again.values)
    total = list(events.curve("explain/attribution/total_attribution").values())[-1]
    assert total == pytest.approx(float(again.values.flatten(1).abs().sum(1).mean()), rel=1e-5)


def test_pictures_show_the_samples(whole_run: Any) -> None:
    _, _, events = whole_run
    picture = events.picture("explain/attribution/heatmaps")
    red = (picture[..., 0] > 180) & (picture[..., 2] < 120)
    blue = (picture[..., 2] > 150) & (picture[..., 0] < 80)
    assert red.sum() > 50 and blue.sum() > 50  # evidence for and against
    first = events.picture("explain/attribution/filmstrip")
    assert first.shape[1] > 400 and np.ptp(first) == 255


def test_early_stopping_can_monitor_drift() -> None:
    stopper = EarlyStopping(monitor="explain/attribution/drift/previous", stopping_threshold=1.9, check_finite=True)
    trainer = quiet_trainer(max_epochs=5, callbacks=[stopper, AttributionMonitor(method=QUICK, on_error="raise")])
    trainer.fit(DigitNet(), DigitData())
    assert trainer.current_epoch == 0 or trainer.current_epoch == 1  # stopped by the first drift figure
    assert stopper.stopped_epoch == 0 and trainer.should_stop


def test_checkpoint_can_monitor_drift(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor="explain/attribution/drift/first", mode="max")
    monitor = AttributionMonitor(method=QUICK)
    quiet_trainer(enable_checkpointing=True, callbacks=[monitor, checkpoint]).fit(DigitNet(), DigitData())
    drifts = [record["scalars"].get("explain/attribution/drift/first", 0.0) for record in monitor.records]
    assert float(checkpoint.best_model_score) == pytest.approx(max(drifts)) and max(drifts) > 0


@pytest.mark.parametrize("logger", [False, "csv", "none_dir"])
def test_other_loggers(tmp_path: Path, logger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = CSVLogger(tmp_path, "csv") if logger == "csv" else False
    monitor = AttributionMonitor(method=QUICK, on_error="raise")
    trainer = quiet_trainer(callbacks=[monitor], logger=made)
    trainer.fit(DigitNet(), DigitData())
    assert "explain/attribution/drift/previous" in trainer.callback_metrics
    if logger != "csv":
        assert list(tmp_path.iterdir()) == []  # no logger: nothing is written, but it is all in the monitor
        assert len(monitor.records) == 3
        return
    folder = Path(made.log_dir) / "explain" / "attribution"
    assert len(list((folder / "heatmaps").glob("step_*.png"))) == 3
    assert len((folder / "record.jsonl").read_text().splitlines()) == 3
    assert "explain/attribution/drift/previous" in (Path(made.log_dir) / "metrics.csv").read_text().splitlines()[0]


def test_nothing_in_the_sanity_check() -> None:
    class Failing(DigitNet):
        def on_train_start(self) -> None:
            assert not monitor.records or monitor.records[0]["step"] == 0

        def on_sanity_check_end(self) -> None:
            assert monitor.records == []

    monitor = AttributionMonitor(method=QUICK, on_error="raise")
    quiet_trainer(num_sanity_val_steps=2, callbacks=[monitor], max_epochs=1).fit(Failing(), DigitData())
    assert len(monitor.records) == 2


class Stream(IterableDataset[Any]):
    """A data set that cannot be picked from by index."""

    def __iter__(self) -> Any:
        return iter(DigitData().val)


def test_iterable_validation_data() -> None:
    monitor = AttributionMonitor(method=QUICK, on_error="raise")
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=2)
    trainer.fit(DigitNet(), DigitData().train_dataloader(), DataLoader(Stream(), batch_size=32))
    assert monitor.probe is not None
    counts = monitor.probe.labels.bincount()
    assert counts.tolist() == [4] * 10
    assert len(monitor.records) == 2


class Tabular(pl.LightningModule):
    def __init__(self, n_out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, n_out))
        self.loss = nn.CrossEntropyLoss() if n_out > 1 else nn.MSELoss()

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        out = self(batch[0])
        return self.loss(out if out.shape[1] > 1 else out[:, 0], batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-2)


@pytest.mark.parametrize("n_out", [1, 3])
def test_tabular_classification_and_regression(tmp_path: Path, n_out: int) -> None:
    pl.seed_everything(0, verbose=False)
    x = torch.rand(60, 4)
    y = (x[:, 0] * 3 - x[:, 1]) if n_out == 1 else (x[:, 0] * 3).long()
    loader = DataLoader(TensorDataset(x, y), batch_size=20)
    monitor = AttributionMonitor(feature_names=["height", "width", "$cost", "noise"], on_error="raise")
    logger = TensorBoardLogger(tmp_path, "run")
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=1).fit(Tabular(n_out), loader, loader)
    events = Events(logger.log_dir)
    assert events.picture("explain/attribution/heatmaps").std() > 5
    assert events.picture("explain/attribution/filmstrip").std() > 5
    assert monitor.latest is not None and monitor.latest.attribution.parts[0].shape[1] == 4
    gap = monitor.latest.attribution.convergence_delta
    assert gap is not None and gap.abs().max() < 0.05


def test_several_monitors_keep_apart(tmp_path: Path) -> None:
    monitors = [
        AttributionMonitor(name="a", method=QUICK),
        AttributionMonitor(name="b", method=IntegratedGradients(n_steps=3)),
    ]
    trainer = quiet_trainer(callbacks=monitors, max_epochs=1)
    trainer.fit(DigitNet(), DigitData())
    assert {"explain/a/drift/previous", "explain/b/drift/previous"} <= set(trainer.callback_metrics)
    assert len({m.state_key for m in monitors}) == 2


def test_validate_alone() -> None:
    monitor = AttributionMonitor(method=QUICK, on_error="raise")
    quiet_trainer(callbacks=[monitor]).validate(DigitNet(), DigitData(), verbose=False)
    assert len(monitor.records) == 1


def test_explained_target_is_fixed(whole_run: Any) -> None:
    monitor, _, _ = whole_run
    targets = [record["target"] for record in monitor.records]
    assert targets[0] == targets[1] == targets[-1]
    assert targets[0] == monitor.records[0]["predicted"] != monitor.records[-1]["predicted"]


def test_a_whole_run_in_pytorch_lightning(tmp_path: Path) -> None:
    # in its own process: there the Trainer is another class than the one our annotations, checked here, name
    script = Path(__file__).parent / "pytorch_lightning_run.py"
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:lightning_explain", str(script), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    events = Events(tmp_path / "run" / "version_0")
    pictures = {"explain/attribution/heatmaps", "explain/neurons/head.1/rates", "explain/path/3"}
    assert pictures <= set(events.images)
    assert {"explain/neurons/f1/3", "explain/path/turnover"} <= set(events.scalars)
    assert "ExplanationWarning" not in ran.stderr
