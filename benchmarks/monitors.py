"""What the monitors cost: training with them against training without, interleaved in one process.

    python benchmarks/monitors.py [--repeats 7] [--rows neurons-mlp neurons-cnn neurons-transformer bytes]
    python benchmarks/monitors.py --rows newcomer mnist import [--repeats 3]
    python benchmarks/monitors.py --rows all-mnist [--repeats 3] [--epochs 3] [--images 60000]

Prints the ratio watched : bare of the time per step (or of a whole run) as median and range over the pairs, and the
bytes that an explanation adds to the event file. On a busy machine the ratio scatters by more than what it measures;
so the monitor's own clock is read as well: the share of a step that it spends counting (median over the steps).

The rows newcomer, mnist and import are runs in processes of their own (`benchmarks/newcomer.py`), in turns, by their
processor time on one thread: all three monitors, and a callback that a user writes in 25 lines, beside the bare run.

The row all-mnist trains the demo's network bare, with all three monitors, and with all three and `max_overhead=0.05`,
in turns, and prints the time of both relative to the bare run: by the clock, and as processor time of the process.
"""

import argparse
import itertools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from networks import Classifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, Probe
from lightning_explain.demo import DigitNet, digits_data


def common_mnist_network() -> pl.LightningModule:
    """Two convolutions of 32 and 64 channels, a hidden layer of 128: the size that tutorials train on MNIST."""
    features = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
    head = [nn.Flatten(), nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
    return Classifier(nn.Sequential(*features, *head))


MNIST_NETWORKS: dict[str, Callable[[], pl.LightningModule]] = {"common": common_mnist_network, "demo": DigitNet}
"""The demo's network is made to train in seconds: it has 16 and 32 channels, so its maps are large beside its work."""


class StepTimer(pl.Callback):
    """Times every step from before the first hook to after the last; comes last among the callbacks."""

    def __init__(self, monitors: list[pl.Callback]) -> None:
        self.marks: list[float] = []
        self.spent: list[float] = []
        self._monitors = monitors

    def on_train_batch_end(self, *args: Any) -> None:
        self.marks.append(time.perf_counter())
        self.spent.append(sum(monitor._schedule.stopwatch.spent for monitor in self._monitors))

    def median_step(self) -> float:
        return statistics.median(_steps(self.marks))

    def own_share(self) -> float:
        shares = [own / step for own, step in zip(_steps(self.spent), _steps(self.marks), strict=True)]
        return statistics.median(shares)


def _steps(marks: list[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(marks[3:])]


def trainer(callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    defaults = {"accelerator": "cpu", "logger": False, **quiet}
    return pl.Trainer(callbacks=callbacks, **(defaults | options))


def mlp() -> tuple[nn.Module, TensorDataset, int]:
    """784-512-512-10 at batch 256."""
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return net, TensorDataset(torch.randn(256 * 60, 784), torch.randint(0, 10, (256 * 60,))), 256


def cnn() -> tuple[nn.Module, TensorDataset, int]:
    """Two convolutions with maps of 64 x 32 x 32 at batch 128."""
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return net, TensorDataset(torch.randn(128 * 12, 3, 32, 32), torch.randint(0, 10, (128 * 12,))), 128


class Encoder(nn.Module):
    """A small vision transformer: 49 tokens of 128, 8 heads."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 8, 512, batch_first=True, activation="gelu")
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


def transformer() -> tuple[nn.Module, TensorDataset, int]:
    """Two encoder layers on 49 tokens at batch 64."""
    return Encoder(), TensorDataset(torch.randn(64 * 36, 49, 128), torch.randint(0, 10, (64 * 36,))), 64


Make = Callable[[], tuple[nn.Module, TensorDataset, int]]
OWN: list[float] = []
"""Share of a step that the monitor spent by its own clock, of every watched run so far."""


def step_time(make: Make, monitors: list[pl.Callback]) -> float:
    net, data, batch_size = make()
    timer = StepTimer(monitors)
    trainer([*monitors, timer], max_epochs=1).fit(Classifier(net), DataLoader(data, batch_size=batch_size))
    if monitors:
        OWN.append(timer.own_share())
    return timer.median_step()


def report_steps(name: str, make: Make, repeats: int, bar: str) -> None:
    OWN.clear()
    report(name, lambda: step_time(make, []), lambda: step_time(make, [ActiveNeuronMonitor()]), repeats, bar)
    low, middle, high = min(OWN), statistics.median(OWN), max(OWN)
    print(f"{'  of a step, by its own clock':58} {middle:6.3f}  ({low:.3f} - {high:.3f})", flush=True)


Times = tuple[float, float]
"""Seconds by the clock, and of the processor."""


def mnist_run(
    monitors: list[pl.Callback],
    data: tuple[TensorDataset, TensorDataset],
    *,
    epochs: int,
    images: int,
    network: str = "demo",
) -> Times:
    """Train on the demo's 4,000 images, many times over in an epoch, with validation and TensorBoard."""
    pl.seed_everything(0, verbose=False)
    train, held_out = data
    many = TensorDataset(*(part.repeat(images // len(train), *(1,) * (part.ndim - 1)) for part in train.tensors))
    loaders = DataLoader(many, batch_size=128, shuffle=True), DataLoader(held_out, batch_size=250)
    with tempfile.TemporaryDirectory() as folder:
        run = trainer(monitors, max_epochs=epochs, logger=TensorBoardLogger(folder), num_sanity_val_steps=0)
        began = time.perf_counter(), time.process_time()
        run.fit(MNIST_NETWORKS[network](), *loaders)
        return time.perf_counter() - began[0], time.process_time() - began[1]


def report_all(
    data: tuple[TensorDataset, TensorDataset], *, repeats: int, epochs: int, images: int, network: str
) -> None:
    """Train bare, with all three monitors, and with all three under a budget, in turns."""
    probe = Probe.from_dataset(data[1], per_class=4)

    def all_three(**options: Any) -> list[Any]:
        kinds = (ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor)
        return [kind(probe=probe, **options) for kind in kinds]

    names = ["bare", "all three", "all three, max_overhead=0.05"]
    makes: list[Callable[[], list[Any]]] = [list, all_three, lambda: all_three(max_overhead=0.05)]
    mnist_run([], data, epochs=1, images=len(data[0]), network=network)
    found: dict[str, list[Times]] = {name: [] for name in names}
    told: dict[str, str] = {}
    for turn in range(repeats):
        for place in range(3):
            which = (place + turn) % 3
            monitors = makes[which]()
            found[names[which]].append(mnist_run(monitors, data, epochs=epochs, images=images, network=network))
            shares = [f"{m.name} {m._schedule.stopwatch.share():.1%} in {len(m.records)}" for m in monitors]
            told[names[which]] = ", ".join(shares)
            print(f"  {names[which]}: {found[names[which]][-1][0]:.0f} s; {told[names[which]]}", flush=True)
    print(
        f"{network} network, {images:,} images an epoch, {epochs} epochs, probe of 40; share and explanations of each"
    )
    for name, bar in zip(names[1:], ("<= 1.10", "<= 1.05"), strict=True):
        for kind, what in enumerate(("by the clock", "processor time")):
            ratios = sorted(a[kind] / b[kind] for a, b in zip(found[name], found["bare"], strict=True))
            line = f"{statistics.median(ratios):6.3f}  ({ratios[0]:.3f} - {ratios[-1]:.3f})"
            print(f"{f'{name}, {what}':58} {line}  {bar}", flush=True)
        print(f"  {told[name]}", flush=True)


def bytes_per_explanation(data: tuple[TensorDataset, TensorDataset]) -> float:
    """Return how much the event file grows per explanation of 64 MNIST samples."""
    probe = Probe(inputs=data[1].tensors[0][:64], targets=data[1].tensors[1][:64])
    with tempfile.TemporaryDirectory() as folder:
        sizes: dict[str, int] = {}
        counts: dict[str, int] = {}
        for name, monitors in (("bare", []), ("watched", [AttributionMonitor(probe=probe)])):
            logger = TensorBoardLogger(folder, name)
            loaders = DataLoader(data[0], batch_size=250), DataLoader(data[1], batch_size=250)
            trainer(monitors, max_epochs=6, logger=logger).fit(DigitNet(), *loaders)
            sizes[name] = sum(path.stat().st_size for path in Path(logger.log_dir).glob("events.*"))
            counts[name] = sum(len(monitor.records) for monitor in monitors)
    return (sizes["watched"] - sizes["bare"]) / counts["watched"]


def in_process(*arguments: str, byte_code: str | None = None) -> dict[str, float]:
    """Run `newcomer.py` in a process of its own, on one thread; byte code is written and read in a folder if given."""
    command = [sys.executable, str(Path(__file__).with_name("newcomer.py")), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if byte_code is not None:
        environment |= {"PYTHONPYCACHEPREFIX": byte_code, "PYTHONDONTWRITEBYTECODE": ""}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def report_processes(name: str, bare: Sequence[str], others: dict[str, Sequence[str]], repeats: int, bar: str) -> None:
    """Compare runs in processes of their own with the bare one, in turns."""
    ratios: dict[str, list[float]] = {label: [] for label in others}
    size: dict[str, float] = {}
    runs = [("", bare), *others.items()]
    # packages that pip installs are compiled to byte code: what is compiled here is no part of an import
    with tempfile.TemporaryDirectory() as folder:
        byte_code = folder if "import" in bare else None
        turns = [runs, *(runs if turn % 2 == 0 else runs[::-1] for turn in range(repeats))][byte_code is None :]
        every = [{label: in_process(*given, byte_code=byte_code) for label, given in turn} for turn in turns]
    for found in every[-repeats:]:
        for label in others:
            ratios[label].append(found[label]["seconds"] / found[""]["seconds"])
            size[label] = found[label]["bytes"] / 1e6
    for label, values in ratios.items():
        written = f", event file {size[label]:.2f} MB" if size[label] else ""
        line = f"{statistics.median(values):6.3f}  ({min(values):.3f} - {max(values):.3f})"
        print(f"{f'{name}, {label}':58} {line}  {bar if label == 'three monitors' else ''}{written}", flush=True)


PROCESS_ROWS: dict[str, tuple[str, Sequence[str], dict[str, Sequence[str]], str]] = {
    "newcomer": (
        "small ResNet, 4,000 digits, 5 epochs",
        ["bare"],
        {"three monitors": ["monitors"], "naive callback": ["naive"]},
        "<= 1.20",
    ),
    "mnist": (
        "MNIST CNN, 60,000 images, 3 epochs",
        ["bare", "--data", "mnist", "--epochs", "3"],
        {"three monitors": ["monitors", "--data", "mnist", "--epochs", "3"]},
        "<= 1.05",
    ),
    "import": (
        "import and construction beside Lightning",
        ["import"],
        {"three monitors": ["import-monitors"]},
        "<= 1.05",
    ),
}


def report(name: str, bare: Callable[[], float], watched: Callable[[], float], repeats: int, bar: str) -> None:
    bare(), watched()
    ratios = []
    for turn in range(repeats):
        first, second = (bare, watched) if turn % 2 == 0 else (watched, bare)
        a, b = first(), second()
        ratios.append(b / a if turn % 2 == 0 else a / b)
    ratios.sort()
    print(f"{name:58} {statistics.median(ratios):6.3f}  ({ratios[0]:.3f} - {ratios[-1]:.3f})  {bar}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = ["neurons-mlp", "neurons-cnn", "neurons-transformer", *PROCESS_ROWS, "all-mnist", "bytes"]
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    parser.add_argument("--epochs", type=int, default=3, help="of all-mnist")
    parser.add_argument("--network", choices=MNIST_NETWORKS, default="common", help="of all-mnist")
    parser.add_argument("--images", type=int, default=60_000, help="of an epoch of all-mnist")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(f"{torch.get_num_threads()} threads, medians of {arguments.repeats} interleaved pairs")
    print(f"{'watched : bare':58} median  (range)          bar")
    steps: list[tuple[str, str, Make, str]] = [
        ("neurons-mlp", "MLP 784-512-512-10, 256", mlp, "<= 1.04"),
        ("neurons-cnn", "CNN 64x32x32, 128", cnn, "<= 1.02"),
        ("neurons-transformer", "2 encoder layers, 49 tokens, 64", transformer, ""),
    ]
    for row, what, make, bar in steps:
        if row in arguments.rows:
            report_steps(f"ActiveNeuronMonitor, every step, {what}", make, arguments.repeats, bar)
    for row, (name, bare, others, bar) in PROCESS_ROWS.items():
        if row in arguments.rows:
            report_processes(name, bare, others, arguments.repeats, bar)
    data = digits_data(0)
    if "all-mnist" in arguments.rows:
        report_all(
            data, repeats=arguments.repeats, epochs=arguments.epochs, images=arguments.images, network=arguments.network
        )
    if "bytes" in arguments.rows:
        kilobytes = bytes_per_explanation(data) / 1000
        print(f"{'event file, per explanation of 64 samples 28x28, kB':58} {kilobytes:6.1f}                    <= 60")


if __name__ == "__main__":
    main()
