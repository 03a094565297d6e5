"""No step waits for an accelerator: fits on a device whose tensors have shape and type, but no values.

Whatever needs a value of a meta tensor (`item`, `nonzero`, a truth value, a copy to the host) raises, while all else of
a step runs, the backward pass and the optimizer included. Fake tensors would have `cuda` for a device; but a torch that
was built without it has no guard for that device, and makes neither copies nor autograd graphs there.
"""

import logging
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.accelerators.cpu import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, Probe
from lightning_explain.callbacks.neurons.counting.layer_counts import LayerCounts
from lightning_explain.callbacks.neurons.reporter import NeuronReporter

META = torch.device("meta")

LABELS: dict[str, Tensor] = {
    "labels": torch.arange(8),
    "a column of labels": torch.arange(8)[:, None],
    "labels to ignore": torch.arange(8) - 3,
    "one-hot": torch.eye(8, 10),
    "several labels": torch.ones(8, 10, dtype=torch.bool),
    "real values": torch.rand(8, 1),
    "a mask": torch.zeros(8, 6, 6, dtype=torch.long),
}


class Planned(SingleDeviceStrategy):
    """Runs on a device that there is not: the module is made there, and nothing is taken back."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device=device, accelerator=_NoAccelerator())

    def model_to_device(self) -> None:
        pass

    def teardown(self) -> None:
        pass


class _NoAccelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        pass


class Samples(Dataset[Any]):
    def __init__(self, target: Tensor) -> None:
        self.target = target

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(1, 8, 8), self.target[index % 8].clone()


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3))
        self.act, self.attention = nn.SiLU(), nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
        self.steps: list[torch.device] = []

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.act(self.features(x)).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0])

    def training_step(self, batch: Any) -> Tensor:
        self.steps.append(batch[1].device)
        return self(batch[0]).square().mean()

    def validation_step(self, batch: Any) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 0.1)


def fit_without_values(target: Tensor, *monitors: pl.Callback, **options: Any) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with META:
        net = Net()
    loader = DataLoader(Samples(target), batch_size=8)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(strategy=Planned(META), callbacks=list(monitors), max_epochs=2, **quiet, **options)
    trainer.fit(net, loader, loader)
    assert net.steps == [META] * 6


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore::lightning_explain.errors.ExplanationWarning"
)


@pytest.fixture(autouse=True)
def _without_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is no step: what a report says are values."""
    monkeypatch.setattr(NeuronReporter, "report_epoch", lambda *_args, **_options: False)
    monkeypatch.setattr("lightning_explain.callbacks.base.explanation_monitor.ExplanationMonitor.on_train_start", _none)
    monkeypatch.setattr("lightning_explain.callbacks.neurons.counting.layer_counts.DRAIN_EVERY", 2)
    for loop in ("evaluation_loop", "fit_loop"):  # Lightning asks the device for the length of loaders
        monkeypatch.setattr(f"lightning.pytorch.loops.{loop}.has_len_all_ranks", lambda *_: True)


def _none(*_: Any) -> None:
    pass


def monitors(**options: Any) -> list[pl.Callback]:
    probe = Probe(inputs=torch.rand(4, 1, 8, 8), targets=torch.arange(4))
    later: dict[str, Any] = {"probe": probe, "every_n_epochs": None, "every_n_train_steps": 100}
    neurons = ActiveNeuronMonitor(on_error="raise", feeding=0, maps=0, **options)
    return [neurons, AttributionMonitor(**later), DecisionPathMonitor(**later)]


@pytest.mark.parametrize("target", LABELS.values(), ids=LABELS.keys())
def test_hooks_and_step_updates_of_all_monitors_ask_for_no_value(target: Tensor) -> None:
    fit_without_values(target, *monitors())


@pytest.mark.parametrize("names", [[], list("abcdefghij")])
def test_nor_with_names_accumulated_gradients_or_a_budget(names: list[str]) -> None:
    options: dict[str, Any] = {"class_names": names, "max_overhead": 0.5}
    fit_without_values(LABELS["labels"], *monitors(**options), accumulate_grad_batches=2, val_check_interval=2)


class Waits(pl.Callback):
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        del trainer, pl_module, outputs, batch_idx
        batch[1].amax().item()


@pytest.mark.parametrize("waits", [True, False])
def test_a_wait_would_be_found(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not waits:
        monkeypatch.setattr(LayerCounts, "end_batch", lambda self: self.counted_layers())
    with pytest.raises(RuntimeError, match="meta"):
        fit_without_values(LABELS["labels"], Waits() if waits else monitors()[0])
