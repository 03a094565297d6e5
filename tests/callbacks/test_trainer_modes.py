"""All three monitors in every way of running a Trainer: what is explained, when, where it goes, what stays behind."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_explain import (
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    InputXGradient,
    IntegratedGradients,
    Probe,
)
from lightning_explain.errors import ExplanationWarning
from tests.events import Events
from tests.models import DigitData, DigitNet, digits, quiet_trainer
from tests.reliability.observation import hooks_on


def three(**options: Any) -> tuple[ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor]:
    """Make all three monitors, raising what fails; pytest makes errors of warnings."""
    return (
        ActiveNeuronMonitor(on_error="raise", feeding=1, method=InputXGradient(), **options),
        AttributionMonitor(on_error="raise", method=IntegratedGradients(n_steps=2), **options),
        DecisionPathMonitor(on_error="raise", layers="head.*", n_units=2, n_paths=2, **options),
    )


def small_data() -> DigitData:
    """Four steps an epoch, two batches of validation."""
    return DigitData(n_train=64, n_val=32, batch_size=16)


def steps(monitor: Any) -> list[int]:
    return [record["step"] for record in monitor.records]


class Stream(IterableDataset[Any]):
    """Digits that cannot be picked from by index."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __iter__(self) -> Any:
        return iter(self.data)


class MeasuredStream(Stream):
    """The same with a length."""

    def __len__(self) -> int:
        return len(self.data)


class Streams(pl.LightningDataModule):
    """Both loaders over data sets that are iterable only."""

    def __init__(self, kind: type[Stream]) -> None:
        super().__init__()
        self.kind, (self.train, self.val) = kind, digits(64, 32)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.kind(self.train), batch_size=16)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.kind(self.val), batch_size=16)


class Several(DigitData):
    """Several validation loaders, as a list or under names."""

    def __init__(self, named: bool) -> None:
        super().__init__(n_train=64, n_val=32, batch_size=16)
        self.named = named

    def val_dataloader(self) -> Any:
        loaders = [super().val_dataloader(), DataLoader(digits(64, 56)[1], batch_size=28)]
        return dict(zip(("near", "far"), loaders, strict=True)) if self.named else loaders


class SeveralNet(DigitNet):
    """Its validation step is told the loader."""

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx)


class LazyNet(DigitNet):
    """Without weights in its head before the first forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.head[0] = torch.nn.LazyLinear(16)


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A way of running `trainer.fit`.

    Attributes:
        options: Of the Trainer.
        explained: Steps at which the probe is explained.
        reported: Steps and stages of the neurons' reports.
        data: Makes the data.
        net: Makes the module.
        counted: Samples counted in the last report's stage.
        needs_probe: Whether a probe must be given, since there are no validation data.
    """

    options: dict[str, Any] = field(default_factory=dict)
    explained: list[int] = field(default_factory=lambda: [0, 3, 7])
    reported: list[tuple[int, str]] = field(default_factory=lambda: [(3, "val"), (7, "val")])
    data: Callable[[], Any] = small_data
    net: Callable[[], pl.LightningModule] = DigitNet
    counted: int = 32
    needs_probe: bool = False


TRAINED = [(3, "train"), (7, "train")]

