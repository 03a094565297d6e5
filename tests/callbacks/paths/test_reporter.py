"""Reports of paths: what goes where, how often pictures are drawn, and what is warned of."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain.budget import Budget
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.callbacks.paths import reporter as reporter_module
from lightning_explain.callbacks.paths.explanation import MOST_CLASSES, PathExplanation
from lightning_explain.callbacks.paths.path_history import PathHistory
from lightning_explain.callbacks.paths.reporter import PathReporter
from lightning_explain.log import Detail
from lightning_explain.schedule import Schedule
from tests.callbacks.paths.small_explanations import explained, net, options, small_probe
from tests.events import Events, tab_headers
from tests.log.loggers import Unknown
from tests.training import explanation_warnings


def reporter() -> PathReporter:
    guard = Guard("Monitor", "raise")
    schedule = MonitorSchedule("path", schedule=Schedule(), budget=Budget(), guard=guard)
    return PathReporter("path", options=options(), guard=guard, schedule=schedule, detail=Detail("full"))


def fake_trainer(*loggers: Any) -> Any:
    return SimpleNamespace(loggers=list(loggers), is_global_zero=True)


def report(found: PathReporter, trainer: Any, explanation: PathExplanation, history: PathHistory) -> None:
    found.report(trainer, explanation, probe=small_probe(), history=history, monitored=False)


def test_everything_of_an_explanation_goes_out_at_its_step(tmp_path: Path) -> None:
    logger, history, found = TensorBoardLogger(tmp_path), PathHistory(caveat="It restarts."), reporter()
    trainer = fake_trainer(logger)
    for step in range(5):
        report(found, trainer, explained(net(step), history=history, step=10 * step, epoch=step), history)
    logger.experiment.flush()
    events = Events(logger.log_dir)
    assert history.count == 5 and [entry["step"] for entry in found.records] == [0, 10, 20, 30, 40]
    assert events.steps("explain/path/cat") == [0, 10, 20, 30]  # the fifth is not worth a picture
    curve = events.curve("explain/path/turnover")
    assert list(curve) == [10, 20, 30, 40]
    for entry in found.records[1:]:
        assert curve[entry["step"]] == pytest.approx(entry["scalars"]["explain/path/turnover"])
    assert events.text("explain/path/ranking").startswith("It restarts.\n\n| rank | cat | dog |")
    header = events.blob("explain/path/tab")
    assert (header["step"], header["epoch"], header["count"], len(header["graphs"])) == (40, 4, 5, 2)
    (path,) = tmp_path.rglob("record.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 5 and header["v"] == 2
    for row, graph in zip(lines[-1]["graphs"], header["graphs"], strict=True):
        assert len(row["nodes"]) == len(graph["nodes"]) and row["title"] == graph["title"]
    assert "graphs" not in found.records[-1]


def test_the_last_explanation_is_drawn_once(tmp_path: Path) -> None:
    for count, n_drawn in ((4, 0), (5, 1)):
        logger = TensorBoardLogger(tmp_path, version=count)
        reporter().finish(fake_trainer(logger), explained(step=7), probe=small_probe(), history=history_of(count))
        logger.experiment.flush()
        events = Events(logger.log_dir)
        assert len(events.images) == 2 * n_drawn


def history_of(count: int) -> PathHistory:
    history = PathHistory()
    history.add(explained(), show="class")
    history.count = count
    return history


def test_classes_without_a_decision_and_too_many_of_them_are_told() -> None:
    found = explained()
    cat = found.classes[0]
    silent = dataclasses.replace(cat, effective=dict.fromkeys(cat.effective, math.nan))
    with explanation_warnings() as told:
        report(
            reporter(), fake_trainer(), dataclasses.replace(found, classes=(silent, found.classes[1])), PathHistory()
        )
    (message,) = told
    assert "the score of cat is 0" in message and "forward_fn=" in message
    n = MOST_CLASSES + 1
    probe = small_probe(inputs=torch.rand(n, 3), targets=torch.arange(n), class_names=())
    many, history = explained(net(n_outputs=n), probe), PathHistory()
    with explanation_warnings() as told:
        reporter().report(fake_trainer(), many, probe=probe, history=history, monitored=False)
    assert len(told) == 1 and f"{n} classes; the paths of the first {MOST_CLASSES} are drawn" in told[0]


def pictured(folder: Path) -> list[dict[str, int | None]]:
    (path,) = folder.rglob("record.jsonl")
    return [json.loads(line)["pictures"] for line in path.read_text().splitlines()]


def test_a_class_is_drawn_again_where_its_picture_would_show_something_else(tmp_path: Path) -> None:
    logger, history, found = TensorBoardLogger(tmp_path), PathHistory(), reporter()
    for step, seed in ((0, 1), (10, 1), (20, 2), (30, 2), (40, 2), (50, 3), (60, 2)):
        report(found, fake_trainer(logger), explained(net(seed), history=history, step=step, epoch=step), history)
    found.finish(fake_trainer(logger), explained(net(2), step=60, epoch=60), probe=small_probe(), history=history)
    logger.experiment.flush()
    events = Events(logger.log_dir)
    # reports 5 and 7 are none that pictures are due at; what was shown at step 20 was shown no more at step 60
    assert events.steps("explain/path/cat") == events.steps("explain/path/dog") == [0, 20, 50, 60]
    expected = [0, 0, 20, 20, 20, 50, None]
    assert pictured(tmp_path) == [{"cat": step, "dog": step} for step in expected]
    assert [entry["pictures"] for entry in found.records] == pictured(tmp_path)
    headers = {header["step"]: header for header in tab_headers(logger.log_dir, "explain/path/tab")}
    assert [graph.get("picture") for graph in headers[30]["graphs"]] == [20, 20]
    assert all("picture" not in graph for step in (0, 20, 50) for graph in headers[step]["graphs"])


def test_another_logger_gets_a_picture_of_its_own(tmp_path: Path) -> None:
    history, found, same = PathHistory(), reporter(), explained(net(1))
    for version in (0, 1):  # as a run that is resumed has it
        logger = TensorBoardLogger(tmp_path, version=version)
        report(found, fake_trainer(logger), dataclasses.replace(same, step=10 * version), history)
        logger.experiment.flush()
        assert Events(logger.log_dir).steps("explain/path/cat") == [10 * version]


def test_where_no_logger_shows_anything_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError

    for name in ("path_pictures", "path_contents", "tab_event"):
        monkeypatch.setattr(reporter_module, name, refuse)
    found = reporter()
    report(found, fake_trainer(), explained(), PathHistory())
    report(found, fake_trainer(Unknown(None)), explained(step=1), PathHistory())
    assert [entry["pictures"] for entry in found.records] == [{}, {}]
