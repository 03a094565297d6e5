"""Units held at fixed values: in blocks of samples, in any call, layout and kind of output, and nothing left behind."""

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.capture import CallUse, Layer
from lightning_explain.faithfulness.clamping import Clamp, clamped, is_part_of_output
from lightning_explain.neurons import unit_layers

Pair = namedtuple("Pair", "values extra")
LAYOUTS: list[tuple[tuple[str, ...], tuple[int, ...]]] = [
    (("b", "u"), (6, 5)),
    (("b", "u", "p", "p"), (6, 5, 2, 3)),
    (("b", "p", "u"), (6, 4, 5)),
    (("p", "b", "u"), (4, 6, 5)),
    (("bp", "u"), (24, 5)),
    (("b", "u", "p", "u"), (6, 5, 3, 2)),  # two dimensions of units, which arranging copies
]


@pytest.mark.parametrize(("layout", "shape"), LAYOUTS)
def test_a_unit_is_set_in_its_rows_and_nowhere_else(layout: tuple[str, ...], shape: tuple[int, ...]) -> None:
    net = nn.Identity()
    layer = Layer("", net, None, calls=(CallUse(layout),))
    x = torch.randn(shape)
    unit = 7 if layout.count("u") == 2 else 3
    with torch.no_grad(), clamped(layer, "", [Clamp(slice(2, 4), unit, 9.0)], n_samples=6) as clamper:
        found = net(x)
    by_sample = {"p": lambda v: v.transpose(0, 1), "bp": lambda v: v.unflatten(0, (6, 4))}.get(layout[0], lambda v: v)(
        found
    )
    expected = by_sample.clone()
    if layout.count("u") == 2:
        expected[2:4, 7 // 2, :, 7 % 2] = 9.0
    else:
        expected.movedim(1 if layout[1] == "u" and len(layout) == 4 else -1, -1)[2:4, ..., 3] = 9.0
    n_set = (found != x).sum()
    assert clamper.happened and torch.equal(by_sample, expected) and n_set == (found == 9.0).sum() > 0


def test_only_the_call_that_is_meant_is_changed_and_parts_beside_the_values_stay() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Parted()

        def forward(self, x: Tensor) -> list[Any]:
            return [self.part(x), self.part(x)]

    class Parted(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Pair(x + 1, "kept")

    net = Two()
    layer = Layer("part", net.part, -1)
    with torch.no_grad(), clamped(layer, "part#1", [Clamp(slice(0, 2), 0, -5.0)], n_samples=2):
        first, second = net(torch.zeros(2, 3))
    assert first.values.tolist() == [[1, 1, 1]] * 2
    assert second.values.tolist() == [[-5, 1, 1]] * 2 and second.extra == "kept" and type(second) is Pair
    assert net(torch.zeros(2, 3))[1].values.tolist() == [[1, 1, 1]] * 2  # the hook is off


def test_what_cannot_be_set_alone_is_reported_and_units_that_never_came_are_noticed() -> None:
    net = nn.Sequential(nn.GRU(3, 4), nn.TransformerEncoderLayer(4, 2, 8))
    assert {layer.name: is_part_of_output(layer) for layer in unit_layers(net)} == {
        "0": False,
        "1.self_attn": False,
        "1.linear1": True,
    }
    relu = nn.ReLU()
    layer = Layer("0", relu, None, calls=(CallUse(("p", "p")),))  # where the samples are is unknown
    with torch.no_grad(), clamped(layer, "0", [Clamp(slice(0, 1), 0, 5.0)], n_samples=2) as clamper:
        assert relu(torch.ones(2, 3)).max() == 1
    assert not clamper.happened
