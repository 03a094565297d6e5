"""One layer's report as rows and plain lists, worked out by hand."""

import json
import math

import pytest
import torch

from lightning_explain.callbacks.neurons import layer_report
from tests.callbacks.neurons.small_reports import RATES, effects, layer, profile

NAMES = ["cat", "dog"]


def test_a_row_for_each_class_that_was_seen_and_each_neuron() -> None:
    found = layer(profile(n_samples=(10, 0)), gaps=torch.full((2, 4), 0.5))
    rows = found.rows(NAMES)
    assert [(row["class"], row["neuron"]) for row in rows] == [("cat", j) for j in range(4)]
    assert [row["rate"] for row in rows] == pytest.approx(RATES[0].tolist())
    assert [row["dead"] for row in rows] == [False, False, True, False]
    assert all(row["gap"] == 0.5 and math.isnan(row["accuracy_change"]) for row in rows)


def test_effects_stand_in_the_rows_of_their_neurons() -> None:
    found = layer(effects=effects())
    changes = {(row["class"], row["neuron"]): row["accuracy_change"] for row in found.rows(NAMES)}
    assert changes["dog", 3] == -0.5 and changes["cat", 3] == 0 and changes["dog", 1] == 0
    assert math.isnan(changes["dog", 0]) and math.isnan(changes["cat", 2])
    assert [(c, change) for c, change, _ in found.class_changes(3)] == [(1, -0.5), (0, 0.0)]
    assert found.class_changes(0) == [] and layer().class_changes(3) == []


def test_rates_of_a_neuron_the_largest_first() -> None:
    assert layer().class_rates(3) == [(1, pytest.approx(0.9)), (0, pytest.approx(0.1))]
    assert layer(profile(n_samples=(0, 10))).class_rates(1) == [(1, pytest.approx(0.2))]


def test_a_record_is_plain_and_leaves_rates_of_large_layers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = layer().record(NAMES)
    assert json.loads(json.dumps(found)) == found
    assert found["n_neurons"] == 4 and found["dead"] == [2] and found["always_on"] == [0]
    assert found["classes"]["dog"]["active"] == [0, 3] and found["classes"]["cat"]["rates"] == [1, 0.6, 0, 0.1]
    monkeypatch.setattr(layer_report, "MOST_RATES", 7)
    monkeypatch.setattr(layer_report, "MOST_CLASSES", 1)
    large = layer().record(NAMES)
    assert large["overlap"] is None and large["selectivity"] is None
    assert large["classes"]["dog"]["rates"] is None and large["classes"]["dog"]["n_active"] == 2
