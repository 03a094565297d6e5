"""Reports of an attribution monitor: what is written of each explanation, and what a failure leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain.budget import Budget
from lightning_explain.callbacks.attribution import images
from lightning_explain.callbacks.attribution import reporter as reporting
from lightning_explain.callbacks.attribution.alerts import Alarm
from lightning_explain.callbacks.attribution.compare_with import Comparisons
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.history import History
from lightning_explain.callbacks.attribution.reporter import Reporter
from lightning_explain.callbacks.base.error_handling import Guard, OnError
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.drift_alert import DriftAlert
from lightning_explain.log import Detail
from lightning_explain.schedule import Schedule
from tests.callbacks.attribution.small_comparisons import METHODS, VALUES, attribution, explanation, small_probe
from tests.events import Events
from tests.log.loggers import Unknown
from tests.models import quiet_trainer
from tests.training import explanation_warnings

ONE = {"IG": METHODS["IG"]}
NOISE = torch.tensor([[0.3, -0.3, 0.3], [0.2, 0.2, -0.2], [0.1, 0.3, 0.2], [-0.3, 0.1, 0.1]])


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: what pictures show is tested with them, and matplotlib takes its time."""
    for name in ("explanation_picture", "film_picture"):
        monkeypatch.setattr(images, name, lambda *_: np.full((4, 4, 3), 255, dtype=np.uint8))


def reporter(*, methods: Any = ONE, on_error: OnError = "raise", alarm: Alarm | None = None) -> Reporter:
    guard = Guard("Monitor", on_error)
    return Reporter(
        "m",
        methods=methods,
        measures=("cosine", "relative_l1"),
        guard=guard,
        schedule=MonitorSchedule("m", schedule=Schedule(), budget=Budget(), guard=guard),
        comparisons=Comparisons(references=[], guard=guard),
        alarm=alarm,
        detail=Detail("full"),
    )


def report(found: Reporter, trainer: Any, said: Explanation, history: History, *, monitored: bool = True) -> None:
    found.report(trainer, said, probe=small_probe(), history=history, monitored=monitored)


def test_everything_of_an_explanation_goes_out_at_its_step(tmp_path: Path) -> None:
    logger, history, found = TensorBoardLogger(tmp_path), History(caveat="It restarts."), reporter()
    trainer = quiet_trainer(logger=logger)
    for step, values in ((0, VALUES), (10, VALUES + NOISE)):
        report(found, trainer, explanation(step, IG=attribution(values)), history)
    logger.experiment.flush()
    events = Events(logger.log_dir)
    distance = 1 - torch.cosine_similarity(VALUES + NOISE, VALUES)
    assert events.curve("explain/m/drift/previous") == {10: pytest.approx(float(distance.mean()), abs=1e-6)}
    assert list(events.curve("explain/m/total_attribution")) == [0, 10] == events.steps("explain/m/heatmaps")
    assert "to previous (error)" in events.text("explain/m/summary")
    header = events.blob("explain/m/tab")
    assert (header["step"], header["count"], header["caveat"]) == (10, 2, "It restarts.")
    assert header["methods"][0]["name"] == "IG: IntegratedGradients (baseline: zeros)"
    assert [entry["step"] for entry in found.records] == [0, 10]
    assert found.records[1]["drift"]["previous"]["cosine"] == pytest.approx(distance.tolist(), abs=1e-5)
    assert found.records[1]["scalars"]["explain/m/drift/dog"] == pytest.approx(float(distance[2:].mean()), abs=1e-6)
    assert found.records[1]["caveat"] == "It restarts." and "alert" not in found.records[1]
    assert trainer.callback_metrics["explain/m/drift/previous"] == pytest.approx(float(distance.mean()), abs=1e-6)
    assert history.count == 2


def test_explanations_that_nobody_may_monitor_are_logged_all_the_same(tmp_path: Path) -> None:
    logger = Unknown(str(tmp_path))
    trainer = quiet_trainer(logger=logger)
    report(reporter(), trainer, explanation(), History(), monitored=False)
    assert not trainer.callback_metrics and logger.metrics[0][1] == 20
    assert logger.metrics[0][0]["explain/m/total_attribution"] == 4.0
    assert 0 <= logger.metrics[0][0]["explain/m/overhead"] <= 1


