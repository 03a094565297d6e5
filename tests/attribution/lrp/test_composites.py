"""Which rule a composite gives to which layer."""

import torch
from torch import nn

from lightning_explain.attribution import (
    LRP,
    Epsilon,
    EpsilonPlusFlat,
    GammaRule,
    ZeroRule,
    ZPlusRule,
)
from tests.attribution.lrp.cases import IMAGES, close
from tests.attribution.lrp.nets import (
    mlp,
    vgg,
)


def test_rules_go_by_name_then_by_nearest_type():
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), Own(5, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    plain = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    plain.load_state_dict(model.state_dict())
    x = torch.randn(3, 4).double()
    by_type = LRP({nn.Linear: ZeroRule(), Own: ZPlusRule(), "[4]": GammaRule()})(model, x, 0).values
    by_name = LRP({"2": ZPlusRule(), "4": GammaRule(), "0": ZeroRule()})(plain, x, 0).values
    close(by_type, by_name)
    assert not torch.allclose(by_type, LRP({nn.Linear: ZeroRule()})(model, x, 0).values)


def test_default_goes_by_kind_of_network():
    convnet, x = vgg(), IMAGES
    close(LRP()(convnet, x, 0).values, LRP(EpsilonPlusFlat())(convnet, x, 0).values)
    dense = mlp(bias=True)
    close(LRP()(dense, torch.ones(1, 5).double(), 0).values, LRP(Epsilon())(dense, torch.ones(1, 5).double(), 0).values)
