"""Messages about what a neuron monitor does not count: what they name, and the options they give."""

import torch
from torch import nn

from lightning_explain.callbacks.neurons.counting.not_counted import (
    MOST_NAMED,
    compiled_layers_message,
    reordered_message,
    silent_layers_message,
    too_large_label_message,
    unknown_units_message,
    wrong_rows_message,
)
from lightning_explain.capture import Layer


def test_silent_layers_are_named_up_to_a_number_and_the_rest_counted() -> None:
    layers = [f"fc{k}" for k in range(MOST_NAMED + 3)]
    message = silent_layers_message(layers, "train")
    assert ", ".join(layers[:MOST_NAMED]) + " and 3 more (in training)" in message
    assert layers[MOST_NAMED] not in message
    assert "more" not in silent_layers_message(layers[:MOST_NAMED], "val")
    assert "fc0 (in validation)" in silent_layers_message(["fc0"], "val")


def test_of_compiled_layers_it_is_said_whether_they_are_watched() -> None:
    named = compiled_layers_message(["a", "b"], named_by_user=True)
    left = compiled_layers_message(["a", "b"], named_by_user=False)
    assert named.startswith("a, b run inside code") and left.startswith("a, b run inside code")
    assert "They are watched" in named and "not watched, and the run stays as it is" in left
    assert left.endswith("name them with layers=.")


def test_the_cure_for_unknown_units_takes_the_name_of_the_layer_not_of_the_call() -> None:
    layer = Layer("body.act", nn.ReLU(), None)
    message = unknown_units_message(layer, "body.act#2", torch.zeros(4, 7, 9))
    assert "'body.act#2'" in message and "[4, 7, 9]" in message
    assert "unit_dims={'body.act': 1}" in message


def test_numbers_of_rows_and_labels_are_told() -> None:
    message = wrong_rows_message("fc", 48, 16)
    assert "'fc' gave 48 rows for a batch of 16 labels" in message and "target=" in message
    message = too_large_label_message(123456, 10000)
    assert message.startswith("label 123456 was found. Labels from 10,000 on") and "class_names" in message


def test_layers_that_get_samples_in_another_order_are_named_with_the_cure() -> None:
    message = reordered_message([f"expert{k}" for k in range(MOST_NAMED + 2)])
    assert f"expert{MOST_NAMED - 1} and 2 more get the batch's samples in another order" in message
    assert "enforce_sorted=False" in message and "layers=" in message
