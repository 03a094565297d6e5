"""Reading event files, whatever else is in them."""

from pathlib import Path
from typing import Any

import pytest

from lightning_explain.report.command import run
from tests.report.reports import assert_loads_nothing, reported, texts
from tests.tensorboard_explain import logs


def test_events_that_are_not_ours_or_broken_cost_only_themselves(tmp_path: Path) -> None:
    logs.malformed_run(tmp_path / "malformed")
    logs.other_data(tmp_path / "other")
    (file,) = (tmp_path / "malformed").glob("events*")
    with file.open("ab") as torn:
        torn.write(b"\x10\x00\x00\x00\x00\x00\x00\x00torn")  # as a run that is being written leaves it
    page = reported(tmp_path, tmp_path)
    assert_loads_nothing(page)
    assert "events could not be read" in page.text
    steps = texts(page.all("table", "film")[0].all("thead")[0].all("th"))
    assert steps[2] == "0" and steps[-1] == "12"
    assert texts(page.all("table")[0].all("tbody")[0].all("th")) == ["malformed"]


@pytest.mark.parametrize("content", [b"", b"no event file", b"\x00" * 100])
def test_files_that_only_look_like_event_files(tmp_path: Path, content: bytes, capsys: Any) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    assert run([tmp_path], output=tmp_path / "r.html", version="1") == 1
    assert "there are no explanations" in capsys.readouterr().err
