"""The callbacks in a configuration of LightningCLI: not a line about explaining in the program.

Run it from the root of the repository (seconds; needs scikit-learn and jsonargparse, the extra `cli`):

    python examples/lightning_cli.py fit --config examples/lightning_cli.yaml
    tensorboard --logdir runs/lightning_cli

Every option of a callback can stand in the file or on the command line, where a list is written as one:
`--trainer.callbacks+=lightning_explain.ActiveNeuronMonitor --trainer.callbacks.min_rate=0.8`.
"""

from collections.abc import Sequence

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from lightning.pytorch.cli import LightningCLI
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class DigitsNet(L.LightningModule):
    """One hidden layer.

    Args:
        width: Its neurons.
        rate: Of learning.
    """

    def __init__(self, width: int = 32, rate: float = 3e-3) -> None:
        super().__init__()
        self.rate = rate
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU())
        self.scores = nn.Linear(width, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """Return the scores (logits) of the ten digits."""
        return self.scores(self.hidden(digits))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        digits, labels = batch
        return functional.cross_entropy(self(digits), labels)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy."""
        digits, labels = batch
        self.log("val_acc", (self(digits).argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


class DigitsData(L.LightningDataModule):
    """Scikit-learn's 1,797 handwritten digits.

    Args:
        batch_size: Digits in a batch.
    """

    def __init__(self, batch_size: int = 50) -> None:
        super().__init__()
        self.batch_size = batch_size
        pixels, labels = load_digits(return_X_y=True)
        digits = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        self.digits, self.labels = digits, torch.tensor(labels)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the first 1,400."""
        return DataLoader(TensorDataset(self.digits[:1400], self.labels[:1400]), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the others."""
        return DataLoader(TensorDataset(self.digits[1400:], self.labels[1400:]), 200)


if __name__ == "__main__":
    torch.set_num_threads(1)  # more cost time on a network this small
    LightningCLI(DigitsNet, DigitsData, seed_everything_default=0)
