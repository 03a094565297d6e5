"""What follows a layer decides whether it has units."""

import pytest
import torch
from torch.nn import functional

from lightning_explain.paths.propagation.readers import fates
from tests.paths.by_hand import Transformer
from tests.paths.propagation.cut_nets import Function, walked


def rolled(h: torch.Tensor) -> torch.Tensor:
    return h - h.roll(1, 1)


def doubled(h: torch.Tensor) -> torch.Tensor:
    return h + h.relu()


FUNCTIONS = {
    "activated": (lambda n, x: n.b(n.a(x).relu()), {"a"}),
    "silu in place": (lambda n, x: n.b(functional.silu(n.a(x), inplace=True)), {"a"}),
    "plain": (lambda n, x: n.b(n.a(x)), {"a"}),
    "added": (lambda n, x: n.b(x + n.a(x)), set[str]()),
    "added, then activated": (lambda n, x: n.b((x + n.a(x)).relu()), {"a"}),
    "two calls added": (lambda n, x: n.b(n.a(x) - n.a(x).mean(1, keepdim=True)), set[str]()),
    "added to itself": (lambda n, x: n.b(rolled(n.a(x))), {"a"}),
    "subtracted": (lambda n, x: n.b(x - n.a(x)), set[str]()),
    "shifted by a constant": (lambda n, x: n.b(n.a(x) + torch.ones(3)), {"a"}),
    "one way added, one activated": (lambda n, x: n.b(x + doubled(n.a(x))), {"a"}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_writes_to_a_stream_have_no_units(name):
    function, expected = FUNCTIONS[name]
    way = walked(Function(function, (3, 3), (3, 2)), torch.randn(2, 3))
    kinds = {place: cut.kind for place, cut in enumerate(way.cuts)}
    found = {way.cuts[p].name for p, fate in fates(way).items() if fate.is_layer_of_units(kinds)}
    assert found - {"", "b"} == expected


def test_queries_keys_values_and_projections_have_no_units():
    way = walked(Transformer(), torch.rand(2, 3, 2))
    kinds = {place: cut.kind for place, cut in enumerate(way.cuts)}
    found = {
        way.cuts[p].name for p, fate in fates(way).items() if fate.is_layer_of_units(kinds) and kinds[p] == "layer"
    }
    assert found == {"blocks.0.up", "blocks.1.up", "head"}
