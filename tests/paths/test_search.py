"""The search against enumeration of all paths; shares along edges against sums."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths import contributions, ranking, top_paths
from lightning_explain.paths.contribution_graph import effective_units
from lightning_explain.paths.search import remaining
from tests.paths import brute
from tests.paths.graphs import all_paths, flowing, graphs, random_graph, with_bundles
from tests.paths.nets import Residual, mlp, seeded


@settings(max_examples=150)
@given(graph=graphs, k=st.integers(1, 40))
def test_the_strongest_paths_equal_brute_force(graph, k):
    every = all_paths(graph)
    searched = top_paths(graph, k)
    expected = sorted(every.values(), reverse=True)[:k]
    assert [path.share for path in searched.paths] == pytest.approx(expected)
    assert len({path.units for path in searched.paths}) == len(expected)
    for path in searched.paths:
        assert every[path.units] == pytest.approx(path.share)
    # nothing is expanded but prefixes of what is found
    assert searched.n_pops <= max(1, k * len(graph.layers))


@settings(max_examples=20)
@given(seed=st.integers(0, 100_000), k=st.integers(1, 20))
def test_the_strongest_paths_of_a_net_equal_loops_over_it(seed, k):
    seeded(seed)
    net, x = mlp(3, 4, 5, 2), torch.randn(1, 3, dtype=torch.double)
    _, messages, biases = brute.mlp(x[0].numpy(), brute.as_layers(net), 1)
    expected = brute.flow_paths(messages, biases, 1)
    searched = top_paths(contributions(net, x, 1, rules=None)[0], k)
    wanted = sorted(expected.values(), reverse=True)[: len(searched.paths)]
    assert [path.share for path in searched.paths] == pytest.approx(wanted, rel=1e-3, abs=1e-9)
    for path in searched.paths:
        units = tuple(unit for _, unit in path.units[1:])
        assert expected[units] == pytest.approx(path.share, rel=1e-3, abs=1e-9)


@settings(max_examples=60)
@given(graph=graphs)
def test_the_bound_is_attained_and_never_too_low(graph):
    best = remaining(graph)
    every = all_paths(graph)
    for place, layer in enumerate(graph.layers):
        for unit in range(len(layer)):
            through = [
                share / np.prod([1.0, *_prefix_shares(graph, units, place)])
                for units, share in every.items()
                if (place, unit) in units
            ]
            if through:
                assert best[place][unit] == pytest.approx(max(through))


def _prefix_shares(graph, units, place):
    """What each step of a path keeps, down to a layer."""
    shares = []
    for (above, j), (below, i) in pairwise(units):
        if above <= place:
            break
        link = next(link for link in graph.links if (link.source, link.target) == (below, above))
        shares.append(link.share[j, i] / graph.layers[above].share[j])
    return shares


def test_equal_paths_do_not_run_away():
    # 20 ** 5 paths, all alike
    sizes = (20, 20, 20, 20, 20, 1)
    between = {(k, k + 1): np.ones((sizes[k + 1], sizes[k])) for k in range(5)}
    names = ["input", "a", "b", "c", "d", "output"]
    graph = flowing(names, [np.ones(size) for size in sizes], between, 20.0)
    searched = top_paths(graph, 10)
    assert len(searched.paths) == 10
    assert searched.n_pops <= 60


@pytest.mark.parametrize("search", [top_paths, ranking])
def test_a_search_for_nothing_is_refused(search):
    with pytest.raises(ConfigurationError, match="expected at least 1"):
        search(random_graph(3, 5, 5, 5), 0)


def test_a_graph_without_flow_has_no_paths():
    graph = flowing(["input", "output"], [np.zeros(2), np.zeros(1)], {(0, 1): np.zeros((1, 2))}, 0.0)
    searched = top_paths(graph)
    assert searched.paths == ()
    assert len(ranking(graph)) == 1
    assert np.isnan(effective_units(graph.layers[0]))


def test_paths_go_round_a_residual_branch():
    seeded()
    graph = contributions(Residual().double(), torch.randn(1, 4, dtype=torch.double), 1)[0]
    every = all_paths(graph)
    assert {len(units) for units in every} == {3, 5}  # straight from the stem, and through the branch
    searched = top_paths(graph, 50)
    assert [path.share for path in searched.paths] == pytest.approx(sorted(every.values(), reverse=True)[:50])


def test_a_wide_net_needs_few_pops():
    seeded()
    net = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
        nn.Linear(512, 10),
    )  # fmt: skip
    searched = top_paths(contributions(net, torch.rand(1, 784), 3)[0], 10)
    assert len(searched.paths) == 10
    assert searched.n_pops <= 50


@settings(max_examples=80)
@given(seed=st.integers(0, 10_000), skip=st.booleans(), place=st.sampled_from([1, 2]), kept=st.integers(0, 3))
def test_paths_avoid_bundles_and_no_other_path_carries_more_than_stated(seed, skip, place, kept):
    graph = random_graph(seed, 3, 5, 5, skip=skip)
    bundled = with_bundles(graph, place, kept)
    every = all_paths(graph)
    through = {units: share for units, share in every.items() if any(p == place and u >= kept for p, u in units)}
    searched = top_paths(bundled, 200)
    outside = sorted(share for units, share in every.items() if units not in through)
    assert sorted(path.share for path in searched.paths) == pytest.approx(outside)
    assert max(through.values(), default=0.0) <= searched.others_at_most + 1e-12
    assert searched.others_at_most <= bundled.layers[place].share[-1] + 1e-12
    assert all(bundled.layers[layer].is_single[unit] for layer, unit in (r.unit for r in ranking(bundled, 50)))
    assert effective_units(bundled.layers[place]) == pytest.approx(effective_units(graph.layers[place]), nan_ok=True)
    assert top_paths(graph, 5).others_at_most == 0
