"""The line at the end of a fit, and the hint while an explanation takes long."""

import logging
import re
import time

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, InputXGradient
from lightning_explain.log.console import hint_when_slow, summary_line, where_to_look
from tests.log.loggers import FakeTrainer
from tests.training import fit


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger="lightning.pytorch.utilities.rank_zero")
    return lambda: [each.getMessage() for each in caplog.records if "xplain" in each.getMessage()]


def both():
    return [
        AttributionMonitor(method=InputXGradient(), on_error="raise"),
        ActiveNeuronMonitor(feeding=0, maps=0, exemplars=0, on_error="raise"),
    ]


def test_a_fit_ends_with_one_line_of_all_monitors(told, tmp_path):
    fit(both(), logger=TensorBoardLogger(tmp_path, "run", version=0))
    (line,) = told()
    pattern = r"Explained: attribution 3 times, neurons twice \(40 samples\), in \d+\.\d s, \d+\.\d % of this fit\. "
    assert re.match(pattern, line)
    assert line.endswith(f"tensorboard --logdir {tmp_path}/run/version_0 (tab Explain).")


def test_a_second_fit_counts_its_own(told):
    monitors = both()
    fit(monitors, max_epochs=1)
    fit(monitors, max_epochs=3)
    assert "attribution twice, neurons once" in told()[0]
    assert "attribution 4 times, neurons 3 times" in told()[1]
    assert "No logger took it: see records and latest" in told()[1]


def test_it_is_silent_where_lightning_is(caplog):
    caplog.set_level(logging.WARNING, logger="lightning.pytorch.utilities.rank_zero")
    fit(both(), max_epochs=1)
    assert not [each for each in caplog.records if "Explained" in each.getMessage()]


def test_without_monitors_nothing_is_told(told):
    fit([pl.Callback()], max_epochs=1)
    assert told() == []


def test_the_place_is_that_of_the_logger(tmp_path):
    assert (
        where_to_look(FakeTrainer([CSVLogger(tmp_path, "run", version=3)])) == f"See {tmp_path}/run/version_3/explain."
    )


def test_nothing_explained_is_told():
    line = summary_line({"a": 0}, n_samples=0, seconds=0, share=0, place="")
    assert line == "Explained: nothing; the warnings of the monitors say why."
    assert "a never, b once" in summary_line({"a": 0, "b": 1}, n_samples=0, seconds=0, share=0, place="")


def test_an_explanation_that_takes_long_gets_a_hint_and_a_quick_one_none(told):
    with hint_when_slow("AttributionMonitor(name='slow')", seconds=0.05):
        time.sleep(0.3)
    with hint_when_slow("AttributionMonitor(name='quick')", seconds=30):
        pass
    (hint,) = told()
    assert hint.startswith("AttributionMonitor(name='slow') has been explaining for 0 s;")
    assert "max_overhead=" in hint
