"""Rules for layers that read the input: flat, w2 and zB."""

import pytest
import torch
from torch import nn

import tests.attribution.lrp.dense as dense
from lightning_explain.attribution import (
    LRP,
    FlatRule,
    WSquareRule,
    ZBoxRule,
)
from lightning_explain.errors import ConfigurationError
from tests.attribution.lrp.test_rules import LAYERS, PADDED, Scored, expected


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("kind", sorted(LAYERS.keys() - PADDED))
def test_flat_shares_evenly_among_the_inputs_that_exist(kind: str):
    build, shape = LAYERS[kind]
    layer = build().double()
    ones = build().double()
    nn.init.ones_(ones.weight)
    nn.init.zeros_(ones.bias)
    connected, _ = dense.matrix_of(ones, shape)
    x = torch.randn(3, *shape, dtype=torch.float64)
    model = Scored(layer)
    values = LRP({type(layer): FlatRule()})(model, x).values
    torch.testing.assert_close(values, expected(model, layer, x, dense.flat(connected)), rtol=1e-9, atol=1e-11)


def test_input_outside_the_box_is_refused():
    with pytest.raises(ConfigurationError, match="outside its box"):
        LRP({nn.Linear: ZBoxRule(0.0, 1.0)})(nn.Linear(2, 2), torch.tensor([[0.5, 2.0]]), 0)


def test_flat_gives_a_black_pixel_as_much_as_a_white_one() -> None:
    layer = nn.Linear(4, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    values = LRP({nn.Linear: FlatRule()})(layer, torch.tensor([[0.0, 0.0, 1.0, 3.0]]), 0).values
    assert values.tolist() == [[2.0, 2.0, 2.0, 2.0]]


def test_w_square_shares_by_squared_weight() -> None:
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data.copy_(torch.tensor([[1.0, -2.0, 0.0]]))
    values = LRP({nn.Linear: WSquareRule()})(layer, torch.tensor([[7.0, 1.0, 9.0]]), 0).values
    torch.testing.assert_close(values, torch.tensor([[1.0, 4.0, 0.0]]))


def test_z_box_with_a_box_per_channel_equals_the_sum_over_its_corners() -> None:
    low, high = torch.tensor([[[-1.0]], [[0.0]]]).double(), torch.tensor([[[2.0]], [[1.0]]]).double()
    layer = nn.Conv2d(2, 1, 1, bias=False).double()
    layer.weight.data.copy_(torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1))
    x = torch.tensor([1.0, 0.5]).double().reshape(1, 2, 1, 1)
    values = LRP({nn.Conv2d: ZBoxRule(low, high)})(nn.Sequential(layer, nn.Flatten()), x, 0).values
    # q = (3 * (1 + 1), -4 * (0.5 - 1)) = (6, 2); the score is 3 - 2 = 1
    torch.testing.assert_close(values.flatten(), torch.tensor([0.75, 0.25]).double())
