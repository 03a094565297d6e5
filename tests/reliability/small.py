"""A run so small that a hundred of them fit into half a minute: digits 0 and 1 as 4x4 images, a net of four layers."""

from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.models import DigitNet, quiet_trainer

N_TRAIN, N_VAL, BATCH = 32, 16, 16


def zeros_and_ones() -> tuple[TensorDataset, TensorDataset]:
    """Real digits 0 and 1 as [n, 1, 4, 4] in 0 to 1: training and validation."""
    images, labels = load_digits(n_class=2, return_X_y=True)
    x = nn.functional.avg_pool2d(torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, 2)
    y = torch.tensor(labels)
    end = N_TRAIN + N_VAL
    return TensorDataset(x[:N_TRAIN], y[:N_TRAIN]), TensorDataset(x[N_TRAIN:end], y[N_TRAIN:end])


class SmallNet(DigitNet):
    """A convolution under BatchNorm, frozen in eval mode, then two linear layers with dropout between them."""

    def __init__(self) -> None:
        pl.LightningModule.__init__(self)
        self.frozen = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
        self.body = nn.Flatten()
        self.head = nn.Sequential(nn.Linear(32, 4), nn.ReLU(), nn.Dropout(0.3), nn.Linear(4, 2))
        self.frozen.requires_grad_(requires_grad=False)
        self.frozen.eval()


def loaders(train: Dataset[Any] | None = None, val: Dataset[Any] | None = None) -> dict[str, Any]:
    """Arguments of `fit`: shuffled training batches, and validation batches in order."""
    own_train, own_val = zeros_and_ones()
    return {
        "train_dataloaders": DataLoader(train or own_train, BATCH, shuffle=True),
        "val_dataloaders": DataLoader(val or own_val, BATCH // 2),
    }


def fit_small(model: pl.LightningModule, data: dict[str, Any], **options: Any) -> pl.Trainer:
    """Train for two epochs, seeded."""
    torch.manual_seed(1)
    trainer = quiet_trainer(**({"max_epochs": 2, "num_sanity_val_steps": 0, "log_every_n_steps": 1} | options))
    trainer.fit(model, **data)
    return trainer


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of all weights and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
