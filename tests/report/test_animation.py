"""Heatmaps over time as an animated GIF."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.report.reports import reported
from tests.tensorboard_explain import logs


def test_the_animation_has_a_frame_for_each_explanation(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    reported(tmp_path / "run", tmp_path, gif=tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 2
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(1)
        second = np.asarray(film.convert("RGB")).astype(int)
        assert film.info["duration"] == 2000
    # the left third of the first heatmap is red, then blue: every sign is turned round
    x, y = 6 + 56 + 2 + 5, 30 + 5
    assert first[y, x, 0] > first[y, x, 2] + 80
    assert second[y, x, 2] > second[y, x, 0] + 80


def test_animations_of_several_runs_are_numbered(tmp_path: Path, capsys: Any) -> None:
    for name in ("one", "two"):
        logs.known_run(tmp_path / name)
    reported(tmp_path, tmp_path, gif=tmp_path / "pictures" / "film.gif")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["film-1.gif", "film-2.gif"]
    assert "film-2.gif: two, 2 frames" in capsys.readouterr().out
