"""A run under the `pytorch_lightning` name of Lightning; started by test_attribution_monitor."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import (
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    IntegratedGradients,
    Saliency,
    replay,
)


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(288, 16), nn.ReLU(), nn.Linear(16, 10))
        self.passes = 0

    def forward(self, x: Any) -> Any:
        self.passes += 1  # an attribute that an explanation must not change
        self.log("passes", float(self.passes))  # a log that an explanation must neither fail in nor add to
        return self.head(self.body(x))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


def main(folder: str) -> None:
    torch.set_num_threads(1)
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels))
    loader = DataLoader(torch.utils.data.Subset(data, range(320)), batch_size=32)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=TensorBoardLogger(folder, "run"),
        callbacks=[
            ActiveNeuronMonitor(on_error="raise", feeding=1, detail="full"),
            AttributionMonitor(on_error="raise", method=IntegratedGradients(n_steps=2)),
            DecisionPathMonitor(on_error="raise", layers="head.*", n_units=4, n_paths=3),
        ],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    model = Net()
    trainer.fit(model, loader, loader)
    assert model.passes == 10 + 10, model.passes
    torch.save(model.state_dict(), Path(folder) / "step=7.pt")
    monitor = AttributionMonitor(on_error="raise", method=Saliency())
    result = replay(model, Path(folder) / "step=7.pt", monitor, val_dataloaders=loader, logdir=folder, progress=False)
    assert (result.steps, len(monitor.records), model.passes) == ((7,), 1, 10 + 10), result


if __name__ == "__main__":
    main(sys.argv[1])
