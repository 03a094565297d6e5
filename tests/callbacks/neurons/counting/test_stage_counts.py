"""Many classes, neurons, samples: what is kept, written and drawn stays small, and says what it leaves out."""

import json
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.errors import ExplanationWarning
from lightning_explain.render.units.neurons import MOST_CLASSES, overlap_picture, rates_picture
from tests.events import Events
from tests.training import fit

N_CLASSES, N_NEURONS = 300, 900


class Wide(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, N_NEURONS), nn.ReLU(), nn.Linear(N_NEURONS, N_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def count_classes(monitor: ActiveNeuronMonitor, n_samples: int, logger: Any = False) -> pl.Trainer:
    x = torch.randn(n_samples, 8, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(x, torch.arange(n_samples) % N_CLASSES), batch_size=100)
    return fit(monitor, model=Wide, data=(loader, loader), max_epochs=1, logger=logger)


def n_bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict | list | tuple):
        return sum(n_bytes(part) for part in (state.values() if isinstance(state, dict) else state))
    return 0


def test_what_is_written_stays_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    monitor = ActiveNeuronMonitor(feeding=0)
    with pytest.warns(ExplanationWarning, match="300 classes; precision, recall and F1 are metrics for the first 100"):
        count_classes(monitor, 600, TensorBoardLogger(tmp_path, "run"))
    folder = tmp_path / "run" / "version_0"
    events = Events(folder)
    curves = [tag for tag in events.scalars if tag.startswith("explain/neurons/f1/")]
    assert 0 < len(curves) <= 100
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 400_000
    record = json.loads((next(folder.rglob("record.jsonl"))).read_text().splitlines()[-1])
    layer = record["layers"]["net.1"]
    assert monitor.latest is not None
    profile = monitor.latest.layers["net.1"].profile
    assert len(layer["classes"]) == N_CLASSES
    assert layer["classes"]["7"]["active"] is None
    assert layer["classes"]["7"]["n_active"] == int(profile.active_sets[7].sum()) > 100
    for picture in ("rates", "overlaps"):
        height, width, _ = events.picture(f"explain/neurons/net.1/{picture}").shape
        assert 300 < width < 600 and 300 < height < 900


def test_memory_of_counts_does_not_depend_on_the_number_of_samples() -> None:
    sizes: list[int] = []
    for n_samples in (300, 3000):
        monitor = ActiveNeuronMonitor(feeding=0, maps=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExplanationWarning)  # of curves, see above
            trainer = count_classes(monitor, n_samples)
        sizes.append(n_bytes(monitor.state_dict()))
        assert trainer.global_step == n_samples // 100
        assert monitor.profiles["val"]["net.1"].n_samples.sum() == n_samples
    # per class and neuron a boolean and an epoch in 4 bytes; what goes by class or by neuron alone is little
    assert sizes[0] == sizes[1] < 1.1 * 5 * N_CLASSES * N_NEURONS


def test_the_neurons_that_tell_classes_apart_are_drawn() -> None:
    rates = torch.full((4, 1000), 0.5)
    rates[0, 990:], rates[1, 990:] = 1.0, 0.0
    drawn = rates_picture(rates, class_names=list("abcd"), title="Rates.")
    flat = rates_picture(torch.full((4, 1000), 0.5), class_names=list("abcd"), title="Rates.")
    assert drawn.shape == flat.shape
    # the ten last columns, above the margin at the right
    assert not np.array_equal(drawn[:, -18:-8], flat[:, -18:-8])
    assert np.array_equal(drawn[-60:-30, 100:200], flat[-60:-30, 100:200])


@pytest.mark.parametrize("n_classes", [41, 150, MOST_CLASSES, MOST_CLASSES + 1, 1000])
def test_pictures_of_any_number_of_classes_fit_a_page(n_classes: int) -> None:
    names = [f"class {c}" for c in range(n_classes)]
    for picture in (
        rates_picture(torch.rand(n_classes, 500), class_names=names, title="Rates."),
        overlap_picture(torch.rand(n_classes, n_classes), class_names=names, title="Overlap."),
    ):
        assert 400 < picture.shape[1] < 620 and 250 < picture.shape[0] < 900
        # names on the left, cells of many colours to the right end, no more of either than there is room for
        colours = (np.ptp(picture[-150:-40].astype(int), axis=-1) > 20).any(0)
        assert (picture[60:-20, 8 : np.flatnonzero(colours)[0]] < 100).any()
        assert colours.sum() > 200 and not colours[-8:].any()
