"""The ranking of units against a slow one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.paths import ranking
from lightning_explain.paths.contribution_graph import ContributionGraph
from tests.paths.graphs import graphs


def slow_ranking(graph: ContributionGraph, n_units: int) -> list[tuple[tuple[int, int], float]]:
    """Look through all units each time."""
    last = len(graph.layers) - 1
    reached = {(last, 0): 1.0}
    order: list[tuple[tuple[int, int], float]] = []
    while reached and len(order) < n_units:
        unit = max(reached, key=reached.__getitem__)
        order.append((unit, reached.pop(unit)))
        done = {ranked for ranked, _ in order}
        for link in graph.into(unit[0]):
            for source in range(link.share.shape[1]):
                share = link.share[unit[1], source]
                if share > 0 and (link.source, source) not in done:
                    reached[link.source, source] = reached.get((link.source, source), 0.0) + share
    return order


@settings(max_examples=150)
@given(graph=graphs, n_units=st.integers(1, 25))
def test_the_ranking_equals_a_slow_one(graph, n_units):
    found = ranking(graph, n_units)
    expected = slow_ranking(graph, n_units)
    assert [ranked.unit for ranked in found] == [unit for unit, _ in expected]
    assert [ranked.share for ranked in found] == pytest.approx([share for _, share in expected])
    assert [ranked.rank for ranked in found] == list(range(len(found)))
    for ranked in found:
        assert ranked.contribution == graph.layers[ranked.unit[0]].contribution[ranked.unit[1]]
