"""Which units and edges are shown, and what the bundles of the others hold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths import path_graph
from lightning_explain.paths.contribution_graph import flowing
from tests.paths.graphs import all_paths, random_graph


def shown(graph, **options):
    names = [[f"feature {unit}" for unit in range(len(graph.layers[0]))]]
    return path_graph(graph, input_names=names, output_name="cat", **options)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), n_units=st.integers(3, 8))
def test_bundles_hold_what_is_not_shown(seed, n_units):
    graph = random_graph(seed, 12, 9, 4)
    found = shown(graph, n_units=n_units)
    for layer in graph.layers:
        nodes = found.of_layer(layer.name)
        assert len(nodes) <= n_units
        assert sum(node.contribution for node in nodes) == pytest.approx(layer.contribution.sum())
        assert sum(node.share for node in nodes) == pytest.approx(layer.share.sum())
        assert sum(node.n_units for node in nodes) == len(layer)
        singles = [node.unit for node in nodes if node.unit is not None]
        assert singles == sorted(singles)
        if len(layer) > n_units:
            strongest = np.argsort(-layer.share)[: len(singles)]
            assert set(singles) == set(strongest.tolist())
            for node in nodes:
                if node.unit is None:
                    assert node.label.endswith("for" if node.contribution > 0 else "against")


def test_edges_kept_carry_most_and_the_share_shown_is_theirs():
    graph = random_graph(1, 12, 9, 4)
    found = shown(graph)
    for link in graph.links:
        ends = graph.layers[link.source].name, graph.layers[link.target].name
        singles = [e for e in found.edges if e.is_single and (e.source.layer, e.target.layer) == ends]
        rows = [n.unit for n in found.of_layer(ends[1]) if n.unit is not None]
        columns = [n.unit for n in found.of_layer(ends[0]) if n.unit is not None]
        between = link.share[np.ix_(rows, columns)]
        carried = sum(edge.share for edge in singles)
        assert 0.9 * between.sum() <= carried <= between.sum() + 1e-12
        assert carried - min(edge.share for edge in singles) < 0.9 * between.sum()  # and no edge more than needed
        for edge in singles:
            assert edge.contribution == pytest.approx(link.contribution[edge.target.unit, edge.source.unit])
            assert edge.share == pytest.approx(link.share[edge.target.unit, edge.source.unit])
    kept = {edge.ends for edge in found.edges if edge.is_single}
    names = [layer.name for layer in graph.layers]
    expected = sum(
        share
        for units, share in all_paths(graph).items()
        if all((f"{names[low[0]]}:{low[1]}", f"{names[high[0]]}:{high[1]}") in kept for high, low in pairwise(units))
    )
    assert found.shown_share == pytest.approx(expected)
    with pytest.raises(ConfigurationError, match="n_units=2"):
        shown(graph, n_units=2)


def test_a_layer_that_nothing_passes_is_empty():
    between = {(0, 1): np.zeros((12, 4)), (1, 2): np.zeros((1, 12))}
    names, units = ["input", "fc", "output"], [np.zeros(4), np.zeros(12), np.ones(1)]
    found = shown(flowing(names, units, between, 1.0))
    assert found.of_layer("fc") == [] and found.edges == () and found.shown_share == 0
    assert found.absorbed_share == 1
