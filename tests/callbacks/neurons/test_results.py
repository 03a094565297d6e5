"""A report as rows, as a record, and with what was computed later."""

import json
import math

import pytest
import torch

from lightning_explain.callbacks.neurons import layer_report
from lightning_explain.callbacks.neurons.results import Counted
from lightning_explain.errors import ConfigurationError
from tests.callbacks.neurons.small_reports import RATES, effects, feeding, layer, profile, report
from tests.tensorboard_explain.unit_logs import picture_card


def test_a_row_holds_what_is_known_of_a_class_and_a_neuron() -> None:
    rows = report(layers={"fc": layer(gaps=RATES - 0.5)}).to_rows()
    assert [(row["layer"], row["class"], row["neuron"]) for row in rows] == [
        ("fc", name, neuron) for name in ("cat", "dog") for neuron in range(4)
    ]
    by = {(row["class"], row["neuron"]): row for row in rows}
    row = by["dog", 3]
    assert (row["rate"], row["gap"]) == (pytest.approx(0.9), pytest.approx(0.4))
    assert row["active"] and row["exclusive"] and row["became_active"] == 3
    assert row["selectivity"] == pytest.approx(0.8)  # (0.9 - 0.1) / (0.9 + 0.1)
    assert row["dormancy"] == pytest.approx(0.5 / 0.475)  # its mean by that of the layer
    assert by["cat", 2]["dead"] and by["cat", 2]["died"] == 3 and by["cat", 2]["became_active"] == -1
    assert math.isnan(report().to_rows()[0]["gap"])


def test_classes_that_were_not_seen_have_no_rows_and_no_overlaps() -> None:
    found = report(layers={"fc": layer(profile(n_samples=(0, 10)))})
    assert {row["class"] for row in found.to_rows()} == {"dog"}
    assert found.overlap_rows() == [{"layer": "fc", "class": "dog", "other": "dog", "jaccard": 1.0}]
    jaccards = {(row["class"], row["other"]): row["jaccard"] for row in report().overlap_rows()}
    assert jaccards["cat", "dog"] == jaccards["dog", "cat"] == pytest.approx(1 / 3)  # neuron 0 of 0, 1 and 3


def test_a_record_is_json_and_leaves_out_what_would_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = report(layers={"fc": layer(gaps=RATES - 0.5)}).record()
    fc = entry["layers"]["fc"]
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert (fc["dead"], fc["always_on"], fc["exclusive"], fc["died"]) == ([2], [0], [1, 3], {"2": 3})
    assert fc["classes"]["cat"]["rates"] == [1.0, 0.6, 0.0, 0.1]
    assert fc["classes"]["cat"]["gap"] == pytest.approx((0.5 + 0.1 + 0.5 + 0.4) / 4)
    monkeypatch.setattr(layer_report, "MOST_RATES", 7)
    monkeypatch.setattr(layer_report, "MOST_CLASSES", 1)
    small = report().record()["layers"]["fc"]
    assert small["overlap"] is None and small["selectivity"] is None
    assert small["classes"]["dog"]["rates"] is None and small["classes"]["dog"]["n_active"] == 2


def test_words_of_a_budget_are_those_of_the_reported_stage() -> None:
    assert Counted(8, 1032).words() == "Counted in 8 of 1,032 batches."
    assert Counted(8, 8, 0.01).words() == ""
    halved = Counted(16, 32, 0.0353)
    assert halved.words() == "Counted in 16 of 32 batches, rates within ± 3.5 points (standard error)."
    assert halved.record() == {"n_batches": 16, "of": 32, "rate_error": 0.0353}
    counted = {"train": Counted(1, 9), "val": Counted(2, 5)}
    assert report(counted=counted).counted_words() == "Counted in 2 of 5 batches."
    assert report(counted=counted).record()["counted"] == {
        "train": {"n_batches": 1, "of": 9},
        "val": {"n_batches": 2, "of": 5},
    }
    assert report().counted_words() == "" and "counted" not in report().record()


def test_feeding_features_of_some_layers_leave_those_of_others() -> None:
    first, second = feeding(), feeding(values=torch.ones(2, 2))
    both = report(layers={"a": layer(feeding=first), "b": layer(feeding=first)}).with_feeding({"b": second})
    assert both.layers["a"].feeding is first and both.layers["b"].feeding is second
    rows = [row for row in both.feature_rows() if row["layer"] == "a"]
    assert [(row["class"], row["neuron"], row["rank"], row["value"]) for row in rows[:2]] == [
        ("cat", 1, rows[0]["rank"], -2.0),
        ("cat", 1, rows[0]["rank"] + 1, 0.5),
    ]
    assert report().feature_rows() == []


def test_a_unit_is_shown_as_a_figure_and_unknown_ones_are_refused() -> None:
    made = report(cards={"fc": {3: picture_card(3, 0)}}, layers={"fc": layer(effects=effects())})
    metric = made.show("fc", 3)
    title = metric.get_suptitle()
    assert title.startswith("unit 3 of fc after epoch 3: exclusive to dog") and "InputXGradient" in title
    assert [axes.get_title() for axes in metric.axes[:2]] == ["cat\n3", "dog\n2"]
    assert [label.get_text() for label in metric.axes[-1].get_yticklabels()] == ["dog", "cat"]  # the worst first
    assert "no exemplars" in report().show("fc", 1).get_suptitle()
    with pytest.raises(ConfigurationError, match="counted are fc"):
        made.show("gone", 0)
    with pytest.raises(ConfigurationError, match="units 0 to 3"):
        made.show("fc", 4)
