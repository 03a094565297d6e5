"""Metrics over all layers, and the layers that are drawn."""

import math

import pytest
import torch

from lightning_explain.callbacks.neurons.overview import (
    drawn_last,
    first_and_last,
    macro_f1,
    over_layers,
    telling_tags,
)
from tests.callbacks.neurons.small_reports import profile


def of_layers(**sizes):
    return {layer: profile(torch.full((2, n_neurons), 0.5)) for layer, n_neurons in sizes.items()}


def test_a_share_is_that_of_all_neurons_and_the_rest_the_mean_over_layers():
    metrics = {
        "explain/n/a/dead": 0.5,
        "explain/n/b/dead": 0.25,
        "explain/n/a/overlap": 0.2,
        "explain/n/b/overlap": 0.4,
    }
    found = over_layers("n", metrics, of_layers(a=2, b=4))
    assert found == {
        "explain/n/all_layers/dead": pytest.approx((1 + 1) / 6),
        "explain/n/all_layers/overlap": pytest.approx(0.3),
    }


def test_a_layer_without_the_metric_is_left_out():
    metrics = {"explain/n/a/turnover": 0.5, "explain/n/b/turnover": math.nan, "explain/n/b/dead": 1.0}
    found = over_layers("n", metrics, of_layers(a=2, b=4))
    assert found == {"explain/n/all_layers/turnover": 0.5, "explain/n/all_layers/dead": 1.0}
    assert over_layers("n", {"explain/n/f1/a": 1.0}, of_layers(a=2)) == {}


def test_training_has_its_own():
    metrics = {"explain/n/train/a/dead": 0.5, "explain/n/a/dead": 0.0}
    found = over_layers("n", metrics, of_layers(a=2))
    assert found == {"explain/n/train/all_layers/dead": 0.5, "explain/n/all_layers/dead": 0.0}
    assert telling_tags("n", found) == set(found)


def test_a_layer_of_that_name_keeps_its_metrics():
    found = over_layers("n", {"explain/n/all_layers/dead": 0.5, "explain/n/b/dead": 0.0}, of_layers(all_layers=2, b=2))
    (key,) = found
    assert key != "explain/n/all_layers/dead"
    assert found[key] == 0.25
    assert telling_tags("n", [key, "explain/n/b/dead", "explain/m/macro_f1"]) == {key}


def test_the_mean_f1_is_over_the_classes_that_have_one():
    assert macro_f1("n", {"f1": [1.0, math.nan, 0.5]}) == {"explain/n/macro_f1": 0.75}
    assert macro_f1("n", {"f1": [math.nan]}) == macro_f1("n", {}) == {}


def test_few_layers_are_drawn_unless_all_are_wanted():
    layers = ["a", "b", "c"]
    assert drawn_last(layers, ["a", "c"], is_full=False) == ["c"]
    assert drawn_last(layers, ["a", "c"], is_full=True) == ["a", "c"]
    assert drawn_last([], [], is_full=False) == []
    assert first_and_last(layers, is_full=True) == layers
    assert first_and_last([], is_full=False) == []
