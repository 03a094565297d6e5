"""Drawing changes no state: with and without a logger a monitor saves the same, and offers the same metrics."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain import LRP, ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, IntegratedGradients
from tests.models import DigitData, DigitNet, quiet_trainer

MONITORS = {
    "neurons": lambda: ActiveNeuronMonitor(on_error="raise"),
    "attribution": lambda: AttributionMonitor(
        method=[IntegratedGradients(n_steps=4), LRP()], compare_with={"early": 4}, on_error="raise"
    ),
    "path": lambda: DecisionPathMonitor(on_error="raise", every_n_epochs=None, every_n_train_steps=1),
    "path of samples": lambda: DecisionPathMonitor(show="sample", on_error="raise"),
}


def fitted(make: Any, logger: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """Return what the monitor saves after a run, and the metrics that callbacks found at its end."""
    pl.seed_everything(0, verbose=False)
    monitor = make()
    trainer = quiet_trainer(max_epochs=2, callbacks=[monitor], logger=logger)
    trainer.fit(DigitNet(), DigitData(n_train=64, n_val=32))
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("explain/")}
    return monitor.state_dict(), {key: value for key, value in metrics.items() if "overhead" not in key}


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}[{key!r}]")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{place}]")
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, msg=where)
    else:
        assert one == other, where


@pytest.mark.parametrize("kind", MONITORS)
def test_state_and_metrics_without_a_logger_are_those_of_a_run_with_tensorboard(kind: str, tmp_path: Path) -> None:
    state, metrics = fitted(MONITORS[kind], TensorBoardLogger(tmp_path, "drawn"))
    assert_same((state, metrics), fitted(MONITORS[kind], False))
    assert len(metrics) > 10


def test_drawing_by_hand_changes_no_state() -> None:
    pl.seed_everything(0, verbose=False)
    monitor = DecisionPathMonitor(on_error="raise", every_n_epochs=None, every_n_train_steps=1)
    quiet_trainer(max_epochs=1, callbacks=[monitor]).fit(DigitNet(), DigitData(n_train=160, n_val=64))
    state = monitor.state_dict()
    first, second = monitor.pictures(), monitor.pictures()
    assert_same(state, monitor.state_dict())
    assert first and all((first[part] == second[part]).all() for part in first)


@pytest.mark.parametrize(
    ("make", "metric"),
    [
        (ActiveNeuronMonitor, "explain/neurons/head.1/dead"),
        (AttributionMonitor, "explain/attribution/drift/first"),
        (DecisionPathMonitor, "explain/path/turnover"),
    ],
)
def test_a_strict_early_stopping_listed_before_or_after_finds_its_metric(make: Any, metric: str) -> None:
    for place in (0, 1):
        stopper = EarlyStopping(monitor=metric, patience=20, strict=True)
        callbacks = [make(on_error="raise")]
        callbacks.insert(place, stopper)
        trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, num_sanity_val_steps=0)
        trainer.fit(DigitNet(), DigitData(n_train=64, n_val=64))
        assert trainer.current_epoch == 2 and torch.isfinite(stopper.best_score)
        assert not any(key.startswith("explain/") for key in trainer.progress_bar_metrics)
