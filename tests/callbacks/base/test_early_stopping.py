"""Callbacks that monitor our figures are refused at set-up where they would end the run at an epoch without any."""

from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_explain import AttributionMonitor, Saliency
from lightning_explain.callbacks.base.early_stopping import check_listeners
from lightning_explain.errors import ConfigurationError
from lightning_explain.schedule import Schedule
from tests.models import DigitData, DigitNet, quiet_trainer

OURS = "explain/attribution/drift/previous"


@pytest.mark.parametrize(
    ("callback", "every", "may_skip", "cure"),
    [
        (EarlyStopping(OURS), 1, True, r"EarlyStopping\(strict=False\)"),
        (EarlyStopping(OURS), 2, False, r"every_n_epochs=2.*strict=False"),
        (ModelCheckpoint(monitor=OURS), 2, False, r"ModelCheckpoint\(every_n_epochs=2\)"),
        (ModelCheckpoint(monitor=OURS, every_n_epochs=2), 2, True, "up max_overhead of 'attribution'"),
    ],
)
def test_what_would_end_the_run_is_refused(callback: pl.Callback, every: int, may_skip: bool, cure: str):
    trainer = SimpleNamespace(callbacks=[callback])
    with pytest.raises(ConfigurationError, match=cure):
        check_listeners(trainer, "attribution", schedule=Schedule(every_n_epochs=every), may_skip=may_skip)


@pytest.mark.parametrize(
    ("callback", "every", "may_skip"),
    [
        (EarlyStopping(OURS), 1, False),
        (EarlyStopping(OURS, strict=False), 2, True),
        (EarlyStopping("val_loss"), 2, True),
        (EarlyStopping("explain/attribution2/drift/previous"), 2, True),
        (ModelCheckpoint(monitor=OURS, every_n_epochs=4), 2, False),
        (ModelCheckpoint(), 2, True),
        (pl.Callback(), 2, True),
    ],
)
def test_everything_else_is_welcome(callback: pl.Callback, every: int, may_skip: bool):
    trainer = SimpleNamespace(callbacks=[callback])
    check_listeners(trainer, "attribution", schedule=Schedule(every_n_epochs=every), may_skip=may_skip)


def test_a_run_is_refused_before_its_first_step():
    module = DigitNet()
    monitor = AttributionMonitor(method=Saliency(), every_n_epochs=2)
    trainer = quiet_trainer(callbacks=[monitor, EarlyStopping(OURS)], max_epochs=3)
    with pytest.raises(ConfigurationError, match="at any other epoch it would end the run"):
        trainer.fit(module, datamodule=DigitData())
    assert trainer.global_step == 0
