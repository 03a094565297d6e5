"""Ways of running a Trainer that once gave wrong figures, or ended the run."""

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import (
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    Display,
    InputXGradient,
    IntegratedGradients,
    Probe,
)
from lightning_explain.errors import ExplanationWarning
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import fit

pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")


def both(**options: Any) -> list[Any]:
    return [
        ActiveNeuronMonitor(on_error="raise", feeding=1, method=InputXGradient(), **options),
        AttributionMonitor(on_error="raise", method=IntegratedGradients(n_steps=2), **options),
    ]


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_precisions(precision: str, tmp_path: Path) -> None:
    monitors = both()
    fit(monitors, precision=precision, logger=TensorBoardLogger(tmp_path))
    assert monitors[0].profiles["val"]["head.1"].n_samples.sum() == 96
    assert len(monitors[1].records) == 3


class SharedActivation(DigitNet):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(1, 6, 3), nn.Linear(216, 20), nn.Linear(20, 10)
        del self.frozen, self.body, self.head

    def forward(self, x: Any) -> Any:
        return self.fc2(self.relu(self.fc1(self.relu(self.conv(x)).flatten(1))))


def test_an_activation_shared_by_convolution_and_linear_layer() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    fit(monitor, model=SharedActivation)
    shapes = {key: tuple(profile.rates.shape) for key, profile in monitor.profiles["val"].items()}
    assert shapes == {"relu": (10, 6), "relu#1": (10, 20)}


def test_ignored_labels_are_neither_explained_nor_counted() -> None:
    data = DigitData()
    data.val.tensors[1][:7] = -100

    class Net(DigitNet):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0])

    monitors = both()
    fit(monitors, model=Net, data=data)
    assert monitors[1].probe.labels.min() == 0
    assert monitors[0].profiles["val"]["head.1"].n_samples.sum() == 96 - 7


def test_a_picture_that_fails_does_not_take_the_figures_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("lightning_explain.callbacks.attribution.images.Gallery.show", broken)
    stopper = EarlyStopping("explain/attribution/drift/previous", patience=9)
    with pytest.warns(ExplanationWarning, match="disk full"):
        trainer = fit([AttributionMonitor(), stopper])
    assert trainer.current_epoch == 2


def test_both_cadences_at_one_step_explain_once() -> None:
    monitor = AttributionMonitor(every_n_train_steps=8, on_error="raise")
    fit([monitor])  # 8 steps an epoch
    assert [record["step"] for record in monitor.records] == [0, 7, 15]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_resuming_at_the_end_of_a_validation_repeats_nothing(tmp_path: Path) -> None:
    def saver() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, save_on_train_epoch_end=False, save_last=True)

    fit([*both(), saver()], enable_checkpointing=True, max_epochs=1)
    again = both()
    trainer = quiet_trainer(callbacks=[*again, saver()], enable_checkpointing=True, max_epochs=2)
    trainer.fit(DigitNet(), DigitData(), ckpt_path=tmp_path / "last.ckpt")
    assert [record["step"] for record in again[1].records] == [15]
    assert [(record["step"], record["stage"]) for record in again[0].records] == [(15, "val")]


def test_another_model_begins_a_history_of_its_own() -> None:
    monitors = both()
    model = DigitNet()
    fit(monitors, model=model, max_epochs=1)
    fit(monitors, max_epochs=1)
    assert [record["step"] for record in monitors[1].records] == [0, 7, 0, 7]
    assert "explain/attribution/drift/first" not in monitors[1].records[2]["scalars"]
    assert "explain/neurons/head.1/turnover" not in monitors[0].records[-1]["scalars"]
    same = AttributionMonitor(on_error="raise", method=IntegratedGradients(n_steps=2))
    fit(same, model=model, max_epochs=1)
    fit(same, model=model, max_epochs=1)
    assert "explain/attribution/drift/first" in same.records[-1]["scalars"]
    assert [record["step"] for record in same.records] == [0, 7, 7]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_validating_a_checkpoint_does_not_rewind_the_history(tmp_path: Path) -> None:
    monitor, saver = both()[1], ModelCheckpoint(tmp_path, save_top_k=-1)
    trainer = fit([monitor, saver], enable_checkpointing=True, max_epochs=3)
    trainer.validate(dataloaders=DigitData().val_dataloader(), ckpt_path=min(tmp_path.glob("epoch=0*")), verbose=False)
    assert monitor._history.count == 5


class Binary(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.loss = nn.BCELoss(reduction="none")

    def forward(self, x: Any) -> Any:
        return torch.sigmoid(self.net(x))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(self(batch[0]), batch[1].float()).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.05)


def test_a_binary_probability_is_cut_at_one_half() -> None:
    pl.seed_everything(0, verbose=False)
    x = torch.randn(200, 4)
    y = (x[:, :1] > 0).long()
    loader = DataLoader(TensorDataset(x, y), batch_size=40)
    monitors = both()
    quiet_trainer(callbacks=monitors, max_epochs=6).fit(Binary(), loader, loader)
    assert min(monitors[0].class_metrics["f1"]) > 0.9


