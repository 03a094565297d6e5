"""Heatmaps over time: which samples and steps are shown, and how each cell is marked."""

from pathlib import Path

import torch

from lightning_explain import Probe
from tests.report.reports import reported, texts
from tests.tensorboard_explain import logs


def test_every_sample_gets_its_own_heatmap_in_colours_that_compare_over_time(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), logs.image_probe(12, 2)
    signs = torch.tensor([1.0, -1.0]).repeat(6).reshape(12, 1, 1, 1).expand(12, 1, 2, 2)
    for step in (0, 1):
        log.explanation(probe, signs * (step + 1), step=step, count=step + 1)
    film = reported(tmp_path / "run", tmp_path).all("table", "film")[0]
    rows = film.all("tr")[1:]
    # by class, so that the samples 10 and 11 follow the samples 0 and 1
    order = [0, 10, 1, 11, *range(2, 10)]
    for sample, row in zip(order, rows, strict=True):
        before, after = (img.pixels()[0, 0] for img in row.all("img")[1:])
        assert (before[0] > before[2]) == (after[0] > after[2]) == (sample % 2 == 0)
        assert before[3] < after[3]


def test_a_wrong_prediction_is_marked(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), logs.image_probe(6, 4)
    log.explanation(probe, torch.randn(6, 1, 4, 4), step=0, predicted=[0, 9, 2, 9, 4, 5])
    film = reported(tmp_path / "run", tmp_path).all("table", "film")[0]
    marks = ["wrong" in row.all("img")[1].attributes.get("class", "") for row in film.all("tr")[1:]]
    assert marks == [False, True, False, True, False, False]
    assert "taken for 9" in film.all("tr")[2].all("img")[1].attributes["alt"]


def test_long_runs_are_thinned_out_evenly_and_said(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), Probe(inputs=torch.rand(40, 1, 4, 4), targets=torch.arange(40) // 4)
    for k in range(30):
        log.explanation(probe, torch.randn(40, 1, 4, 4), step=k, count=k + 1)
    page = reported(tmp_path / "run", tmp_path, most_steps=4, most_samples=15)
    film = page.all("table", "film")[0]
    assert texts(film.all("thead")[0].all("th"))[2:] == ["0", "10", "19", "29"]
    labels = texts([row.all("th")[0] for row in film.all("tr")[1:]])
    # of each class in turn: two of the first five, one of the others
    assert labels == [*"00112233445", *"6789"][:15]
    assert "15 of 40 samples, 4 of 30 explanations" in page.text


def test_the_probe_may_be_missing(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), Probe(inputs=torch.rand(2, 1, 4, 4), targets=torch.tensor([0, 1]))
    log.explanation(probe, torch.randn(2, 1, 4, 4), step=3)
    film = reported(tmp_path / "run", tmp_path).all("table", "film")[0]
    assert [len(row.all("img")) for row in film.all("tr")[1:]] == [1, 1]
