"""The share along given units and edges, against enumeration of all paths."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.paths.contribution_graph import ContributionGraph
from lightning_explain.paths.drawn_flow import DrawnFlow, flow_to_inputs
from tests.paths.graphs import all_paths, graphs


def share_of_paths(graph: ContributionGraph, units: set, threshold: float = 0.0) -> float:
    """Share of what reaches the inputs along paths whose units are among these and whose edges are strong enough."""
    paths = all_paths(graph)
    shares = {(link.target, link.source): link.share for link in graph.links}

    def is_drawn(path: tuple) -> bool:
        return set(path) <= units and all(
            shares[above[0], below[0]][above[1], below[1]] >= threshold for above, below in pairwise(path)
        )

    total = sum(paths.values())
    return sum(share for path, share in paths.items() if is_drawn(path)) / total if total else 0.0


@given(graph=graphs, seed=st.integers(0, 100))
def test_the_drawn_share_is_that_of_the_paths_along_units_and_edges_drawn(graph, seed):
    rng = np.random.default_rng(seed)
    flow = flow_to_inputs(graph)
    last = len(graph.layers) - 1
    units = [
        (n, u) for n, layer in enumerate(graph.layers) for u in range(len(layer)) if n == last or rng.random() < 0.7
    ]
    threshold = float(rng.choice([0.0, 0.02, 0.1]))
    drawn = DrawnFlow.between(flow, units)
    assert drawn.above(threshold).share == pytest.approx(share_of_paths(flow, set(units), threshold), abs=1e-9)
    through = drawn.through()
    for place, unit in enumerate(units[:-1]):
        without = share_of_paths(flow, set(units) - {unit})
        assert drawn.share - through[place] == pytest.approx(without, abs=1e-9)
        kept = [other for other in range(len(units)) if other != place]
        assert drawn.only(kept).share == pytest.approx(without, abs=1e-9)


@given(graph=graphs)
def test_without_biases_all_of_the_flow_reaches_the_inputs(graph):
    flow = flow_to_inputs(graph)
    before, after = all_paths(graph), all_paths(flow)
    total = sum(before.values())
    if total == 0:
        assert all(not layer.share.any() for layer in flow.layers)
        return
    assert flow.absorbed_share == pytest.approx(0, abs=1e-9)
    for path, share in before.items():
        assert after.get(path, 0.0) == pytest.approx(share / total, abs=1e-9)
    for mine, given_layer in zip(flow.layers, graph.layers, strict=True):
        assert mine.contribution is given_layer.contribution


@given(graph=graphs)
def test_no_units_draw_nothing(graph):
    drawn = DrawnFlow.between(flow_to_inputs(graph), [])
    assert drawn.onward.shape == drawn.shares.shape == (0, 0)
    assert drawn.is_input.shape == (0,)
