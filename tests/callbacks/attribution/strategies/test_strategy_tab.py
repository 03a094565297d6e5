"""Events of strategies for the Explain tab."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_explain import Display, Saliency
from lightning_explain.attribution import AtEmbedding
from lightning_explain.callbacks.attribution.strategies.strategy_report import StrategyReport
from lightning_explain.callbacks.attribution.strategies.strategy_tab import (
    MOST_MAPS,
    MOST_PLACES,
    listed_classes,
    mapped_rows,
    packed_points,
    plane_words,
    sample_tab,
    strategy_tab,
)
from lightning_explain.strategies import unit_rows
from lightning_explain.strategies.scatter import plane
from tests.callbacks.attribution.strategies.marked_digits import loaders, reported, two_ways
from tests.modalities import Learner
from tests.tensorboard_explain.strategy_logs import Words, marked_words


@pytest.fixture(scope="module")
def report() -> StrategyReport:
    """Class 1 is decided in two ways, class 0 in one."""
    return two_ways()


@pytest.fixture(scope="module")
def of_words() -> StrategyReport:
    """Texts; a fifth of class 1 has a marker word."""
    torch.manual_seed(0)
    ids, labels, names = marked_words()
    display = Display(tokens=names, padding=0)
    method = AtEmbedding(Saliency())
    return reported(method, lambda: Learner(Words(), lr=3e-2), loaders(ids, labels), display=display)


def test_classes_of_several_strategies_come_first(report: StrategyReport) -> None:
    header, _ = strategy_tab(report)
    assert [entry["class"] for entry in header["classes"]] == [1, 0]
    many = {c: replace(report.classes[0], index=c) for c in range(60)}
    header, _ = strategy_tab(replace(report, classes=many | {60: replace(report.classes[1], index=60)}))
    assert [entry["class"] for entry in header["classes"]] == [60, *range(39)]
    assert header["n_classes"] == 61


def test_a_class_has_its_samples_where_they_lie_and_its_strategies(report: StrategyReport) -> None:
    header = json.loads(json.dumps(strategy_tab(report)[0]))
    entry, one = header["classes"][0], report.classes[1]
    assert entry["rows"] == one.rows
    assert entry["assignment"] == one.strategies.assignment.tolist()
    bytes_ = np.frombuffer(base64.b64decode(entry["points"]), dtype=np.int8).reshape(-1, 2)
    maps = torch.cat([each.values.flatten(1)[one.rows].double() for each in report.profile], 1)
    expected = plane(unit_rows(maps), one.strategies.assignment)
    assert np.allclose(bytes_ / 127, expected.numpy(), atol=0.5 / 127 + 1e-9)
    assert entry["axes"] == ["towards strategy 2, on a line drawn without the sample", "largest variance besides"]
    assert plane_words(report.classes[0]) == ["largest variance", "second largest variance"]
    first, second = entry["strategies"]
    assert first["members"] == one.members(0)
    assert second["since_epoch"] == one.followed[1].epoch
    assert second["inside"] == pytest.approx(one.inside[1], abs=1e-3)
    assert "corner" in second["where"]
    assert header["curve"]["strategies"]["1"] == [2, pytest.approx(second["share"], abs=1e-3)]
    assert header["labels"] == report.sample.labels.tolist()
    assert header["predicted"] == report.predicted.tolist()


def test_the_tiles_are_the_maps_of_samples_and_then_the_mean_of_each_strategy(report: StrategyReport) -> None:
    header, sprite = strategy_tab(report)
    method, (height, width) = header["methods"][0], header["tile"]

    def tile(index: int) -> torch.Tensor:
        top, left = index // 8 * height, index % 8 * width
        levels = sprite.picture[top : top + height, left : left + width, 0]
        return torch.from_numpy((levels.astype(np.float32) - 128) / 32 * method["scales"][index])

    shown = [row for row, place in enumerate(method["rows"]) if place >= 0]
    assert set(report.classes[1].rows) <= set(shown)
    for row in shown[:5] + shown[-5:]:
        place = method["rows"][row]
        assert torch.allclose(tile(place), report.heat[row], atol=method["scales"][place] / 50)
    for entry, one in zip(header["classes"], listed_classes(report), strict=True):
        for number, strategy in enumerate(entry["strategies"]):
            maps = report.heat[one.members(number)]
            lengths = maps.flatten(1).norm(dim=1)
            mean = torch.stack([m * lengths.mean() / n for m, n in zip(maps, lengths, strict=True)]).mean(0)
            assert torch.allclose(tile(strategy["mean"]), mean, atol=method["scales"][strategy["mean"]] / 50)


def test_words_are_numbers_and_each_strategy_names_what_it_differs_by(of_words: StrategyReport) -> None:
    header, sprite = strategy_tab(of_words)
    assert sprite is None
    method = header["methods"][0]
    values = np.frombuffer(base64.b64decode(method["values"]), dtype="<f4").reshape(len(method["scales"]), -1)
    for row, place in enumerate(method["rows"]):
        assert place >= 0
        assert np.allclose(values[place], of_words.heat[row].numpy())
    strategies = header["classes"][0]["strategies"]
    firsts = {strategy["named"][0][0]: strategy["where"] for strategy in strategies if strategy["named"]}
    # each is named by what its words in the alert begin with
    assert len(strategies) > 1
    assert all(where.startswith(f"“{first}”") for first, where in firsts.items())
    names = list(of_words.profile[0].names)
    mean = of_words.classes[1].strategies.strategies[1].mean
    assert dict(strategies[1]["named"]) == pytest.approx(
        {name: float(mean[names.index(name)]) for name, _ in strategies[1]["named"]}, abs=1e-3
    )
    assert "mean" not in strategies[1]
    described, pictures = sample_tab(of_words)
    assert pictures is None
    assert described["tokens"][0] == [f"w{i}" if i > 1 else "marker" for i in of_words.sample.inputs[0].tolist()]


def test_what_has_no_picture_has_points_only(report: StrategyReport) -> None:
    header, sprite = strategy_tab(replace(report, shown=[replace(report.shown[0], form=None)]))
    assert sprite is None
    assert header["form"] is None
    assert header["methods"][0]["rows"] == [-1] * len(report.sample)
    assert len(header["classes"][0]["points"]) > 0
    assert "mean" not in header["classes"][0]["strategies"][0]


def test_the_sample_is_written_whole_with_its_places_in_the_data(report: StrategyReport) -> None:
    header, sprite = sample_tab(report)
    assert header["kind"] == "probe"
    assert header["probe"] == report.sample.fingerprint == strategy_tab(report)[0]["probe"]
    assert header["samples"] == list(range(len(report.sample)))
    assert header["indices"] == list(report.sample.indices)
    assert sprite.tile == (12, 12)


def test_bytes_are_bounded(report: StrategyReport, of_words: StrategyReport) -> None:
    classes = listed_classes(report)
    small = mapped_rows(classes, 144, is_picture=True)
    assert sorted(small) == list(range(len(report.sample)))  # all, where that costs no pixels
    large = mapped_rows(classes, 1 << 16, is_picture=True)
    assert set(large) >= set(classes[0].rows)
    assert len(large) <= MOST_MAPS
    assert len(mapped_rows(classes, 1 << 14, is_picture=False)) == 4
    assert len(mapped_rows(classes, 1 << 20, is_picture=False)) == 1
    long = of_words.shown[0].inputs.repeat(1, 1 << 10)
    shown = [replace(of_words.shown[0], inputs=long)]
    rows = sample_tab(replace(of_words, shown=shown))[0]["samples"]
    assert len(rows) == MOST_PLACES // long.shape[1]
    assert set(of_words.sample.labels[rows].tolist()) == {0, 1}


def test_points_are_bytes() -> None:
    points = torch.tensor([[1.0, -1.0], [torch.nan, 0.0], [0.5, 0.0]])
    assert list(np.frombuffer(base64.b64decode(packed_points(points)), np.int8)) == [127, -127, -128, 0, 64, 0]
