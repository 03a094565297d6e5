"""Rules chosen by what a layer reads: flat or epsilon, by whether the fields of a convolution overlap."""

import pytest
import torch
from torch import nn

from lightning_explain.attribution import LRP, EpsilonRule, FlatRule
from lightning_explain.attribution.lrp.calls import layer_of
from lightning_explain.attribution.lrp.chosen_rules import FlatOrEpsilonRule
from tests.attribution.nets import drawn, seeded


@pytest.mark.parametrize(
    ("size", "stride", "is_patches"),
    [(2, 2, True), (2, 3, True), (3, 2, False), (1, 1, False), (1, 2, False), ((2, 3), (2, 1), False)],
)
def test_only_convolutions_that_cut_patches_get_epsilon(size, stride, *, is_patches: bool) -> None:
    layer = nn.Conv2d(1, 2, size, stride)
    _, found = layer_of(nn.Conv2d, (torch.ones(1, 1, 6, 6), layer.weight, None, stride), {})
    rule = FlatOrEpsilonRule(0.5).choose(found, torch.ones(1, 1, 6, 6))
    assert rule == (EpsilonRule(0.5) if is_patches else FlatRule())


def test_transposed_convolutions_and_linear_layers_get_flat() -> None:
    x = torch.ones(1, 1, 4, 4)
    _, transposed = layer_of(nn.ConvTranspose2d, (x, torch.ones(1, 1, 2, 2), None, 2), {})
    _, dense = layer_of(nn.Linear, (x, torch.ones(2, 4)), {})
    assert FlatOrEpsilonRule().choose(transposed, x) == FlatOrEpsilonRule().choose(dense, x) == FlatRule()


@pytest.mark.parametrize(("stride", "rule"), [(1, FlatRule()), (2, EpsilonRule())])
def test_a_network_is_explained_by_the_rule_that_was_chosen(stride: int, rule) -> None:
    net = seeded(nn.Sequential(nn.Conv2d(2, 3, 2, stride), nn.Flatten(), nn.Linear(75 if stride == 1 else 27, 2)))
    x = drawn(2, 2, 6, 6)
    rules = {nn.Linear: EpsilonRule()}
    chosen, given = (LRP({nn.Conv2d: r, **rules})(net, x, 1).values for r in (FlatOrEpsilonRule(), rule))
    torch.testing.assert_close(chosen, given)
