"""The report's page, made of events whose content is known."""

import json
from pathlib import Path

from tests.report.reports import assert_loads_nothing, reported, texts
from tests.tensorboard_explain import logs


def test_names_from_data_are_nothing_but_text(tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=1>" / 'a"b'
    logs.hostile_run(folder)
    log = logs.Log(folder)
    broken = {"v": 1, "kind": "paths", "graphs": [{"title": "\ud800 half\x00", "nodes": [], "edges": []}]}
    log.blobs("explain/other/tab", "paths", json.dumps(broken).encode())
    (tmp_path / "out").mkdir()
    page = reported(tmp_path, tmp_path / "out")
    assert_loads_nothing(page)
    assert "window.top.hacked" in page.text
    assert "<img src=x" in page.text
    raw = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in raw
    assert not [letter for letter in "\u202e\x00\x07\ud800" if letter in raw]
    assert "x" * 200 not in raw


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    for name in ("one", "two"):
        logs.known_run(tmp_path / name)
    page = reported(tmp_path, tmp_path)
    assert texts(page.all("h3")) == ["one", "two"]
    assert len(page.all("table", "film")) == 4
    (together,) = [block for block in page.all("div", "chart") if "Drift of every run to the previous" in block.text]
    assert texts(together.all("li")) == ["one", "two"]
    again = reported(tmp_path / "one", tmp_path, tmp_path / "two")
    assert texts(again.all("h3")) == ["one", "two"]
