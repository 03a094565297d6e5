"""Messages without a closed form: against networks written out by hand, and bundles against the units in them."""

import numpy as np
import pytest
import torch

from lightning_explain.attribution import Epsilon
from lightning_explain.paths import contributions, top_paths
from lightning_explain.paths.contribution_graph import AGAINST, FOR
from lightning_explain.paths.propagation.expansion import Places, chosen_places
from tests.paths.by_hand import Gated, Recurrent, Transformer, graph_by_hand, seeded
from tests.paths.graphs import all_paths

NETS = {
    "transformer": (Transformer, (1, 3, 2)),
    "gated": (Gated, (1, 3)),
    "recurrent": (Recurrent, (1, 4, 2)),
}


@pytest.mark.parametrize("name", NETS)
def test_graphs_equal_those_by_hand_and_their_paths_full_enumeration(name):
    kind, shape = NETS[name]
    net, x = seeded(kind()), torch.rand(2, *shape[1:], dtype=torch.double) + 0.2
    found = contributions(net, x, torch.tensor([0, 1]), rules=Epsilon(0.0))
    for sample in range(2):
        graph, expected = found[sample], graph_by_hand(net, x[sample : sample + 1], sample)
        assert [layer.name for layer in graph.layers] == [layer.name for layer in expected.layers]
        for layer, other in zip(graph.layers, expected.layers, strict=True):
            np.testing.assert_allclose(layer.contribution, other.contribution, atol=1e-12)
            np.testing.assert_allclose(layer.share, other.share, atol=1e-10)
            np.testing.assert_allclose(layer.absorbed, other.absorbed, atol=1e-12)
        links = {(link.source, link.target): link for link in graph.links}
        for link in expected.links:
            np.testing.assert_allclose(links[link.source, link.target].contribution, link.contribution, atol=1e-12)
        every = sorted(all_paths(expected).values(), reverse=True)
        searched = top_paths(graph, 30)
        assert [path.share for path in searched.paths] == pytest.approx(every[:30])
        assert searched.others_at_most == 0


@pytest.mark.parametrize("name", ["transformer", "recurrent"])
def test_bundles_hold_what_their_units_have_together(name, monkeypatch):
    kind, shape = NETS[name]
    net, x = seeded(kind()), torch.rand(2, *shape[1:], dtype=torch.double) + 0.2
    monkeypatch.setattr("lightning_explain.paths.propagation.expansion.MOST_EXPANDED", 0)
    monkeypatch.setattr("lightning_explain.paths.propagation.expansion.COVERED", 0.0)
    graph = contributions(net, x, 1, rules=Epsilon(0.0))[1]
    expected = graph_by_hand(net, x[1:], 1)
    for place, (layer, other) in enumerate(zip(graph.layers[1:-1], expected.layers[1:-1], strict=True), 1):
        if layer.n_units <= 2:
            continue
        assert not layer.is_single.any()
        assert set(layer.numbers) <= {FOR, AGAINST}
        assert sum(layer.bundled(at) for at in range(len(layer))) == len(other)
        assert layer.contribution.sum() == pytest.approx(other.contribution.sum())
        sent = sum(link.contribution.sum(0) for link in graph.links if link.source == place)
        np.testing.assert_allclose(sent, layer.contribution, atol=1e-12)
        absorbed = layer.contribution - sum(link.contribution.sum(1) for link in graph.into(place))
        np.testing.assert_allclose(layer.absorbed, absorbed, atol=1e-12)
    paths = all_paths(expected)
    assert max(paths.values()) <= max(
        top_paths(graph, 1).others_at_most, *[p.share for p in top_paths(graph, 1).paths], 0
    )


def test_units_that_carry_most_on_the_mean_of_their_group_have_places():
    torch.manual_seed(0)
    share = torch.rand(5, 40).double()
    share[:, 7], share[:2, 3], share[2:, 9] = 3.0, 2.0, 2.0
    contribution = torch.randn(5, 40).double()
    groups = torch.tensor([0, 0, 1, 1, 1])
    places = chosen_places(share, contribution, groups)
    assert places.singles.shape == (5, 12)
    for group in (0, 1):
        rows = groups == group
        strongest = share[rows].mean(0).topk(12).indices.sort().values
        assert (places.singles[rows] == strongest).all()
        signed = contribution[rows].sum(0)
        others = [unit for unit in range(40) if unit not in strongest.tolist()]
        assert places.bundles[rows][0, 0].nonzero().flatten().tolist() == [u for u in others if signed[u] >= 0]
        assert places.bundles[rows][0, 1].nonzero().flatten().tolist() == [u for u in others if signed[u] < 0]


def test_no_more_units_than_cover_the_flow_have_places_and_few_units_all():
    share = torch.full((1, 40), 1e-5)
    share[0, 5], share[0, 8] = 0.5, 0.4
    assert chosen_places(share, share, torch.tensor([0])).singles.tolist() == [[5, 8]]
    assert chosen_places(share[:, :14], share[:, :14], torch.tensor([0])).singles.shape == (1, 14)


def test_values_are_gathered_by_place():
    places = Places(torch.tensor([[1], [2]]), torch.tensor([[[1, 0, 0], [0, 0, 1]], [[1, 1, 0], [0, 0, 0]]]).bool())
    values = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    assert places.gathered(values).tolist() == [[2, 1, 4], [4, 3, 0]]
    assert places.gathered(values[:, None]).tolist() == [[[2, 1, 4]], [[4, 3, 0]]]
    assert places.largest_in_bundles(values[:, None]).tolist() == [[4], [2]]