def test_every_metric_is_given_with_its_description(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[set[str], set[str]]] = []

    class Journal(reporting.Journal):
        def scalars(self, values: Any, *, descriptions: Any = None) -> None:
            given.append((set(values), {key for key, words in descriptions.items() if words}))
            super().scalars(values, descriptions=descriptions)

    monkeypatch.setattr(reporting, "Journal", Journal)
    found, trainer, history = reporter(), quiet_trainer(), History()
    for _ in range(2):
        report(found, trainer, explanation(), history)
    assert all(logged == described for logged, described in given)
    assert "explain/m/drift/previous" in given[1][1]


@pytest.mark.parametrize("broken", ["record", "summary", "log_attribution_tab", "metrics"])
def test_what_fails_takes_nothing_else_along(broken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no room")

    logger, found, history = TensorBoardLogger(tmp_path), reporter(on_error="warn"), History()
    trainer = quiet_trainer(logger=logger)
    report(found, trainer, explanation(0), history)
    monkeypatch.setattr(reporting, broken, fail)
    with explanation_warnings() as told:
        report(found, trainer, explanation(1, IG=attribution(VALUES + NOISE)), history)
    assert len(told) == 1 and "no room" in told[0]
    logger.experiment.flush()
    events = Events(logger.log_dir)
    n_heatmaps = {"record": 1, "summary": 1}.get(broken, 2)  # the drawing comes after these two
    assert len(events.steps("explain/m/heatmaps")) == n_heatmaps
    assert list(events.curve("explain/m/total_attribution")) == [0] + [1] * (broken != "metrics")
    assert history.count == 2
    film = history.memories["IG: IntegratedGradients (baseline: zeros)"].films[0]
    assert [step for step, _ in film.columns] == [0, 1]  # whatever is written


def test_a_first_method_that_failed_is_recorded_with_the_others() -> None:
    found = reporter(methods=METHODS)
    report(found, quiet_trainer(), explanation(IxG=attribution()), History())
    assert found.records[0]["failed"] and list(found.records[0]["methods"]) == ["IxG"]
    assert found.records[0]["scalars"]["explain/m/IxG/total_attribution"] == 4.0


def test_an_alert_is_a_figure_a_text_and_a_part_of_the_record(tmp_path: Path) -> None:
    told: list[Any] = []
    guard = Guard("Monitor", "raise")
    alarm = Alarm(DriftAlert(on_alert=told.append), name="m", guard=guard)
    logger, found, history = TensorBoardLogger(tmp_path), reporter(alarm=alarm), History()
    trainer = quiet_trainer(logger=logger)
    with explanation_warnings() as warned:
        for step in range(8):
            values = -VALUES if step == 7 else VALUES + 0.02 * (step % 2) * NOISE
            report(found, trainer, explanation(step, IG=attribution(values)), history)
    assert len(warned) == 1 and "unusual attributions at step 7" in warned[0]
    logger.experiment.flush()
    events = Events(logger.log_dir)
    curve = events.curve("explain/m/alert")
    assert [step for step, value in curve.items() if value == 1] == [7] and len(curve) == 8
    assert "**Alert**" in events.text("explain/m/alerts")
    assert found.records[6]["alert"] is None and found.records[7]["alert"]["measure"] == "cosine"
    assert len(told) == 1


def test_the_whole_filmstrip_is_drawn_at_the_end(tmp_path: Path) -> None:
    logger, found, history = TensorBoardLogger(tmp_path), reporter(), History()
    trainer = quiet_trainer(logger=logger)
    for step in range(5):
        report(found, trainer, explanation(step), history)
    found.finish(trainer, probe=small_probe(), history=history, step=9)
    logger.experiment.flush()
    assert Events(logger.log_dir).steps("explain/m/filmstrip") == [0, 1, 2, 3, 9]
