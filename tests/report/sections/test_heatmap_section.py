"""Drift, heatmaps, tables and texts of an attribution monitor on the report's page."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.report.reports import assert_loads_nothing, reported, texts
from tests.tensorboard_explain import logs


def test_heatmaps_have_the_colours_of_their_values(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    assert_loads_nothing(page)
    film = page.all("table", "film")[0]
    assert texts(film.all("th")[:4]) == ["label", "input", "0", "5"]
    first, second = film.all("tr")[1:]
    assert [img.attributes["alt"].partition(":")[0] for img in first.all("img")] == ["input", "step 0", "step 5"]
    at_0, at_5 = first.all("img")[1].pixels(), first.all("img")[2].pixels()
    assert at_0.shape == (2, 3, 4)
    red, none, blue, half = at_0[0, 0], at_0[0, 1], at_0[0, 2], at_0[1, 0]
    assert red[0] > 200 and red[2] < 80
    assert blue[2] > 200 and blue[0] < 80
    assert none[3] == 0
    assert 0 < half[3] < red[3]
    # at step 5 every sign is turned round
    assert (at_5[0, 0] == blue).all() and (at_5[0, 2] == red).all()
    # one scale for all: the second sample's 2 is stronger than the first one's 1
    assert second.all("img")[1].pixels()[0, 2, 3] > red[3]


def test_drift_is_drawn_with_its_error_and_tabulated(tmp_path: Path) -> None:
    log, probe, before = logs.Log(tmp_path / "run"), logs.image_probe(), None
    for step in range(0, 50, 10):
        values = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(step))
        before = log.explanation(probe, values, step=step, before=before, count=step)
    log.writer.close()
    page = reported(tmp_path / "run", tmp_path)
    (drift,) = [block for block in page.all("div", "chart") if "Drift to the previous" in block.text]
    curve = drift.all("g", "whole")[0]
    assert curve.all("path", "band")[0].attributes["d"].endswith("Z")
    assert len(curve.all("circle")) == 4
    heights = [float(circle.attributes["cy"]) for circle in curve.all("circle")]
    told = [row.all("td")[-1].text for row in drift.all("tr")[1:]]
    values = [float(words.split(" ± ")[0]) for words in told]
    assert all(0.8 < value < 1.2 for value in values)
    assert all(" ± " in words for words in told)
    # higher drift is drawn higher
    assert np.corrcoef(values, heights)[0, 1] < -0.99
    assert texts(drift.all("li")) == [*map(str, range(10)), "all samples"]


def test_drift_against_what_the_user_named_is_drawn_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        logs.known_run(tmp_path / name)
    page = reported(tmp_path, tmp_path)
    charts = [block for block in page.all("div", "chart") if "Drift to pretrained (cosine distance)" in block.text]
    assert len(charts) == 2
    assert [row.all("td")[-1].text.split(" ")[0] for row in charts[0].all("tr")[1:]] == ["0", "2"]
    assert [block for block in page.all("div", "chart") if "Drift of every run to pretrained" in block.text]
    assert f"Drift to {logs.HTML[:30]}" in page.text
    assert not page.all("script")


def test_tables_show_every_feature_over_time(tmp_path: Path) -> None:
    logs.table_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    tables = page.all("table", "features")
    assert texts([t.all("caption")[0] for t in tables[:3]]) == ["setosa", "versicolor", "virginica"]
    values = np.linspace(-1, 1, 24).reshape(6, 4)
    means = values[:2].mean(0)
    rows = {row.all("th")[0].text: row for row in tables[0].all("tr")[1:]}
    for feature, mean in zip(["sepal length", "sepal width", "petal length", "petal width"], means, strict=True):
        shown = [float(cell.text) for cell in rows[feature].all("td")[1:]]
        # a byte in 32 steps of the largest value
        assert shown == pytest.approx([mean, 4 * mean], abs=0.15)
        assert rows[feature].all("img")[0].pixels().shape == (1, 2, 4)


def test_words_have_the_colours_of_their_attributions(tmp_path: Path) -> None:
    log = logs.Log(tmp_path / "run")
    # one of two inputs of a monitor, as a series of its own
    tag = "explain/attribution/review"
    log.put(f"{tag}/probe", {"v": 1, "kind": "probe", "form": "tokens", "tokens": [["a", "<b>good</b>", None, "bad"]]})
    values = sprite_of(torch.tensor([[0.0, 1.0, 1.0, -0.5]]))
    method = {"name": "IG", "first_tile": 0, "scales": [1.0], "full_colour": 1.0}
    header = {"kind": "attribution", "form": "tokens", "tile": [1, 4], "labels": [1], "class_names": {"1": "liked"}}
    log.put(f"{tag}/tab", {"v": 1, **header, "methods": [method]}, values, step=4)
    page = reported(tmp_path / "run", tmp_path)
    assert_loads_nothing(page)
    words = page.all("table", "texts")[0].all("span")
    assert [(word.text, word.attributes.get("class")) for word in words] == [
        ("a", None), ("<b>good</b>", "for-6"), ("bad", "against-4"),
    ]  # fmt: skip
    assert "What it looks at: attribution/review" in texts(page.all("h2"))


def sprite_of(rows: torch.Tensor) -> Any:
    """One tile with a byte of `128 + 32 * value` each."""
    level = (128 + 32 * rows).round().byte().numpy()
    return np.repeat(level[..., None], 3, axis=2)
