"""Ids on their way to an embedding: every way there keeps their units."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.attribution import Epsilon
from lightning_explain.paths import contributions
from tests.paths.propagation.cut_nets import Function, walked


def net(look_up) -> nn.Module:
    torch.manual_seed(0)
    found = Function(lambda n, *ids: n.a(torch.tanh(look_up(n, *ids))), (4, 2))
    found.e, found.f = nn.Embedding(9, 4), nn.Embedding(9, 4)
    return found.double()


IDS = torch.tensor([[1, 2, 3], [5, 0, 1], [4, 4, 8]])
WAYS = {
    "plain": lambda n, ids: n.e(ids).sum(1),
    "cast": lambda n, ids: n.e(ids.int().long()).sum(1),
    "transposed": lambda n, ids: n.e(ids.T.contiguous()).sum(0),
    "flat": lambda n, ids: n.e(ids.view(-1)).view(3, 3, 4).sum(1),
    "columns": lambda n, ids: sum(n.e(ids[:, at]) for at in range(3)),
    "unbound": lambda n, ids: sum(n.e(column) for column in ids.unbind(1)),
    "indexed": lambda n, ids: n.e.weight[ids].sum(1),
    "offset": lambda n, ids: n.e((ids + torch.tensor([0, 3, 1])) - torch.tensor([0, 3, 1])).sum(1),
    "reversed": lambda n, ids: n.e(ids.flip(1)).sum(1),
}


@pytest.mark.parametrize("name", WAYS)
def test_tokens_keep_their_place(name):
    model = net(WAYS[name])
    vectors = model.e.weight[IDS]
    h = vectors.sum(1)
    slope = torch.tanh(h) / h
    expected = (vectors * slope[:, None] * model.a.weight[1]).sum(-1).detach()
    found = contributions(model, IDS, 1, rules=Epsilon(0.0))
    for sample in range(3):
        np.testing.assert_allclose(found[sample].layers[0].contribution, expected[sample], atol=1e-6)


def test_two_embeddings_of_the_same_ids_are_one_source():
    model = net(lambda n, ids: (n.e(ids) + n.f(ids)).sum(1))
    both = contributions(model, IDS, 1, rules=Epsilon(0.0))[0].layers
    h = (model.e.weight[IDS[0]] + model.f.weight[IDS[0]]).detach()
    slope = torch.tanh(h.sum(0)) / h.sum(0)
    np.testing.assert_allclose(both[0].contribution, (h * slope * model.a.weight[1].detach()).sum(-1), atol=1e-6)
    assert [layer.name for layer in both] == ["input", "output"]


def test_ids_of_several_inputs_and_constants_are_told_apart():
    model = net(lambda n, first, second: n.e(first).sum(1) + n.f(second).sum(1) + n.e(torch.arange(3)).sum(0))
    way = walked(model, IDS, IDS.clone())
    assert [cut.part for cut in way.cuts if cut.kind == "input"] == [0, 1]
