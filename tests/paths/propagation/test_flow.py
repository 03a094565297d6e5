"""Flows of many samples at once: however messages are kept, the graphs are the same."""

import importlib

import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.attribution import EpsilonRule, GammaRule
from lightning_explain.paths import contributions
from tests.paths.by_hand import Transformer
from tests.paths.by_hand import seeded as drawn_at_random
from tests.paths.nets import lenet, mlp, seeded


def same(found, expected) -> None:
    for sample in range(len(expected)):
        for layer, other in zip(found[sample].layers, expected[sample].layers, strict=True):
            for field in ("contribution", "share", "absorbed"):
                np.testing.assert_allclose(getattr(layer, field), getattr(other, field), atol=1e-12)
        for link, other in zip(found[sample].links, expected[sample].links, strict=True):
            np.testing.assert_allclose(link.contribution, other.contribution, atol=1e-12)
            np.testing.assert_allclose(link.share, other.share, atol=1e-12)


@pytest.mark.parametrize("rule", [EpsilonRule(0.01), GammaRule(0.3)], ids=repr)
@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_messages_too_many_to_be_kept_make_the_same_graphs(name, rule, monkeypatch):
    if name == "mlp":
        seeded()
        net, x, target = mlp(4, 7, 6, 3), torch.randn(5, 4, dtype=torch.double), torch.tensor([0, 1, 2, 0, 1])
    else:
        net, x, target = lenet()
    rules = {nn.Linear: rule, nn.Conv2d: rule}
    kept = contributions(net, x, target, rules=rules)
    monkeypatch.setattr("lightning_explain.paths.propagation.flow.LARGEST", 0)
    monkeypatch.setattr(importlib.import_module("lightning_explain.paths.contributions"), "HELD", 0)
    same(contributions(net, x, target, rules=rules), kept)


def test_a_sample_s_graph_does_not_depend_on_the_others():
    net, x, target = lenet()
    whole = contributions(net, x, target)
    same([contributions(net, x[3:4], target[3:4])[0]], [whole[3]])
    net, x = drawn_at_random(Transformer()), torch.rand(4, 3, 2, dtype=torch.double)
    same([contributions(net, x[2:3], 1)[0]], [contributions(net, x, 1)[2]])


def test_what_a_unit_sends_up_is_what_it_has():
    net, x = drawn_at_random(Transformer()), torch.rand(2, 3, 2, dtype=torch.double)
    graph = contributions(net, x, 1)[0]
    for place, layer in enumerate(graph.layers[:-1]):
        sent = sum(link.contribution.sum(0) for link in graph.links if link.source == place)
        np.testing.assert_allclose(sent, layer.contribution, atol=1e-12)
        passed = sum(link.share.sum(0) for link in graph.links if link.source == place)
        np.testing.assert_allclose(passed, layer.share, atol=1e-12)


def test_samples_of_a_group_have_places_for_the_same_units():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 60, batch_first=True, norm_first=True)
    net = nn.Sequential(block, nn.Flatten(), nn.Linear(24, 3)).double().eval()
    x, groups = torch.randn(6, 3, 8).double(), torch.tensor([7, 7, 3, 3, 3, 7])
    found = contributions(net, x, torch.arange(6) % 3, groups=groups)
    places = [found[sample].layers[2].numbers.tolist() for sample in range(6)]
    assert places[0] == places[1] == places[5] and places[2] == places[3] == places[4]
    assert places[0] != places[2]