def test_lbfgs_counts_each_batch_once() -> None:
    class Closures(DigitNet):
        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS([p for p in self.parameters() if p.requires_grad], max_iter=4)

    monitor = ActiveNeuronMonitor(on_error="raise")
    fit(monitor, model=Closures, limit_train_batches=2)
    assert set(monitor.profiles["train"]) == {"frozen.2", "body.2", "head.1"}


def test_copies_of_a_watched_network_are_free_and_it_can_be_pickled() -> None:
    class Teacher(DigitNet):
        def on_train_start(self) -> None:
            self.copies = [copy.deepcopy(self.head)]  # no submodule: a teacher that does not train

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            with torch.no_grad():
                self.copies[0](self.body(self.frozen(batch[0])))
            return super().training_step(batch, batch_idx)

        def on_validation_end(self) -> None:
            torch.save(self.head, io.BytesIO())

    monitor = ActiveNeuronMonitor(layers="head.1", on_error="raise")
    fit(monitor, model=Teacher)
    assert list(monitor.profiles["train"]) == ["head.1"]


def test_large_integer_targets_are_no_classes() -> None:
    class Regression(DigitNet):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return functional.mse_loss(self(batch[0])[:, 0], batch[1].float())

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0])

    data = DigitData()
    data.train.tensors[1].mul_(150_000)
    data.val.tensors[1].mul_(150_000)
    monitor = ActiveNeuronMonitor()
    with pytest.warns(ExplanationWarning, match="not treated as classes"):
        fit(monitor, model=Regression, data=data)
    assert monitor.profiles["val"]["head.1"].n_samples.shape[0] <= 10_000


def test_turnover_compares_like_with_like() -> None:
    class Still(DigitNet):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.0)

    monitor = ActiveNeuronMonitor(layers="frozen.2", on_error="raise")
    fit(monitor, model=Still, max_epochs=4, check_val_every_n_epoch=2)
    assert [record["stage"] for record in monitor.records] == ["train", "val", "train", "val"]
    for record in monitor.records[2:]:
        assert record["scalars"]["explain/neurons/frozen.2/turnover"] == 0


def test_validations_in_the_middle_of_the_epoch_are_reported_at_its_end() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    fit([monitor], val_check_interval=3)  # after steps 3 and 6 of 8
    assert [record["stage"] for record in monitor.records] == ["val", "val"]
    assert monitor.class_metrics


def test_hostile_class_names_keep_apart(tmp_path: Path) -> None:
    names = ["first", "<5", ">5", "previous", "../../x", "a/b", "", "<script>", "ü", "x" * 10_000]
    probe = Probe.from_dataset(DigitData().val, per_class=1, class_names=names)
    monitors = [
        ActiveNeuronMonitor(class_names=names, on_error="raise"),
        AttributionMonitor(probe=probe, on_error="raise"),
    ]
    logger = TensorBoardLogger(tmp_path, "run")
    fit(monitors, logger=logger)
    events = Events(logger.log_dir)
    assert len([tag for tag in events.scalars if tag.startswith("explain/attribution/drift/")]) == 2 * 10 + 4
    assert len([tag for tag in events.scalars if tag.startswith("explain/neurons/recall/")]) == 10
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_two_monitors_share_one_layout(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, "run")
    monitors = [AttributionMonitor(name="a"), AttributionMonitor(name="b")]
    fit(monitors, logger=logger, max_epochs=1)
    layouts = Events(logger.log_dir)._events.Tensors("custom_scalars__config__")
    assert len(layouts) == 1
    text = layouts[0].tensor_proto.string_val[0]
    assert b"explain/a/drift/previous" in text and b"explain/b/drift/previous" in text


def test_a_probe_that_cannot_be_drawn_is_sought_once(tmp_path: Path) -> None:
    reads: list[int] = []

    class Triples(DigitData):
        def val_dataloader(self) -> Any:
            class Items(TensorDataset):
                def __getitem__(self, index: int) -> Any:
                    reads.append(index)
                    return (*super().__getitem__(index), index)

            return DataLoader(Items(*self.val.tensors), batch_size=32)

    class Net(DigitNet):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch[:2], batch_idx)

    with pytest.warns(ExplanationWarning):
        logger = TensorBoardLogger(tmp_path)
        fit(ActiveNeuronMonitor(), model=Net, data=Triples(), logger=logger, max_epochs=3, num_sanity_val_steps=0)
    # one search reads each of the 96 items at most once; a search at every epoch would read three times as many
    assert 3 * 96 < len(reads) <= 3 * 96 + 96


def test_monitors_can_be_pickled_and_go_on_from_there() -> None:
    monitors = [
        *both(display=Display(tokens=["a", "b"])),
        DecisionPathMonitor(on_error="raise", class_names=[str(digit) for digit in range(10)]),
    ]
    assert [each.name for each in pickle.loads(pickle.dumps(monitors))] == ["neurons", "attribution", "path"]
    fit(monitors)
    copies = pickle.loads(pickle.dumps(monitors))
    # as text: some metrics are NaN
    assert [repr(each.records) for each in copies] == [repr(each.records) for each in monitors]
    assert copies[0].latest.display.word(1) == "b"
    # a copy does not know the network of the fit before: another's explanations are no reference
    fit(copies)
    assert [len(each.records) for each in copies] == [2 * len(each.records) for each in monitors]
