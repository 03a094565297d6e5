"""Means of graphs that have places for different units."""

import numpy as np
import pytest

from lightning_explain.paths import mean_graph, top_paths
from lightning_explain.paths.contribution_graph import AGAINST, FOR
from tests.paths.graphs import all_paths, random_graph, with_bundles


def test_the_mean_of_graphs_with_places_for_different_units_bundles_what_they_do_not_share():
    graphs = [random_graph(seed, 3, 5, 4, skip=True) for seed in range(3)]
    plain = mean_graph(graphs)
    mixed = mean_graph([with_bundles(graph, 1, 3 - place) for place, graph in enumerate(graphs)])
    layer, whole = mixed.layers[1], plain.layers[1]
    assert layer.numbers.tolist() == [0, FOR, AGAINST]
    for field in ("contribution", "share", "absorbed"):
        assert getattr(layer, field)[0] == pytest.approx(getattr(whole, field)[0])
        assert getattr(layer, field).sum() == pytest.approx(getattr(whole, field).sum())
    np.testing.assert_allclose(layer.every_share, whole.share)
    against = [[c for c in graph.layers[1].contribution[1 : 3 - place] if c < 0] for place, graph in enumerate(graphs)]
    assert layer.contribution[2] == pytest.approx(sum(map(sum, against)) / 3)
    for link, fine in zip(mixed.links, plain.links, strict=True):
        assert link.contribution.sum() == pytest.approx(fine.contribution.sum())
        assert link.share.sum() == pytest.approx(fine.share.sum())
        if link.source == 1:
            np.testing.assert_allclose(link.contribution[:, 0], fine.contribution[:, 0])
        if link.target == 1:
            np.testing.assert_allclose(link.share[0], fine.share[0])


def test_paths_through_what_the_mean_bundles_carry_at_most_what_is_stated():
    for seed in range(20):
        graph = random_graph(seed, 3, 5, 4)
        mean = mean_graph([with_bundles(graph, 1, 4), with_bundles(graph, 1, 2)])
        hidden = [share for units, share in all_paths(graph).items() if any(p == 1 and u >= 2 for p, u in units)]
        assert max(hidden, default=0.0) <= top_paths(mean, 5).others_at_most + 1e-12


def test_graphs_with_the_same_places_keep_them():
    graphs = [with_bundles(random_graph(seed, 3, 5, 4), 1, 2) for seed in range(2)]
    mean = mean_graph(graphs)
    assert mean.layers[1].numbers.tolist() == [0, 1, FOR]
    np.testing.assert_allclose(
        mean.layers[1].every_share, (graphs[0].layers[1].every_share + graphs[1].layers[1].every_share) / 2
    )
