import copy

import torch
from torch import nn

from lightning_explain.attribution.wrapped_model import WrappedModel


def test_layers_keep_their_names_and_a_copy_holds_a_copy():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))
    wrapped = WrappedModel(net)
    assert {name for name, _ in wrapped.named_modules()} == {"", "0", "1", "1.0"}
    copied = copy.deepcopy(wrapped)
    copied.model[0].weight.data.zero_()
    assert bool(net[0].weight.any())
    assert dict(copied.named_modules())["0"] is copied.model[0]


def test_what_is_no_module_has_no_layers():
    assert [name for name, _ in WrappedModel(torch.sin).named_modules()] == [""]
