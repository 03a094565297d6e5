"""Reports of neurons: what goes where, how often, and what is told of them."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain.callbacks.neurons.metrics import MOST_CURVES
from lightning_explain.callbacks.neurons.reporter import NeuronReporter
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import Detail
from tests.callbacks.neurons.small_counts import GivenChoice, GivenCounts, guard, neuron_probe, no_exemplars, schedule
from tests.callbacks.neurons.small_reports import RATES, profile
from tests.events import Events
from tests.log.loggers import Unknown
from tests.models import quiet_trainer
from tests.training import explanation_warnings


def reporter(watch: GivenCounts, **options: Any) -> NeuronReporter:
    given: dict[str, Any] = {
        "watch": watch,
        "probe": neuron_probe(),
        "guard": guard(),
        "schedule": schedule(),
        "choice": GivenChoice(),
        "class_names": ["cat", "dog"],
        "feeding": 0,
        "method": None,
        "maps": 0,
        "ablation": 0,
        "exemplars": no_exemplars(),
        "detail": Detail("full"),
    }
    return NeuronReporter("neurons", **given | options)


MODULE = pl.LightningModule()


@pytest.mark.parametrize("options", [{"feeding": -1}, {"maps": -1}, {"maps": [2, -3]}])
def test_negative_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"feeding=-?\d+, maps=.*expected numbers from 0 on"):
        reporter(GivenCounts(), **options)


def test_everything_of_a_report_goes_out_at_its_step(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    trainer, watch = quiet_trainer(logger=logger), GivenCounts()
    found = reporter(watch)
    for step, rates in ((10, RATES), (20, RATES.flip(0))):
        watch.given = {"val": {"fc": profile(rates)}, "train": {"fc": profile()}}
        assert found.report_epoch(trainer, MODULE, "val", step=step)
    logger.experiment.flush()
    events = Events(logger.log_dir)
    turnover = events.curve("explain/neurons/fc/turnover")
    assert list(turnover) == [20] and turnover[20] == pytest.approx(1 - 1 / 3)
    gap = events.curve("explain/neurons/fc/gap")
    assert gap[10] == 0 and gap[20] == pytest.approx(float((RATES.flip(0) - RATES).abs().mean()))
    assert events.steps("explain/neurons/fc/rates")[0] == 10
    header = events.blob("explain/neurons/tab")
    assert (header["step"], header["count"]) == (20, 2)
    assert found.latest is not None and found.latest.step == 20
    (path,) = tmp_path.rglob("record.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [entry["step"] for entry in found.records] == [10, 20]
    assert lines[1]["layers"]["fc"] == found.records[1]["layers"]["fc"]
    assert found.records[1]["scalars"]["explain/neurons/fc/turnover"] == pytest.approx(turnover[20])
    # an EarlyStopping may go by any of them
    assert trainer.callback_metrics["explain/neurons/fc/gap"] == pytest.approx(gap[20])


def test_a_stage_in_which_nothing_was_counted_makes_no_report(tmp_path: Path) -> None:
    watch, logger = GivenCounts(), Unknown(str(tmp_path))
    found = reporter(watch)
    assert not found.report_epoch(quiet_trainer(logger=logger), MODULE, "val", step=3)
    assert found.records == [] and found.latest is None and logger.metrics == []


def test_metrics_that_nobody_may_monitor_are_logged_all_the_same(tmp_path: Path) -> None:
    logger = Unknown(str(tmp_path))
    trainer = quiet_trainer(logger=logger)
    reporter(GivenCounts(val={"fc": profile()})).report_epoch(trainer, MODULE, "val", step=3, monitored=False)
    assert not trainer.callback_metrics
    (metrics, step) = logger.metrics[0]
    assert step == 3 and metrics["explain/neurons/fc/dead"] == 0.25


def test_a_layer_that_never_fired_is_drawn_once_and_again_when_it_fires_no_more(tmp_path: Path) -> None:
    logger, watch = TensorBoardLogger(tmp_path), GivenCounts(val={"fc": profile()})
    trainer, found = quiet_trainer(logger=logger), reporter(watch)
    for step, silent in enumerate([("spare",), ("spare",), (), ("spare",)]):
        watch.silent = {"val": silent}
        found.report_epoch(trainer, MODULE, "val", step=step)
    logger.experiment.flush()
    events = Events(logger.log_dir)
    assert events.steps("explain/neurons/spare/rates") == [0, 3]
    notes = [event.step for event in events._events.Tensors("explain/neurons/notes/text_summary")]
    assert notes == [0, 3]  # words are written where they are new


def test_training_is_logged_within_an_epoch_and_makes_no_record(tmp_path: Path) -> None:
    logger = Unknown(str(tmp_path))
    found = reporter(GivenCounts(train={"fc": profile()}))
    trainer = quiet_trainer(logger=logger)
    found.report_step(trainer, MODULE)
    (metrics, _) = logger.metrics[0]
    assert metrics["explain/neurons/train/fc/dead"] == 0.25
    assert "explain/neurons/overhead" in metrics
    assert trainer.callback_metrics["explain/neurons/train/fc/dead"] == 0.25
    assert found.records == [] and list(found.builder.profiles) == ["train"]


def test_curves_of_too_many_classes_are_left_out_and_that_is_reported(tmp_path: Path) -> None:
    watch, n = GivenCounts(val={"fc": profile()}), MOST_CURVES + 1
    logger = Unknown(str(tmp_path))
    watch.metrics = {"recall": [0.5] * n}
    with explanation_warnings() as told:
        names = [str(c) for c in range(n)]
        reporter(watch, class_names=names).report_epoch(quiet_trainer(logger=logger), MODULE, "val", step=0)
    assert len(told) == 1 and f"there are {n:,} classes" in told[0] and f"first {MOST_CURVES}" in told[0]
    assert sum("/recall/" in name for name in logger.metrics[0][0]) == MOST_CURVES


def test_a_resumed_reporter_goes_on_and_another_run_does_not() -> None:
    watch = GivenCounts(val={"fc": profile()})
    found, trainer = reporter(watch), quiet_trainer()
    found.report_epoch(trainer, MODULE, "val", step=1)
    found.measurements.budget.train(100)
    resumed = reporter(watch)
    resumed.load_state_dict(found.state_dict())
    assert resumed.state_dict()["n_reports"] == 1
    assert resumed.state_dict()["passes"] == {"trained": 300, "spent": 0}
    earlier = {key: part for key, part in found.state_dict().items() if key != "passes"}
    reporter(watch).load_state_dict(earlier)  # checkpoints of before passes were counted
    watch.given = {"val": {"fc": profile(RATES.flip(0))}}
    resumed.report_epoch(trainer, MODULE, "val", step=2)
    assert resumed.records[0]["scalars"]["explain/neurons/fc/turnover"] == pytest.approx(1 - 1 / 3)
    resumed.start_over("It restarts.")
    assert resumed.latest is None and resumed.state_dict() == {
        "histories": {},
        "n_reports": 0,
        "passes": {"trained": 0, "spent": 0},
    }
    resumed.report_epoch(trainer, MODULE, "val", step=3)
    assert resumed.records[-1]["caveat"] == "It restarts."
    assert len(resumed.records) == 2  # what was recorded is kept
