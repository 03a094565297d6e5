"""A method that a user adds in a file of its own, and runs of it, also in two processes (test_sharding)."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_explain import Attribution, AttributionMonitor, IntegratedGradients, Probe
from lightning_explain.attribution.baselines import resolve_baseline
from tests.models import digits
from tests.training import fit


@dataclass(frozen=True)
class TwoSided:
    """Gradient at the input and at the baseline, averaged, times the way between them: the trapezoid rule at its ends.

    Everything that monitors know of it stands here.
    """

    baseline: Any = "zeros"
    tolerance: float = 0.5

    is_samplewise = True
    n_passes = 2
    accepts_integers = False
    description = "gradients at both ends"

    def __call__(self, model: Callable[..., Tensor], inputs: Tensor, target: Any = None) -> Attribution:
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        x, others = parts[0].detach(), parts[1:]
        (start,) = resolve_baseline(self.baseline, (x,))
        start = start.expand_as(x)
        ends = [point.detach().clone().requires_grad_() for point in (start, x)]
        columns = [model(end, *others).gather(1, target[:, None])[:, 0] for end in ends]
        gradients = [torch.autograd.grad(c.sum(), end)[0] for c, end in zip(columns, ends, strict=True)]
        values = (gradients[0] + gradients[1]) / 2 * (x - start)
        change = (columns[1] - columns[0]).detach()
        carried = tuple(torch.zeros(part.shape) for part in others)
        return Attribution(
            values=(values, *carried) if others else values,
            convergence_delta=values.flatten(1).sum(1) - change,
            error=None,
            target=target,
            baseline=start if not others else None,
            n_evaluations=torch.full((len(x),), 2),
        )


class Counting(TwoSided):
    """Notes how many samples each call explains."""

    seen: list[int] = []  # noqa: RUF012 - shared on purpose

    def __call__(self, model: Callable[..., Tensor], inputs: Tensor, target: Any = None) -> Attribution:
        self.seen.append(len(inputs))
        return super().__call__(model, inputs, target)


def undeclared(model: Callable[..., Tensor], inputs: Tensor, target: Any = None) -> Attribution:
    """Explains a sample by what the rest of its batch is not."""
    found = TwoSided()(model, inputs, target)
    return Attribution(**{**vars(found), "values": found.values - inputs.mean(0)})


class Digits(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.05)


def train(monitor: AttributionMonitor, *, epochs: int = 1, **options: Any) -> None:
    train, val = digits(32, 32)
    loaders = DataLoader(train, 16), DataLoader(val, 16)
    fit(monitor, model=Digits, data=loaders, max_epochs=epochs, **options)


def shared() -> dict[str, Any]:
    """Fit in the processes of one run; return what was explained here, and what for."""
    Counting.seen.clear()
    probe = Probe.from_dataset(digits(32, 32)[1], per_class=1)
    methods = {"mean": Counting(baseline="mean"), "undeclared": undeclared, "adaptive": IntegratedGradients()}
    monitor = AttributionMonitor(method=methods, probe=probe, every_n_epochs=9, on_error="raise")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(monitor, devices=2, strategy="ddp")
    assert monitor.latest is not None
    alone = {name: method(monitor_net(), probe.parts[0], probe.labels) for name, method in methods.items()}
    return {
        "n_samples": len(probe),
        "seen": Counting.seen[:1],
        "together": {name: found.values.tolist() for name, found in monitor.latest.attributions.items()},
        "alone": {name: found.values.tolist() for name, found in alone.items()},
        "notes": [str(warning.message) for warning in caught if "whole probe" in str(warning.message)],
    }


def monitor_net() -> nn.Module:
    """The network before training, as every run begins."""
    pl.seed_everything(0, verbose=False)
    digits(32, 32)
    return Digits().eval()
