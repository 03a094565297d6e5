"""Blocks that are drawn: as fine as carries enough, and ranked units where none does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.paths import drawing, selection
from lightning_explain.paths.drawn_flow import flow_to_inputs
from tests.paths.graphs import graphs, random_graph
from tests.paths.test_path_graph import shown


@settings(max_examples=40)
@given(graph=graphs, drawn=st.sampled_from([0.05, 0.3, 0.5, 0.9]), n_units=st.integers(1, 5), most=st.integers(1, 60))
def test_selections_that_a_bound_spares_would_not_have_been_drawn(graph, drawn, n_units, most):
    with pytest.MonkeyPatch.context() as patch:
        for module in (drawing, selection):
            patch.setattr(module, "MOST_EDGES", most)
        found = shown(graph, drawn=drawn, n_units=n_units)
        patch.setattr(drawing, "bound_of_edges", lambda graph: 1.0)
        assert found == shown(graph, drawn=drawn, n_units=n_units)


def test_layers_are_merged_as_far_as_it_takes_to_carry_the_stated_part():
    graph = random_graph(2, 5, 60, 20, zeros=0.0)
    fine, coarse = shown(graph, drawn=0.02, n_units=4), shown(graph, drawn=0.2, n_units=4)
    assert [block.name for block in fine.blocks] == ["input", "fc1", "fc2", "output"]
    assert [block.name for block in coarse.blocks] == ["input", "fc2", "output"]
    assert coarse.shown_share >= 0.2 > fine.shown_share and not coarse.is_spread
    kept = shown(graph, drawn=0.2, n_units=4, is_merged=False)
    assert kept.is_spread and [block.name for block in kept.blocks] == ["input", "fc1", "fc2", "output"]


def test_where_no_drawing_carries_a_fifth_the_units_that_carry_most_are_ranked():
    graph = random_graph(2, 100, 200, 200, zeros=0.0)
    found = shown(graph, n_units=5)
    assert found.is_spread and found.shown_share < 0.2
    flow = flow_to_inputs(graph)
    for layer in flow.layers[:-1]:
        singles = {node.unit for node in found.of_layer(layer.name) if node.unit is not None}
        assert singles == set(np.argsort(-layer.share)[:5].tolist())
