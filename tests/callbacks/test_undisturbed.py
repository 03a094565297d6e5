"""With or without the monitors: weights, optimizer, RNG streams and metrics are the same to the last bit."""

import random
from typing import Any

import captum.attr
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from lightning_explain import (
    LRP,
    ActiveNeuronMonitor,
    AttributionMonitor,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
)
from lightning_explain.attribution import from_captum
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer

# an untrained net's attributions are tiny and cancel out, so that the relative tolerance is out of reach
pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")


class Spy(pl.Callback):
    """Notes what a run logs and where its random streams stand, step by step."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def _note(self, trainer: pl.Trainer, pl_module: pl.LightningModule, where: str) -> None:
        own = {key: float(value) for key, value in trainer.callback_metrics.items() if not key.startswith("explain/")}
        streams = (torch.get_rng_state().sum().item(), np.random.get_state()[1].sum(), hash(random.getstate()))
        modes = tuple(module.training for module in pl_module.modules())
        grads = tuple(None if p.grad is None else p.grad.double().sum().item() for p in pl_module.parameters())
        self.notes.append((where, trainer.global_step, own, streams, modes, grads))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self._note(trainer, pl_module, "batch")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer, pl_module, "validation")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer, pl_module, "epoch")


def run(monitors: list[pl.Callback], logger: Any = False, **options: Any) -> tuple[dict[str, Any], list[Any], Any]:
    pl.seed_everything(3, verbose=False)
    model, spy = DigitNet(), Spy()
    trainer = quiet_trainer(callbacks=[*monitors, spy], logger=logger, **options)
    trainer.fit(model, DigitData())
    state = {
        "weights": model.state_dict(),
        "optimizer": trainer.optimizers[0].state_dict(),
        "after": (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()),
        "attributes": [
            sorted((key, len(value)) for key, value in vars(module).items() if key.endswith("_hooks"))
            for module in model.modules()
        ],
    }
    return state, spy.notes, trainer


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def monitors(**cadence: Any) -> list[pl.Callback]:
    return [
        ActiveNeuronMonitor(on_error="raise", **cadence),
        AttributionMonitor(on_error="raise", **cadence),
        ActiveNeuronMonitor(on_error="raise", by="prediction", layers=["body.*", "head.*"], name="wide", **cadence),
        AttributionMonitor(on_error="raise", method=IntegratedGradients(n_steps=5), name="fixed", **cadence),
    ]


@pytest.mark.parametrize(
    ("cadence", "options"),
    [
        ({}, {}),
        ({"every_n_epochs": None, "every_n_train_steps": 3}, {}),
        ({"every_n_epochs": 1, "every_n_train_steps": 2}, {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1}),
        ({}, {"precision": "bf16-mixed"}),
        ({}, {"val_check_interval": 3, "num_sanity_val_steps": 0}),
        ({}, {"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0}),
    ],
)
def test_run_is_bit_identical(cadence: dict[str, Any], options: dict[str, Any]) -> None:
    bare_state, bare_notes, _ = run([], **options)
    watched = monitors(**cadence)
    state, notes, _ = run(watched, **options)
    assert_same(bare_state, state)
    assert_same(bare_notes, notes)
    assert all(m.records for m in watched if isinstance(m, AttributionMonitor))  # it did explain


def test_run_with_loggers_is_bit_identical_and_logs_the_same_figures(tmp_path: Any) -> None:
    def loggers(name: str) -> list[Any]:
        return [TensorBoardLogger(tmp_path, name), CSVLogger(tmp_path, f"{name}-csv")]

    bare_state, bare_notes, bare = run([], logger=loggers("bare"))
    state, notes, watched = run(monitors(), logger=loggers("watched"))
    assert_same(bare_state, state)
    assert_same(bare_notes, notes)
    own = {k: v for k, v in watched.logged_metrics.items() if not k.startswith("explain/")}
    assert_same(bare.logged_metrics, own)


@pytest.mark.parametrize(
    "method",
    [
        LRP(),
        Saliency(),
        InputXGradient(),
        SmoothGrad(n_draws=3),
        GradCAM(layer="body.2"),
        from_captum(captum.attr.DeepLift),
        from_captum(captum.attr.Occlusion, sliding_window_shapes=(1, 2, 2)),
    ],
    ids=lambda method: type(method).__name__,
)
def test_run_is_bit_identical_with_every_method(method: Any, bare_run: Any, tmp_path: Any) -> None:
    bare_state, bare_notes = bare_run
    monitor = AttributionMonitor(method=method, on_error="raise")
    state, notes, _ = run([monitor], logger=TensorBoardLogger(tmp_path))
    assert_same(bare_state, state)
    assert_same(bare_notes, notes)
    assert len(monitor.records) == 3
    assert "explain/attribution/heatmaps" in Events(monitor_log_dir(tmp_path)).images


def monitor_log_dir(tmp_path: Any) -> Any:
    return tmp_path / "lightning_logs" / "version_0"


@pytest.fixture(scope="module")
def bare_run() -> Any:
    return run([])[:2]
