"""Where pictures, words and records end up, for every tag."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from lightning_explain.log.choice import sink_of
from lightning_explain.log.sinks import FolderSink, Sink, TensorBoardSink
from tests.events import Events
from tests.log.loggers import HOSTILE, PICTURE, files


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
