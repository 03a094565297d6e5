"""Which units and edges are shown, and what the bundles of the others hold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths import path_graph
from lightning_explain.paths.coarser import only_layers
from lightning_explain.paths.drawn_flow import flow_to_inputs
from tests.paths.graphs import flowing, graphs, random_graph
from tests.paths.test_drawn_flow import share_of_paths


def shown(graph, **options):
    names = [[f"feature {unit}" for unit in range(len(graph.layers[0]))]]
    return path_graph(graph, input_names=names, output_name="cat", **options)


def drawn_graph(graph, found):
    """The graph that is drawn: shares of what reaches the inputs, merged into the blocks."""
    return only_layers(flow_to_inputs(graph), [name for block in found.blocks for name in block.layers])


@settings(max_examples=60)
@given(graph=graphs, drawn=st.sampled_from([0.3, 0.5, 0.9]), n_units=st.integers(1, 5))
def test_nodes_hold_every_unit_and_edges_what_flows_between_them(graph, drawn, n_units):
    found = shown(graph, n_units=n_units, drawn=drawn)
    flow = drawn_graph(graph, found)
    layers = {layer.name: layer for layer in flow.layers}
    for block in found.blocks:
        own = [node for layer in block.layers for node in found.of_layer(layer)]
        whole = [layers[name] for name in block.layers]
        assert sum(node.contribution for node in own) == pytest.approx(sum(layer.contribution.sum() for layer in whole))
        assert sum(node.share for node in own) == pytest.approx(sum(layer.share.sum() for layer in whole), abs=1e-9)
        assert sum(node.n_units for node in own) == sum((layer.contribution != 0).sum() for layer in whole)
        assert len([node for node in own if node.unit is not None]) <= n_units
        bundles = [node for node in own if node.unit is None]
        assert [node.label.split()[-1] for node in bundles] in ([], ["for"], ["against"], ["for", "against"])
        assert all((node.contribution > 0) == node.label.endswith("for") for node in bundles)
    places = {layer.name: place for place, layer in enumerate(flow.layers)}
    links = {(link.source, link.target): link for link in flow.links}
    for edge in found.edges:
        assert edge.share >= found.threshold
        if edge.is_single:
            link = links[places[edge.source.layer], places[edge.target.layer]]
            assert edge.contribution == pytest.approx(link.contribution[edge.target.unit, edge.source.unit])
            assert edge.share == pytest.approx(link.share[edge.target.unit, edge.source.unit])
    units = {(places[node.layer], node.unit) for node in found.nodes if node.unit is not None}
    assert found.shown_share == pytest.approx(share_of_paths(flow, units, found.threshold * (1 - 1e-9)), abs=1e-9)
    assert found.is_spread or found.shown_share >= min(0.2, drawn) - 1e-9


def test_units_without_a_place_of_their_own_are_bundled():
    rng = np.random.default_rng(0)
    between = {(0, 1): 1 + rng.random((4, 2)), (1, 2): np.ones((1, 4))}
    graph = flowing(["input", "attn", "output"], [np.ones(2), np.array([1.0, -2, 3, -4]), np.ones(1)], between, 1.0)
    attn = replace(
        graph.layers[1], kind="heads", numbers=np.array([7, 3, -1, -2]), counts=np.array([1, 1, 5, 1]),
        every_share=np.full(8, 0.125),
    )  # fmt: skip
    graph = replace(graph, layers=(graph.layers[0], attn, graph.layers[2]))
    found = shown(graph, drawn=1.0)
    nodes = {node.label: node for node in found.of_layer("attn")}
    assert set(nodes) == {"attn head 7", "attn head 3", "5 others for", "1 other against"}
    assert (nodes["attn head 7"].unit, nodes["attn head 3"].contribution) == (7, -2.0)
    assert found.n_units == (2, 8, 1) and found.shown_share < 1


@pytest.mark.parametrize(
    ("options", "message"), [({"n_units": 0}, "n_units=0"), ({"drawn": 0.0}, "drawn=0.0"), ({"drawn": 50}, "drawn=50")]
)
def test_what_selects_nothing_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        shown(random_graph(1, 3), **options)


def test_a_layer_that_nothing_passes_is_empty():
    between = {(0, 1): np.zeros((12, 4)), (1, 2): np.zeros((1, 12))}
    names, units = ["input", "fc", "output"], [np.zeros(4), np.zeros(12), np.ones(1)]
    found = shown(flowing(names, units, between, 1.0))
    assert found.of_layer("fc") == [] and found.edges == () and found.shown_share == 0
    assert found.absorbed_share == 1 and found.is_spread
