"""The report command: what it refuses, and what it does not import."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_explain.cli import main
from tests.report.reports import assert_loads_nothing, parsed
from tests.tensorboard_explain import logs


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["report", "nowhere"], "nowhere: no such folder"),
        (["report", "empty"], "trainer = Trainer(callbacks=[AttributionMonitor()"),
        (["report", "table", "--gif", "film.gif"], "--gif needs heatmaps"),
        (["report", "table", "-o", "empty"], "empty"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], words: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    logs.table_run(Path("table"))
    assert main(argv) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("lightning-explain report: ")
    assert "Traceback" not in said


def test_it_loads_neither_torch_nor_lightning(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    argv = ["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html"), "--gif", str(tmp_path / "r.gif")]
    script = f"""
import sys
from lightning_explain.cli import main
assert main({argv!r}) == 0
heavy = {{"torch", "lightning", "pytorch_lightning", "torchmetrics", "matplotlib", "tensorflow", "pandas"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stderr
    assert "1 run, " in done.stdout and "MB" in done.stdout
    assert_loads_nothing(parsed(tmp_path / "r.html"))
