"""Drift between two runs on the report's page, against distances that are computed here, and their scales."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_explain import IntegratedGradients
from lightning_explain.report.distance import between, distance_of, unlike
from lightning_explain.report.filmstrip import Frame, films
from lightning_explain.report.reading import read_runs
from tests.report.reports import reported, texts
from tests.tensorboard_explain import logs
from tests.tensorboard_explain.pair_logs import VALUES, pair_runs


def cosine_distance(one: list[float], other: list[float]) -> float:
    a, b = np.array(one), np.array(other)
    return 1 - float(a @ b) / float(np.sqrt(a @ a) * np.sqrt(b @ b))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    pair_runs(folder)
    return folder


def test_the_drift_between_runs_is_that_of_their_maps_at_common_steps(pair: Path) -> None:
    one, other = (read_runs([pair / name])[0].of("attribution")[0] for name in "ab")
    assert unlike(one, other) == ""
    method = films(one, 9)[0].method
    (point,) = between(one, other, method, 9)
    expected = cosine_distance(VALUES["a", 0], VALUES["b", 0])
    assert point[0] == 0 and abs(point[1] - expected) <= point[2] < 0.2


def test_runs_of_other_probes_have_none_and_the_page_says_why(pair: Path, tmp_path: Path) -> None:
    page = reported(pair / "a", tmp_path, pair / "c")
    notes = [words for words in texts(page.all("p", "note")) if words.startswith("No drift between a and c")]
    assert len(notes) == 1 and "their probes differ (fingerprints" in notes[0]
    assert not [block for block in page.all("h4") if "Drift between the runs" in block.text]
    same = reported(pair / "a", tmp_path, pair / "b")
    assert [block for block in same.all("h4") if "Drift between the runs, IntegratedGradients" in block.text]


def test_two_runs_share_one_scale_of_colours_and_of_charts(tmp_path: Path) -> None:
    for name, size in (("small", 0.5), ("large", 4.0)):
        log, probe, before = logs.Log(tmp_path / "runs" / name), logs.image_probe(2, 2), None
        for step in (0, 1, 2):
            values = torch.linspace(size / (1 + step), size, 8).reshape(2, 1, 2, 2)
            before = log.explanation(probe, values, step=step, before=before, count=step + 1)
    page = reported(tmp_path / "runs" / "small", tmp_path, tmp_path / "runs" / "large")
    columns = page.all("div", "run")
    assert texts(page.all("h3")) == ["small", "large"]
    small, large = (column.all("p", "scale")[0].text for column in columns[:2])
    assert small.split() == large.split() and "4" in small
    alone = reported(tmp_path / "runs" / "small", tmp_path)
    assert "0.5" in alone.all("p", "scale")[0].text
    marks = [[t.text for t in column.all("svg")[0].all("g", "tick")] for column in columns[:2]]
    assert marks[0] == marks[1]


def test_runs_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for seed in ("seed1", "seed2"):
        logs.known_run(tmp_path / seed / "version_0")
    folders = [tmp_path / seed / "version_0" for seed in ("seed1", "seed2")]
    assert [run.name for run in read_runs(folders)] == ["seed1/version_0", "seed2/version_0"]
    assert [run.name for run in read_runs([tmp_path])] == ["seed1/version_0", "seed2/version_0"]


def test_layers_are_named_as_in_their_tags(pair: Path, tmp_path: Path) -> None:
    names = texts(reported(pair / "a", tmp_path).all("bdi"))
    assert "net.encoder.last.relu-1" in names and not [name for name in names if "#" in name]


def small_net(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    nn = torch.nn
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


def test_at_least_95_of_100_true_errors_lie_below_the_one_that_is_stated() -> None:
    inputs, target = (
        torch.randn(120, 20, generator=torch.Generator().manual_seed(5)),
        torch.zeros(120, dtype=torch.long),
    )
    exact, coarse = [], []
    for seed in (0, 1):
        net = small_net(seed)
        exact.append(IntegratedGradients(n_steps=400)(net, inputs, target).values.numpy())
        coarse.append(IntegratedGradients(tolerance=0.05)(net, inputs, target))
    frames = [
        Frame(0, {}, [row[None] for row in found.values.numpy()], {"values": "", "error": found.error.tolist()})
        for found in coarse
    ]
    below = n = 0
    ratios = []
    for sample in range(120):
        stated = distance_of(frames[0], frames[1], sample)
        assert stated is not None
        true = cosine_distance(exact[0][sample].tolist(), exact[1][sample].tolist())
        below += abs(stated.value - true) <= stated.error
        n += 1
        ratios.append((abs(stated.value - true), stated.error))
    mean_true, mean_stated = np.mean(ratios, axis=0)
    assert below / n >= 0.95 and mean_stated < 12 * mean_true
