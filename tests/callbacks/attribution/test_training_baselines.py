"""Means of the training data as baselines, and token ids, in real runs."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_explain import AttributionMonitor, IntegratedGradients, Probe
from lightning_explain.attribution import AtEmbedding
from lightning_explain.errors import ConfigurationError
from tests.events import Events
from tests.models import DigitData, DigitNet, digits, quiet_trainer
from tests.training import logged_fit


def probe() -> Probe:
    return Probe.from_dataset(DigitData().val, per_class=1)


@pytest.mark.parametrize("kind", ["train_mean", "train_channel_mean"])
def test_the_mean_of_the_training_data_is_the_baseline(kind: str, tmp_path: Path) -> None:
    monitor = AttributionMonitor(method=IntegratedGradients(baseline=kind, n_steps=4), probe=probe(), on_error="raise")
    _, events = logged_fit(monitor, tmp_path, max_epochs=1)
    train = digits()[0].tensors[0]
    # fewer than a thousand: all of them
    mean = train.mean(0) if kind == "train_mean" else train.mean((0, 2, 3))[:, None, None]
    assert monitor.latest is not None
    baseline = monitor.latest.attribution.baseline
    torch.testing.assert_close(baseline, mean.expand(10, *train.shape[1:]), atol=1e-5, rtol=1e-4)
    assert f"baseline: {kind}" in monitor.records[0]["method"]
    line = json.loads((Path(events._events.path) / "explain/attribution/record.jsonl").read_text().splitlines()[0])
    assert f"baseline: {kind}" in line["method"]


def test_it_is_the_same_after_a_resume(tmp_path: Path) -> None:
    """The checkpoint's mean is taken up, even if the training data have changed since."""
    method = IntegratedGradients(baseline="train_mean", n_steps=4)
    monitor = AttributionMonitor(method=method, probe=probe(), on_error="raise")
    pl.seed_everything(0, verbose=False)
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=1, logger=False)
    trainer.fit(DigitNet(), DigitData())
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    assert monitor.latest is not None
    before = monitor.latest.attribution.baseline
    data = DigitData()
    data.train = TensorDataset(*(part[:64] for part in data.train.tensors))
    again = AttributionMonitor(method=method, probe=probe(), on_error="raise")
    quiet_trainer(callbacks=[again], max_epochs=2, logger=False).fit(
        DigitNet(), data, ckpt_path=tmp_path / "saved.ckpt", weights_only=True
    )
    assert again.latest is not None
    torch.testing.assert_close(again.latest.attribution.baseline, before)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(TensorDataset(*(part[:32] for part in digits()[0].tensors)))


def test_what_cannot_be_averaged_is_said_before_training(tmp_path: Path) -> None:
    asking = IntegratedGradients(baseline="train_mean")
    monitor = AttributionMonitor(method=asking, probe=probe())
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=1, logger=False)
    with pytest.raises(ConfigurationError, match="picked by index.*data_mean"):
        trainer.fit(DigitNet(), DataLoader(Stream(), 16), DataLoader(DigitData().val, 48))
    with pytest.raises(ConfigurationError, match="computed by AttributionMonitor.*data_mean"):
        asking(DigitNet(), digits()[1].tensors[0][:2], 1)
    tokens = AttributionMonitor(method=AtEmbedding(asking), probe=probe())
    trainer = quiet_trainer(callbacks=[tokens], max_epochs=1, logger=False)
    with pytest.raises(ConfigurationError, match="token ids have none"):
        trainer.fit(DigitNet(), DigitData())


# -- token ids --------------------------------------------------------------------------------------------------


class Reader(DigitNet):
    """Reads a digit as a sentence of 64 words, one of 17 for each pixel's ink."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(17, 8), nn.Embedding(64, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(self.encoder(x).mean(1))


def sentences() -> tuple[DataLoader[Any], DataLoader[Any]]:
    parts = [
        ((images.flatten(1) - images.min()) / (images.max() - images.min()) * 16).round().long()
        for images, _ in (data.tensors for data in digits())
    ]
    labels = [data.tensors[1] for data in digits()]
    train, val = (TensorDataset(ids, y) for ids, y in zip(parts, labels, strict=True))
    return DataLoader(train, 32), DataLoader(val, 48)


def test_token_ids_are_explained_while_a_network_trains(tmp_path: Path) -> None:
    monitor = AttributionMonitor(
        method=AtEmbedding(IntegratedGradients(n_steps=6), layer="words", baseline_token=0), on_error="raise"
    )
    pl.seed_everything(0, verbose=False)
    logger = TensorBoardLogger(tmp_path, "run", version=0)
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=2).fit(Reader(), *sentences())
    events = Events(logger.log_dir)
    assert monitor.latest is not None
    assert monitor.probe is not None
    values = monitor.latest.attribution.values
    assert isinstance(values, Tensor)
    assert values.shape == monitor.probe.parts[0].shape
    assert "baseline: token 0" in monitor.records[-1]["method"]
    assert len(events.curve("explain/attribution/drift/previous")) == 2
    assert events.picture("explain/attribution/heatmaps").std() > 0


def test_token_ids_without_an_embedding_method_are_refused_with_the_cure() -> None:
    trainer = quiet_trainer(callbacks=[AttributionMonitor()], max_epochs=1, logger=False)
    with pytest.raises(ConfigurationError, match="AtEmbedding"):
        trainer.fit(Reader(), *sentences())
