"""Modules that return their class scores in the ways seen in the wild, on three real digits."""

from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.models import quiet_trainer

IMAGES, LABELS = load_digits(n_class=3, return_X_y=True)
X, Y = torch.tensor(IMAGES, dtype=torch.float32) / 16, torch.tensor(LABELS)


class Parts(pl.LightningModule):
    """An encoder with a classifier, an untrained head of the same width, and a decoder; logs its accuracy."""

    logs = True

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 16), nn.ReLU())
        self.head, self.other, self.decoder = nn.Linear(16, 3), nn.Linear(16, 3), nn.Linear(16, 64)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.encoder(x))

    def scores(self, x: Tensor) -> Tensor:
        """What the steps compute: the scores, by the parts, and what comes after them."""
        hidden = self.encoder(x)
        scores = self.head(hidden)
        self.other(hidden.detach()), self.decoder(hidden)
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.cross_entropy(self.scores(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        right = (self.scores(batch[0]).argmax(1) == batch[1]).float().mean()
        if self.logs:
            self.log("val_acc", right)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-2)

    def true_recall(self, y: Tensor = Y) -> list[float]:
        """Recall by class of what the head predicts."""
        with torch.no_grad():
            predicted = self.head(self.encoder(X)).argmax(1)
        return [float((predicted[y == c] == c).double().mean()) for c in range(int(y.max()) + 1)]


def fit_scores(model: pl.LightningModule, *monitors: Any, y: Any = Y, epochs: int = 1) -> pl.Trainer:
    pl.seed_everything(0, verbose=False)
    trainer = quiet_trainer(callbacks=list(monitors), max_epochs=epochs, num_sanity_val_steps=0)
    data = TensorDataset(X, y)
    trainer.fit(model, DataLoader(data, 50, shuffle=True), DataLoader(data, 100))
    return trainer
