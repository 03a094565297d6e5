"""Digits of which some have a mark, and a network that learns them in a second."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import AttributionMonitor, Saliency, Strategies
from lightning_explain.callbacks.attribution.strategies.strategy_report import StrategyReport
from tests.modalities import Learner
from tests.training import fit

CLASS = 3


def two_kinds(n: int = 240, n_marked: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Return images [n, 1, 12, 12] of a bar that stands (0) or lies (1), labels, and which of class 1 are marked."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    images = 0.6 * torch.rand(n, 1, 12, 12, generator=generator)
    images[:, :, :3] = 0
    images[:, :, :, :3] = 0
    for row, label in enumerate(labels.tolist()):
        # anywhere between pixels: bars in so many places would be so many strategies
        at = 4 + 5 * float(torch.rand((), generator=generator))
        for place, light in ((int(at), 1 - at % 1), (int(at) + 1, at % 1)):
            if label:
                images[row, 0, place, 4:11] += 0.5 * light
            else:
                images[row, 0, 4:11, place] += 0.5 * light
    marked = torch.zeros(n, dtype=torch.bool)
    marked[(labels == 1).nonzero().flatten()[n // 2 - n_marked :]] = True
    images[marked, 0, 0:3, 0:3] = 1.0
    return images, labels, marked


def net() -> Learner:
    return Learner(
        nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 144, 2)), lr=3e-3
    )


def loaders(images: Tensor, labels: Tensor, n_held_out: int = 40) -> tuple[DataLoader, DataLoader]:
    pl.seed_everything(0, verbose=False)
    train = TensorDataset(images[n_held_out:], labels[n_held_out:])
    return DataLoader(train, 20, shuffle=True), DataLoader(TensorDataset(images[:n_held_out], labels[:n_held_out]), 20)


def reported(method: Any, model: Any, data: Any, **options: Any) -> StrategyReport:
    """Fit three epochs; return the strategies found at the last explanation."""
    monitor = AttributionMonitor(
        method=method, measures=["cosine"], strategies=Strategies(per_class=60), on_error="raise", **options
    )
    fit(monitor, model=model, data=data, max_epochs=3)
    assert monitor.latest is not None
    assert monitor.latest.strategies is not None
    return monitor.latest.strategies


def two_ways() -> StrategyReport:
    """Return a report in which class 1 is decided in two ways, class 0 in one."""
    images, labels, _ = two_kinds()
    return reported(Saliency(), net, loaders(images, labels))
