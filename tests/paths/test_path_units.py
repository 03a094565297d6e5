"""How inputs and layers fall into units."""

import pytest
import torch

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.path_units import input_units, neuron_labels


def test_units_of_inputs():
    (image,) = input_units((torch.zeros(1, 3, 10, 6),), patch=4)
    assert image.boxes == ((0, 0, 4, 4), (0, 4, 4, 2), (4, 0, 4, 4), (4, 4, 4, 2), (8, 0, 2, 4), (8, 4, 2, 2))
    assert image.labels.shape == (3, 10, 6)
    assert image.labels[2, 9, 5] == 5 and image.labels[0, 3, 4] == 1
    (table,) = input_units((torch.zeros(1, 3),), feature_names=["a", "b", "c"])
    assert table.names == ("a", "b", "c")
    (wide,) = input_units((torch.zeros(1, 2050),))
    assert wide.names[0] == "features 0-2" and wide.names[-1] == "features 2049-2049"
    assert len(wide.names) == int(wide.labels.max()) + 1
    with pytest.raises(ConfigurationError, match="patch=0"):
        input_units((torch.zeros(1, 3, 4, 4),), patch=0)


def test_by_default_about_seven_patches_lie_along_the_longer_side():
    (wide,) = input_units((torch.zeros(1, 1, 14, 28),))
    assert wide.boxes[:2] == ((0, 0, 4, 4), (0, 4, 4, 4)) and len(wide.boxes) == 7 * 4
    (tiny,) = input_units((torch.zeros(1, 1, 2, 2),))
    assert len(tiny.boxes) == 4  # never less than a pixel


def test_feature_names_are_those_of_the_first_input():
    first, second = input_units((torch.zeros(1, 2), torch.zeros(1, 2)), feature_names=["a", "b"])
    assert first.names == ("a", "b") and second.names == ("feature 0", "feature 1")
    assert first.boxes == () and first.labels.tolist() == [0, 1]


def test_neurons_are_numbered_by_channel_by_feature_or_by_position():
    assert neuron_labels(torch.Size([2, 1, 2]), 0, keep_positions=False).tolist() == [[[0, 0]], [[1, 1]]]
    assert neuron_labels(torch.Size([2, 3]), -1, keep_positions=False).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert neuron_labels(torch.Size([2, 1, 2]), 0, keep_positions=True).tolist() == [[[0, 1]], [[2, 3]]]
