"""Where pictures, words and records end up, for every kind of logger and tag."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, DATA_CLASS_SCALAR

from lightning_explain.log import Journal
from lightning_explain.log.choice import sink_of
from lightning_explain.log.sinks import FolderSink, Sink, TensorBoardSink
from lightning_explain.render.colour import Picture
from tests.events import Events

PICTURE: Picture = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
HOSTILE = ["../../x", "/", "/etc/x", "..", "", "a/../../../b", "x" * 10_000, "𠀀" * 300, "\0", "~/x", "a\\..\\b"]


class Unknown(Logger):
    """A logger of a kind that this package knows nothing of."""

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__()
        self._save_dir = save_dir
        self.metrics: list[tuple[dict[str, float], int | None]] = []

    @property
    def name(self) -> str:
        return "unknown"

    @property
    def version(self) -> int:
        return 0

    @property
    def save_dir(self) -> str | None:
        return self._save_dir

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("tag", HOSTILE)
def test_no_tag_leads_out_of_the_folder(tag: str, tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "run")
    sink.image(tag, PICTURE, 1)
    sink.text(tag, "words", 1)
    sink.record(tag, {"a": 1}, 1)
    assert len(files(tmp_path / "run")) == 3
    assert len(files(tmp_path)) == 3


def test_a_folder_keeps_each_step(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    for step in (3, 20):
        sink.image("explain/a/heatmaps", PICTURE, step)
        sink.text("explain/a/words", f"Größe {step}", step)
        sink.record("explain/a/record", {"n": step}, step)
    assert files(tmp_path) == [
        "explain/a/heatmaps/step_000000003.png",
        "explain/a/heatmaps/step_000000020.png",
        "explain/a/record.jsonl",
        "explain/a/words/step_000000003.md",
        "explain/a/words/step_000000020.md",
    ]
    image = Image.open(tmp_path / "explain/a/heatmaps/step_000000020.png").convert("RGB")
    assert (np.asarray(image) == PICTURE).all()
    assert (tmp_path / "explain/a/words/step_000000003.md").read_text(encoding="utf-8") == "Größe 3"
    lines = (tmp_path / "explain/a/record.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 3, "n": 3}, {"step": 20, "n": 20}]


def test_drawing_a_step_again_replaces_it(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.image("a", PICTURE, 1)
    sink.image("a", PICTURE[::-1].copy(), 1)
    (path,) = tmp_path.rglob("*.png")
    assert (np.asarray(Image.open(path).convert("RGB")) == PICTURE[::-1]).all()
    assert files(tmp_path) == ["a/step_000000001.png"]


def test_a_name_with_a_dot_keeps_its_ending(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.record("explain/neurons/layer.0", {}, 0)
    sink.record("explain/neurons/layer.1", {}, 0)
    assert files(tmp_path) == ["explain/neurons/layer.0.jsonl", "explain/neurons/layer.1.jsonl"]


def test_what_json_does_not_know_becomes_null(tmp_path: Path) -> None:
    record = {"a": math.nan, "b": [math.inf, 1.5, (-math.inf,)], "c": {2: math.nan, "d": "nan"}, "e": None, "f": True}
    FolderSink(tmp_path).record("r", record, 7)
    line = (tmp_path / "r.jsonl").read_text(encoding="utf-8")
    assert line.endswith("\n") and "NaN" not in line and "Infinity" not in line
    assert json.loads(line) == {
        "step": 7, "a": None, "b": [None, 1.5, [None]], "c": {"2": None, "d": "nan"}, "e": None, "f": True
    }  # fmt: skip


def test_a_line_break_in_a_record_stays_within_its_line(tmp_path: Path) -> None:
    FolderSink(tmp_path).record("r", {"a": "one\ntwo"}, 0)
    assert len((tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_tensorboard_gets_images_texts_and_a_layout_and_keeps_records_beside(tmp_path: Path) -> None:
    logger = TensorBoardLogger(str(tmp_path), name="n", version="v")
    sink = sink_of(logger)
    assert isinstance(sink, TensorBoardSink) and isinstance(sink, Sink)
    sink.image("explain/a/heatmaps", PICTURE, 3)
    sink.text("explain/a/words", "**bold**", 3)
    sink.layout({"drift": ["explain/a/drift/.*"]})
    sink.record("explain/a/record", {"x": math.nan}, 3)
    logger.experiment.flush()
    events = Events(logger.log_dir)
    assert events.images == ["explain/a/heatmaps"]
    assert events.steps("explain/a/heatmaps") == [3]
    assert (events.picture("explain/a/heatmaps") == PICTURE).all()
    assert any("explain/a/words" in tag for tag in events.texts)
    assert "custom_scalars__config__" in events.texts
    record = tmp_path / "n" / "v" / "explain/a/record.jsonl"
    assert json.loads(record.read_text(encoding="utf-8")) == {"step": 3, "x": None}
    logger.finalize("success")


def test_a_csv_logger_keeps_everything_in_its_run_folder(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path), name="n", version="v")
    sink = sink_of(logger)
    assert sink == FolderSink(tmp_path / "n" / "v")
    sink.layout({"a": ["b"]})
    assert files(tmp_path) == []


def test_an_unknown_logger_keeps_things_in_its_folder_if_it_has_one(tmp_path: Path) -> None:
    assert sink_of(Unknown(str(tmp_path))) == FolderSink(tmp_path)
    assert sink_of(Unknown(None)) is None
    assert sink_of(DummyLogger()) is None


def test_every_logger_gets_its_own_sink_in_order(tmp_path: Path) -> None:
    loggers = [CSVLogger(str(tmp_path)), DummyLogger(), Unknown(str(tmp_path)), TensorBoardLogger(str(tmp_path))]
    kinds = [type(sink) for sink in Journal(FakeTrainer(loggers), 0)._sinks]
    assert kinds == [FolderSink, FolderSink, TensorBoardSink]
    loggers[-1].finalize("success")


class FakeTrainer:
    """What a journal asks of a Trainer."""

    def __init__(self, loggers: list[Any], *, is_global_zero: bool = True) -> None:
        self.loggers, self.is_global_zero = loggers, is_global_zero


def test_a_journal_writes_figures_to_every_logger_without_the_undefined(tmp_path: Path) -> None:
    loggers = [Unknown(None), Unknown(str(tmp_path))]
    journal = Journal(FakeTrainer(loggers), 5)
    journal.scalars({"a": 1.0, "b": math.nan})
    assert all(logger.metrics == [({"a": 1.0}, 5)] for logger in loggers)
    assert journal.shows_pictures
    journal.image("i", PICTURE)
    journal.text("t", "words")
    journal.record("r", {"a": 1})
    journal.layout({})
    assert files(tmp_path) == ["i/step_000000005.png", "r.jsonl", "t/step_000000005.md"]


def test_other_processes_are_silent(tmp_path: Path) -> None:
    logger = Unknown(str(tmp_path))
    journal = Journal(FakeTrainer([logger], is_global_zero=False), 5)
    journal.scalars({"a": 1.0})
    journal.image("i", PICTURE)
    journal.record("r", {"a": 1})
    assert not journal.shows_pictures and logger.metrics == [] and files(tmp_path) == []


def test_without_loggers_no_picture_is_worth_drawing() -> None:
    assert not Journal(FakeTrainer([]), 0).shows_pictures
    assert not Journal(FakeTrainer([Unknown(None)]), 0).shows_pictures


def test_tensorboard_shows_what_a_figure_and_a_picture_mean(tmp_path: Path) -> None:
    logger = TensorBoardLogger(str(tmp_path), name="n", version="v", prefix="p")
    other = Unknown(None)
    for step, descriptions in ((3, {"a": "what **a** means", "b": "undefined as yet"}), (5, {"b": "b's words"})):
        journal = Journal(FakeTrainer([logger, other]), step)
        values = {"a": 1.5 * step, "b": math.nan if step == 3 else 7.0, "c": 2.0}
        journal.scalars(values, descriptions=descriptions)
        journal.image("i", PICTURE, description="what it shows")
    logger.finalize("success")
    events = Events(logger.log_dir)
    assert events.curve("p-a") == {3: 4.5, 5: 7.5}
    assert events.curve("p-b") == {5: 7.0} and events.curve("p-c") == {3: 2.0, 5: 2.0}
    metadata = events._events.summary_metadata
    assert metadata["p-a"].summary_description == "what **a** means"
    assert metadata["p-a"].plugin_data.plugin_name == "scalars"
    assert metadata["p-b"].summary_description == "b's words"
    assert metadata["i"].summary_description == "what it shows"
    assert metadata["i"].plugin_data.plugin_name == "images"
    # without it TensorBoard's fast data server drops the description
    assert metadata["p-a"].data_class == DATA_CLASS_SCALAR and metadata["i"].data_class == DATA_CLASS_BLOB_SEQUENCE
    assert (events.picture("i") == PICTURE).all()
    assert other.metrics == [({"a": 4.5, "c": 2.0}, 3), ({"a": 7.5, "b": 7.0, "c": 2.0}, 5)]
