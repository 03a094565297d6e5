"""Metrics, record, words and picture of strategies."""

import json
import re
from dataclasses import replace

import pytest
import torch

from lightning_explain.callbacks.attribution.strategies.strategy_log import (
    exemplar_card,
    shown_classes,
    strategies_picture,
    strategy_metrics,
    strategy_record,
    strategy_words,
)
from lightning_explain.callbacks.attribution.strategies.strategy_report import StrategyReport
from lightning_explain.strategies.division import LEAST_EFFECT
from tests.callbacks.attribution.strategies.marked_digits import two_ways


@pytest.fixture(scope="module")
def report() -> StrategyReport:
    """Class 1 is decided in two ways, class 0 in one."""
    return two_ways()


def test_metrics_are_number_and_share_of_each_class(report: StrategyReport) -> None:
    found = {tag: metric.value for tag, metric in strategy_metrics("a", report).items()}
    second = report.classes[1].strategies.strategies[1].share
    assert found == pytest.approx(
        {
            "explain/a/strategies/0": 1,
            "explain/a/strategies/0/share": 0,
            "explain/a/strategies/1": 2,
            "explain/a/strategies/1/share": second,
        }
    )


def test_the_record_is_plain_and_lists_members_by_their_place_in_the_data(report: StrategyReport) -> None:
    record = json.loads(json.dumps(strategy_record(report)))
    first, second = record["classes"]["1"]["strategies"]
    assert first["members"] is None
    assert second["effect"] == pytest.approx(report.classes[1].strategies.strategies[1].effect, rel=1e-3)
    assert second["effect"] >= LEAST_EFFECT
    assert second["members"] == [report.sample.indices[row] for row in report.classes[1].members(1)]
    assert second["share"] == pytest.approx(len(second["members"]) / record["classes"]["1"]["n_samples"], abs=1e-3)


def test_words_say_share_place_and_accuracy(report: StrategyReport) -> None:
    words = strategy_words(report.classes[1], 1)
    assert words.startswith("1, strategy 2: ")
    assert re.search(r"by the upper left corner \(\d\d% of their relevance\), separation", words)
    assert "recognised" in words
    assert "separation" not in strategy_words(report.classes[1], 0)


def test_only_classes_of_several_strategies_are_drawn_with_their_typical_samples(report: StrategyReport) -> None:
    assert [one.index for one in shown_classes(report)] == [1]
    picture = strategies_picture(report)
    assert picture is not None
    assert picture.ndim == 3
    assert strategies_picture(replace(report, classes={0: report.classes[0]})) is None
    card = exemplar_card(report.classes[1], 1, report)
    assert [exemplar.sample for exemplar in card.exemplars] == report.classes[1].members(1)[:6]
    for exemplar in card.exemplars:
        assert torch.equal(exemplar.crop, report.shown[0].inputs[exemplar.sample])
        assert torch.equal(exemplar.heatmap, report.heat[exemplar.sample])
