"""Replays a module of `pytorch_lightning`; prints the steps and the number of records."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import AttributionMonitor, Saliency, replay


class Net(pl.LightningModule):
    """Digits to scores."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])


if __name__ == "__main__":
    folder, model = Path(sys.argv[1]), Net()
    torch.save(model.state_dict(), folder / "step=7.pt")
    data = DataLoader(TensorDataset(torch.rand(20, 1, 8, 8), torch.arange(20) % 10), batch_size=10)
    monitor = AttributionMonitor(method=Saliency(), on_error="raise")
    result = replay(model, folder, monitor, val_dataloaders=data, logdir=folder, progress=False)
    print(result.steps, len(monitor.records))
