"""What a journal writes to which logger."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, DATA_CLASS_SCALAR

from lightning_explain.errors import LoggerError
from lightning_explain.log import Journal, png, sinks
from lightning_explain.log.sinks import FolderSink, TensorBoardSink
from tests.events import Events
from tests.log.loggers import PICTURE, FakeTrainer, Unknown, files


def test_every_logger_gets_its_own_sink_in_order(tmp_path: Path) -> None:
    loggers = [CSVLogger(str(tmp_path)), DummyLogger(), Unknown(str(tmp_path)), TensorBoardLogger(str(tmp_path))]
    kinds = [type(sink) for sink in Journal(FakeTrainer(loggers), 0)._sinks]
    assert kinds == [FolderSink, FolderSink, TensorBoardSink]
    loggers[-1].finalize("success")


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
    folder = tmp_path / "unknown" / "version_0"
    assert files(folder) == ["i/step_000000005.png", "r.jsonl", "t/step_000000005.md"]


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


def test_pictures_and_records_are_encoded_once_for_all_loggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    encode, write = png._encoded, sinks.json_text
    monkeypatch.setattr(png, "_kept", OrderedDict())
    monkeypatch.setattr(png, "_encoded", lambda picture: made.append("picture") or encode(picture))
    monkeypatch.setattr(sinks, "json_text", lambda record: made.append("record") or write(record))
    loggers = [CSVLogger(tmp_path), Unknown(str(tmp_path)), TensorBoardLogger(tmp_path / "board")]
    with Journal(FakeTrainer(loggers), 5) as journal:
        journal.image("i", PICTURE)
        journal.record("r", {"a": math.nan})
    loggers[-1].finalize("success")
    assert made == ["picture", "record"]
    found = [path.read_text() for path in tmp_path.rglob("r.jsonl")]
    assert found == ['{"step": 5, "a": null}\n'] * 3
    assert len({path.read_bytes() for path in tmp_path.rglob("i/*.png")}) == 1


def test_a_logger_has_shown_what_its_last_picture_of_a_tag_showed(tmp_path: Path) -> None:
    first, second = Unknown(str(tmp_path)), Unknown(str(tmp_path))
    metrics_alone = Unknown(None)
    assert Journal(FakeTrainer([first]), 0).shown_since("i", "one") is None
    Journal(FakeTrainer([first]), 3).image("i", PICTURE, content="one")
    assert Journal(FakeTrainer([first, metrics_alone]), 8).shown_since("i", "one") == 3
    assert Journal(FakeTrainer([first]), 8).shown_since("j", "one") is None
    assert Journal(FakeTrainer([first]), 8).shown_since("i", "two") is None
    assert Journal(FakeTrainer([first, second]), 8).shown_since("i", "one") is None  # the second has none
    Journal(FakeTrainer([first, second]), 8).image("i", PICTURE, content="one")
    assert Journal(FakeTrainer([first, second]), 9).shown_since("i", "one") == 8
    Journal(FakeTrainer([first]), 9).image("i", PICTURE)  # another one, of which nothing is known
    assert Journal(FakeTrainer([first]), 9).shown_since("i", "one") is None
    assert Journal(FakeTrainer([]), 9).shown_since("i", "one") is None


def test_a_picture_that_could_not_be_written_was_not_shown(tmp_path: Path) -> None:
    logger = Unknown(str(tmp_path))
    journal = Journal(FakeTrainer([logger]), 3)
    (tmp_path / "unknown" / "version_0" / "i").write_text("in the way")
    with pytest.raises(LoggerError):
        journal.image("i", PICTURE, content="one")
    assert journal.shown_since("i", "one") is None


@dataclass
class Fields(CSVLogger):
    """A logger that cannot be a key: data classes have no hash."""

    folder: str

    def __post_init__(self) -> None:
        super().__init__(self.folder)


def test_a_logger_that_cannot_be_remembered_gets_every_picture(tmp_path: Path) -> None:
    journal = Journal(FakeTrainer([Fields(str(tmp_path))]), 3)
    journal.image("i", PICTURE, content="one")
    assert journal.shown_since("i", "one") is None and len(list(tmp_path.rglob("*.png"))) == 1
