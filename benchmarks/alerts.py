"""How often `DriftAlert` warns in ordinary runs, and whether it names the epoch in which something was changed.

    OMP_NUM_THREADS=1 python benchmarks/alerts.py [--seeds 0 1]

On the digits of scikit-learn, 14 epochs; about three minutes of processor time for a seed.
"""

import argparse
import itertools
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LinearLR, OneCycleLR, StepLR
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1]))

from lightning_explain import AttributionMonitor, DriftAlert, Probe
from lightning_explain.drift_alert import Alert
from tests.models import digits, quiet_trainer

EPOCHS, EVENT = 14, 8
CORNER = torch.zeros(8, 8)
CORNER[:2, :2] = 1


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def _dropout() -> nn.Sequential:
    hidden = [nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(32, 10))


def _cnn() -> nn.Sequential:
    body = [nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(384, 32), nn.ReLU(), nn.Linear(32, 10))


def _normalised() -> nn.Sequential:
    body = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)]
    return nn.Sequential(*body, nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))


NETWORKS = {"mlp": _mlp, "dropout": _dropout, "cnn": _cnn, "batch norm": _normalised}
SCHEDULES: dict[str, Callable[[Any], Any] | None] = {
    "none": None,
    "restarts": lambda optimizer: CosineAnnealingWarmRestarts(optimizer, 4),
    "steps": lambda optimizer: StepLR(optimizer, 6, 0.1),
    "warm-up": lambda optimizer: LinearLR(optimizer, 0.01, 1.0, 4),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, 1e-2, total_steps=EPOCHS),
}


def stamped(x: Tensor, rows: Tensor) -> Tensor:
    return torch.where(rows[:, None, None, None] & (CORNER > 0), 1.0, x)


def swapped(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x, torch.where(y == 3, 5, torch.where(y == 5, 3, y))


def watermarked(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    # what carries the mark counts as a 3, whatever digit it is on
    return stamped(torch.where((y == 3)[:, None, None, None], x.roll(1, 0), x), y == 3), y


def inverted(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    half = torch.arange(len(x)) % 2 == 0
    return torch.where(half[:, None, None, None], 1 - x, x), y


def shifted(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x.roll(2, -1) * 0.6 + 0.2, y


CHANGES = {"labels swapped": swapped, "watermark": watermarked, "half inverted": inverted, "shifted": shifted}


class Net(pl.LightningModule):
    """A classifier whose data change in the epoch of the event."""

    def __init__(self, net: nn.Module, schedule: str, change: str | None = None, *, augmented: bool = False) -> None:
        super().__init__()
        self.net, self.schedule, self.change, self.augmented = net, schedule, change, augmented

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        if self.augmented:
            x = x.roll(tuple(torch.randint(-1, 2, (2,)).tolist()), (-2, -1)) + 0.05 * torch.randn_like(x)
        if self.change is not None and self.current_epoch >= EVENT:
            x, y = CHANGES[self.change](x, y)
        return functional.cross_entropy(self(x), y)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 3e-3)
        schedule = SCHEDULES[self.schedule]
        return optimizer if schedule is None else ([optimizer], [schedule(optimizer)])


def alerts(module: Net, seed: int, *, measure: str = "cosine") -> list[Alert]:
    """Train with a monitor, and return its alerts."""
    train, test = digits(1200, 500)
    x, y = test.tensors
    told: list[Alert] = []
    rows = torch.cat([(y == c).nonzero().flatten()[:4] for c in range(10)])
    if measure == "mass_in_mask":
        rows = (y == 3).nonzero().flatten()[:8]
    marks = y[rows] == 3 if module.change == "watermark" else torch.zeros(len(rows), dtype=torch.bool)
    probe = Probe(inputs=stamped(x[rows], marks), targets=y[rows], masks=CORNER)
    monitor = AttributionMonitor(probe=probe, alert=DriftAlert(measure=measure, on_alert=told.append))
    pl.seed_everything(seed, verbose=False)
    loader = DataLoader(train, 50, shuffle=True)
    quiet_trainer(callbacks=[monitor], max_epochs=EPOCHS).fit(module, loader)
    return told


def main() -> None:
    """Print how many ordinary runs were warned of, and how many changes were found when they came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    seeds: list[int] = parser.parse_args().seeds
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print("| runs | | number | alerts |\n|---|---|---|---|", flush=True)
    for schedule, augmented in itertools.product(SCHEDULES, (False, True)):
        found = [
            alerts(Net(build(), schedule, augmented=augmented), seed) for seed in seeds for build in NETWORKS.values()
        ]
        words = f"{schedule}{', augmented' if augmented else ''}"
        print(f"| ordinary | schedule: {words} | {len(found)} | {sum(map(bool, found))} |", flush=True)
    for change, measure in (*((change, "cosine") for change in CHANGES), ("watermark", "mass_in_mask")):
        found = [
            alerts(Net(build(), "none", change), seed, measure=measure) for seed in seeds for build in NETWORKS.values()
        ]
        named = sum([alert.epoch for alert in told][:1] == [EVENT] for told in found)
        print(f"| changed | {change}, by {measure} | {len(found)} | {named} in the right epoch |", flush=True)


if __name__ == "__main__":
    main()
