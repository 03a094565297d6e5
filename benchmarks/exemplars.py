"""What exemplars cost: validation steps with them against the same monitor without.

    python benchmarks/exemplars.py [--rounds 5] [--batches 40]

Prints, for each network, processor time of one thread for a validation step: of the network alone, with the monitor
without exemplars, and with exemplars. Medians over rounds in which the ways take turns, and what exemplars add as a
share of the step without them. The first batches of a pass cost most, since nearly everything in them is among the best
so far. Then the size of an event file with the pictures of three reports.

Where nansense is installed (`pip install --no-deps nansense==0.4.0`), its watch of the same layers, which keeps running
statistics and the patches of extreme activations, stands beside them as a share of the step of the network alone.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from networks import Classifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

try:
    import nansense
except ImportError:
    nansense: Any = None

from lightning_explain import ActiveNeuronMonitor


def mlp() -> tuple[nn.Module, tuple[int, ...], int]:
    """784-512-512-10 at batch 256."""
    hidden = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(512, 10)), (784,), 256


def mnist_cnn() -> tuple[nn.Module, tuple[int, ...], int]:
    """Convolutions of 32 and 64 channels and a hidden layer of 128 on 28 x 28, at batch 64: a tutorial's network."""
    features = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10)), (1, 28, 28), 64


def cnn() -> tuple[nn.Module, tuple[int, ...], int]:
    """Two convolutions with maps of 64 x 32 x 32 at batch 64."""
    features = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), (3, 32, 32), 64


NETWORKS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...], int]]] = {
    "MLP 784-512-512-10, batch 256": mlp,
    "MNIST CNN 32-64-128, batch 64": mnist_cnn,
    "CNN 64x32x32, batch 64": cnn,
}


def trainer(callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return pl.Trainer(callbacks=callbacks, accelerator="cpu", **({"logger": False} | quiet | options))


class ValidationTime(pl.Callback):
    """Processor time from before the first hook of the first batch to after the last of the last; comes first."""

    def on_validation_epoch_start(self, *args: Any) -> None:
        self.began = time.process_time()
        self.passed = 0.0

    def on_validation_batch_start(self, *args: Any) -> None:
        self.began = time.process_time()


class Last(pl.Callback):
    """Adds up; comes last."""

    def __init__(self, first: ValidationTime) -> None:
        self.first = first

    def on_validation_batch_end(self, *args: Any) -> None:
        self.first.passed += time.process_time() - self.first.began


class Watch(pl.Callback):
    """nansense's watch of the activation modules in validation; it never pauses."""

    session: Any = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.session = nansense.Session(pl_module.net, epochs=1, phases={"val": trainer.num_val_batches[0]})
        layers = [name for name, module in pl_module.net.named_modules() if isinstance(module, nn.ReLU)]
        assert all(self.session.watch(name) for name in layers)
        self.session.set_stats_scope("watched")
        self.session.detach()

    def on_validation_batch_start(self, *_: Any) -> None:
        self.batch = self.session.batch(phase="val", epoch=0)
        self.batch.__enter__()

    def on_validation_batch_end(self, *_: Any) -> None:
        self.batch.__exit__(None, None, None)

    def on_validation_end(self, *_: Any) -> None:
        assert self.session.watch_snapshot().stats, "nothing was collected"
        self.session.close()


def seconds(model: pl.LightningModule, loader: Any, callbacks: list[pl.Callback]) -> float:
    """Return processor time of the steps of one validation pass."""
    first = ValidationTime()
    trainer([first, *callbacks, Last(first)]).validate(model, loader, verbose=False)
    return first.passed


def compare(name: str, *, rounds: int, n_batches: int) -> None:
    """Print the row of one network."""
    torch.manual_seed(0)
    net, shape, batch = NETWORKS[name]()
    model = Classifier(net)
    data = TensorDataset(torch.randn(batch * n_batches, *shape), torch.randint(0, 10, (batch * n_batches,)))
    loader = DataLoader(data, batch)
    plain: dict[str, Any] = {"feeding": 0, "maps": 0, "ablation": 0}
    ways: dict[str, Callable[[], list[pl.Callback]]] = {
        "bare": list,
        "without": lambda: [ActiveNeuronMonitor(exemplars=0, **plain)],
        "with": lambda: [ActiveNeuronMonitor(**plain)],
        **({} if nansense is None else {"nansense": lambda: [Watch()]}),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, make in ways.items():
            found[way].append(seconds(model, loader, make()))
    # the first round warms up
    medians = {way: statistics.median(times[1:]) for way, times in found.items()}
    added = [b / a - 1 for a, b in zip(found["without"][1:], found["with"][1:], strict=True)]
    times = "  ".join(f"{way} {1000 * seconds / n_batches:.2f} ms" for way, seconds in medians.items())
    share = f"{100 * statistics.median(added):.1f} % ({100 * min(added):.1f} to {100 * max(added):.1f})"
    watched = [f"{way} {medians[way] / medians['bare']:.2f}x" for way in ways if way in ("with", "nansense")]
    print(f"{name}: a step {times}; exemplars add {share}; of the bare step: {', '.join(watched)}")


def pictures() -> None:
    """Print bytes and time of the pictures of a report, on scikit-learn's digits."""
    from lightning_explain.demo import DigitNet, digits_data  # noqa: PLC0415

    train, val = digits_data(seed=0)
    with tempfile.TemporaryDirectory() as folder:
        monitor = ActiveNeuronMonitor(feeding=0, maps=0, ablation=0)
        run = trainer([monitor], max_epochs=3, logger=TensorBoardLogger(folder))
        run.fit(DigitNet(), DataLoader(train, 64), DataLoader(val, 128))
        assert monitor.latest is not None
        cards = monitor.latest.cards
        size = sum(path.stat().st_size for path in Path(folder).rglob("events*"))
    print(
        f"digits, 3 reports: {sum(map(len, cards.values()))} units in {len(cards)} pictures; event file {size:,} bytes"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=40)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name in NETWORKS:
        compare(name, rounds=chosen.rounds, n_batches=chosen.batches)
    pictures()


if __name__ == "__main__":
    main()
