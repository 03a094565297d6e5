"""Small LightningModules and data that the tests share."""

from functools import cache
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_explain.callbacks.base.monitor import ProbeMonitor


@cache
def _all_digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)


def digits(n_train: int = 256, n_val: int = 96) -> tuple[TensorDataset, TensorDataset]:
    """Real 8x8 digits as [n, 1, 8, 8] in 0 to 1, in a fixed order."""
    x, y = (part.clone() for part in _all_digits())
    return TensorDataset(x[:n_train], y[:n_train]), TensorDataset(
        x[n_train : n_train + n_val], y[n_train : n_train + n_val]
    )


class DigitNet(pl.LightningModule):
    """A convnet with everything that an explanation could disturb: dropout, BatchNorm, a frozen-eval submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Linear(128, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 10))
        self.frozen.requires_grad_(requires_grad=False)
        self.frozen.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.frozen(x)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        scores = self(x)
        self.log("val_loss", nn.functional.cross_entropy(scores, y))
        self.log("val_acc", (scores.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=5e-3)


class DigitData(pl.LightningDataModule):
    """Digits in shuffled batches."""

    def __init__(self, n_train: int = 256, n_val: int = 96, batch_size: int = 32, shuffle: bool = True) -> None:
        super().__init__()
        self.train, self.val = digits(n_train, n_val)
        self.batch_size = batch_size
        self.shuffle = shuffle

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val, batch_size=self.batch_size)


def quiet_trainer(*, detail: Literal["terse", "full"] = "full", **options: Any) -> pl.Trainer:
    """A Trainer on the CPU without bars, logger or checkpoints unless asked for.

    Its monitors log everything unless told otherwise: most tests look at a metric of a layer or a class.
    """
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(**(defaults | options))
    for monitor in vars(trainer)["callbacks"]:
        if isinstance(monitor, ProbeMonitor):
            monitor._detail.level = detail
    return trainer


class Mapped(Dataset[Any]):
    """Items of a data set passed through a function."""

    def __init__(self, dataset: Dataset[Any], function: Any) -> None:
        self.dataset, self.function = dataset, function

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.function(self.dataset[index])