MODES = {
    "plain": Mode(),
    "fast_dev_run": Mode(options={"fast_dev_run": 2}, explained=[0, 1], reported=[(1, "val")]),
    "one batch": Mode(options={"fast_dev_run": True}, explained=[0, 0], reported=[(0, "val")], counted=16),
    "overfit_batches": Mode(
        options={"overfit_batches": 1, "num_sanity_val_steps": 0},
        explained=[0, 0, 1], reported=[(0, "val"), (1, "val")], counted=16,
        data=lambda: DigitData(n_train=64, n_val=32, batch_size=16, shuffle=False),
    ),
    "limit_val_batches=0": Mode(options={"limit_val_batches": 0}, reported=TRAINED, counted=64, needs_probe=True),
    "limit_val_batches=1": Mode(options={"limit_val_batches": 1}, counted=16),
    "limit_train_batches=0.5": Mode(
        options={"limit_train_batches": 0.5}, explained=[0, 1, 3], reported=[(1, "val"), (3, "val")],
    ),
    "several validation loaders": Mode(data=lambda: Several(named=False), net=SeveralNet, counted=32 + 56),
    "named validation loaders": Mode(data=lambda: Several(named=True), net=SeveralNet, counted=32 + 56),
    "val_check_interval=3": Mode(options={"val_check_interval": 3}),
    "val_check_interval=0.5": Mode(options={"val_check_interval": 0.5}),
    "validation across epochs": Mode(
        options={"val_check_interval": 6, "check_val_every_n_epoch": None},
        # the only validation comes in the middle of the second epoch
        reported=[(3, "train"), (7, "val")],
    ),
    "every second epoch validated": Mode(
        options={"check_val_every_n_epoch": 2}, reported=[(3, "train"), (7, "val")],
    ),
    # with the sanity check there are weights before training; without it there are none to explain
    "lazy layers": Mode(net=LazyNet),
    "lazy layers, no sanity check": Mode(net=LazyNet, options={"num_sanity_val_steps": 0}, explained=[3, 7]),
    "iterable data": Mode(data=lambda: Streams(Stream), explained=[3, 7]),
    "iterable data with a length": Mode(data=lambda: Streams(MeasuredStream), explained=[3, 7]),
    "iterable data, val_check_interval=3": Mode(
        data=lambda: Streams(Stream), options={"val_check_interval": 3, "num_sanity_val_steps": 0}, explained=[3, 7],
    ),
    "max_steps within an epoch": Mode(
        options={"max_steps": 6, "max_epochs": -1, "val_check_interval": 2}, explained=[0, 3, 5],
        reported=[(3, "val"), (5, "val")],
    ),
    "min_epochs and accumulation": Mode(
        options={"accumulate_grad_batches": 4}, explained=[0, 0, 1], reported=[(0, "val"), (1, "val")],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined")
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_fit(mode: Mode, tmp_path: Path) -> None:
    pl.seed_everything(0, verbose=False)
    data, net = mode.data(), mode.net()
    monitors = three(probe=Probe.from_dataset(data.val)) if mode.needs_probe else three()
    trainer = quiet_trainer(callbacks=list(monitors), default_root_dir=tmp_path, **mode.options)
    trainer.fit(net, data)
    # compared with another network: lazy layers begin with hooks of their own
    assert hooks_on(net) == hooks_on(DigitNet())
    neurons, attribution, path = monitors
    assert steps(attribution) == steps(path) == mode.explained
    assert [(record["step"], record["stage"]) for record in neurons.records] == mode.reported
    last = mode.reported[-1][1]
    assert int(neurons.profiles[last]["head.1"].n_samples.sum()) == mode.counted
    # what other callbacks may monitor is there
    assert {"explain/attribution/drift/previous", "explain/path/turnover"} <= trainer.callback_metrics.keys()
    assert list(tmp_path.iterdir()) == []  # no logger: nothing is written


@pytest.mark.parametrize("name", ["validate", "test", "predict"])
def test_evaluation_alone(name: str, tmp_path: Path) -> None:
    class Net(DigitNet):
        test_step = DigitNet.validation_step

        def predict_step(self, batch: Any) -> Any:
            return self(batch[0])

    net, monitors, logger = Net(), three(), TensorBoardLogger(tmp_path, "run")
    before = hooks_on(net)
    trainer = quiet_trainer(callbacks=list(monitors), logger=logger)
    options = {} if name == "predict" else {"verbose": False}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(trainer, name)(net, dataloaders=small_data().val_dataloader(), **options)
    said = [str(warning.message) for warning in caught if issubclass(warning.category, ExplanationWarning)]
    assert len(said) == 3 * (name == "test") and all("trainer.test is not watched" in words for words in said)
    assert hooks_on(net) == before
    # validation is what the monitors report; a test or a prediction is left alone
    n_reports = int(name == "validate")
    assert [len(monitor.records) for monitor in monitors] == [n_reports] * 3
    found = {tag.split("/")[1] for tag in Events(logger.log_dir).images} if n_reports else set()
    assert found == ({"neurons", "attribution", "path"} if n_reports else set())
    if not n_reports:
        assert not any("explain" in path.name for path in tmp_path.rglob("*"))


def test_a_test_after_a_fit_changes_nothing(tmp_path: Path) -> None:
    class Net(DigitNet):
        test_step = DigitNet.validation_step

    monitors, data = three(), small_data()
    callbacks = [*monitors, ModelCheckpoint(tmp_path, save_top_k=-1)]
    trainer = quiet_trainer(callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(net := Net(), data)
    latest = [monitor.latest for monitor in monitors]
    trainer.test(net, data.val_dataloader(), ckpt_path=min(tmp_path.glob("epoch=0*")), verbose=False)
    assert [monitor.latest for monitor in monitors] == latest


class Tuned(DigitNet):
    """With a learning rate that a Tuner can find."""

    def __init__(self) -> None:
        super().__init__()
        self.lr = 1e-3

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)


def lr_find(tuner: Tuner, net: Tuned, data: DigitData) -> None:
    tuner.lr_find(net, datamodule=data, num_training=8, early_stop_threshold=None)


def scale_batch_size(tuner: Tuner, net: Tuned, data: DigitData) -> None:
    tuner.scale_batch_size(net, datamodule=data, max_trials=2, steps_per_trial=1, init_val=8)


@pytest.mark.filterwarnings("ignore:.*Tuner.*|.*lr_find.*|.*checkpoint.*:UserWarning")
@pytest.mark.parametrize("tune", [lr_find, scale_batch_size])
def test_a_tuner_sees_no_monitors_and_the_fit_after_it_does(tune: Any, tmp_path: Path) -> None:
    net, data, monitors = Tuned(), small_data(), three()
    before = hooks_on(net)
    trainer = quiet_trainer(callbacks=list(monitors), default_root_dir=tmp_path)
    tune(Tuner(trainer), net, data)
    assert hooks_on(net) == before
    assert [monitor.records for monitor in monitors] == [[], [], []]
    data.batch_size = 16
    trainer.fit(net, data)
    assert steps(monitors[1]) == steps(monitors[2]) == [0, 3, 7]
    assert steps(monitors[0]) == [3, 7]
    assert hooks_on(net) == before


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:.*resum.*:UserWarning")
def test_resuming_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    def saver() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, every_n_train_steps=6, save_top_k=-1, filename="{step}")

    def go(monitors: Any, ckpt: Path | None = None) -> None:
        pl.seed_everything(0, verbose=False)
        trainer = quiet_trainer(callbacks=[*monitors, saver()], enable_checkpointing=True, num_sanity_val_steps=0)
        trainer.fit(DigitNet(), small_data(), ckpt_path=ckpt)

    whole, resumed = three(), three()
    go(whole)
    go(resumed, tmp_path / "step=6.ckpt")
    # half of the second epoch was done: it is explained at its end, compared with the first run's explanations
    assert steps(resumed[1]) == steps(resumed[2]) == steps(resumed[0]) == [7]
    scalars = resumed[1].records[0]["scalars"]
    assert scalars["explain/attribution/drift/first"] > scalars["explain/attribution/drift/first_error"]
    assert "explain/path/turnover" in resumed[2].records[0]["scalars"]
    assert resumed[1].probe.fingerprint == whole[1].probe.fingerprint
    # the neurons of the epoch's first half were counted before the break
    for monitors in (whole, resumed):
        assert int(monitors[0].profiles["train"]["head.1"].n_samples.sum()) == 64
    assert "explain/neurons/head.1/turnover" in resumed[0].records[0]["scalars"]


def test_several_loggers_get_everything(tmp_path: Path) -> None:
    loggers = [TensorBoardLogger(tmp_path, "board"), TensorBoardLogger(tmp_path, "again"), CSVLogger(tmp_path, "table")]
    # three samples, since each logger gets pictures of its own
    monitors = three(probe=Probe.from_dataset(small_data().val, per_class=1, max_samples=3))
    trainer = quiet_trainer(callbacks=list(monitors), logger=loggers, log_every_n_steps=1, max_epochs=1)
    trainer.fit(DigitNet(), small_data())
    first, second = (Events(logger.log_dir) for logger in loggers[:2])
    assert first.images == second.images and first.scalars == second.scalars and first.texts == second.texts
    assert {"explain/attribution/heatmaps", "explain/neurons/head.1/rates"} < set(first.images)
    curve = "explain/attribution/drift/previous"
    assert first.curve(curve) == second.curve(curve) and list(first.curve(curve)) == [3]
    folder = Path(loggers[2].log_dir)
    header = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {tag for tag in first.scalars if tag.startswith("explain/")} <= set(header)
    records = sorted(path.parent.name for path in folder.rglob("record.jsonl"))
    assert records == ["attribution", "neurons", "path"]
    assert len(list((folder / "explain" / "attribution" / "heatmaps").glob("*.png"))) == 2
