"""Activation maps of one sample, and which channels are drawn."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.neurons.activation_maps import activation_maps, shown_channels
from lightning_explain.capture import select_layers
from lightning_explain.errors import ConfigurationError


def test_maps_are_the_layers_output_for_the_first_sample() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.rand(5, 1, 8, 8)
    layers = [replace(layer, unit_dim=1) for layer in select_layers(net, None)]
    found = activation_maps(net, (x,), Question(), layers)
    assert list(found) == ["1"]
    torch.testing.assert_close(found["1"], net[:2](x[:1])[0].detach())


def test_channels_of_the_largest_mean_are_drawn_by_index() -> None:
    activation = torch.tensor([0.1, 0.9, 0.3, 0.7])[:, None, None].expand(4, 2, 2)
    assert shown_channels(2, activation, None, None) == [1, 3]
    assert shown_channels(9, activation, None, None) == [0, 1, 2, 3]


def test_channels_by_index_must_exist() -> None:
    activation = torch.zeros(4, 2, 2)
    assert shown_channels([3, 0, 9], activation, None, None) == [3, 0]
    with pytest.raises(ConfigurationError, match=r"maps=\[9\] names no channel of a layer that has 4"):
        shown_channels([9], activation, None, None)
