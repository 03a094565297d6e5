"""The search against enumeration of all paths; the ranking against a slow one; shares along edges against sums."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths import contributions, path_change, path_graph, ranking, top_paths
from lightning_explain.paths.contribution_graph import ContributionGraph, effective_units, flowing
from lightning_explain.paths.search import remaining, share_along
from tests.paths import brute
from tests.paths.test_contributions import Residual, lenet, mlp, seeded


def random_graph(seed: int, *sizes: int, zeros: float = 0.2, skip: bool = False) -> ContributionGraph:
    """Random messages between random layers, some of them zero; with `skip`, also past a layer."""
    rng = np.random.default_rng(seed)

    def messages(n_target: int, n_source: int) -> np.ndarray:
        return rng.normal(size=(n_target, n_source)) * (rng.random((n_target, n_source)) > zeros)

    sizes = (*sizes, 1)
    between = {(k, k + 1): messages(sizes[k + 1], sizes[k]) for k in range(len(sizes) - 1)}
    if skip and len(sizes) > 2:
        between[0, 2] = messages(sizes[2], sizes[0])
    names = ["input", *(f"fc{k}" for k in range(1, len(sizes) - 1)), "output"]
    contributions = [rng.normal(size=size) for size in sizes]
    return flowing(names, contributions, between, float(contributions[-1][0]))


def all_paths(graph: ContributionGraph) -> dict[tuple[tuple[int, int], ...], float]:
    """Every path with its share, by walking the whole tree."""
    found = {}

    def walk(units, share):
        layer, unit = units[-1]
        if graph.layers[layer].is_input:
            found[units] = share
            return
        for link in graph.into(layer):
            for source in range(link.share.shape[1]):
                flow = graph.layers[layer].share[unit]
                if flow > 0 and link.share[unit, source] > 0:
                    walk((*units, (link.source, source)), share * link.share[unit, source] / flow)

    walk(((len(graph.layers) - 1, 0),), 1.0)
    return found


graphs = st.builds(
    lambda seed, sizes, zeros, skip: random_graph(seed, *sizes, zeros=zeros, skip=skip),
    st.integers(0, 100_000),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.3, 0.8]),
    st.booleans(),
)


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


@settings(max_examples=100)
@given(graph=graphs)
def test_all_ways_and_biases_make_up_the_decision(graph):
    assert sum(all_paths(graph).values()) + graph.absorbed_share == pytest.approx(1)
    for layer in graph.layers:
        assert (layer.share >= 0).all()
        assert layer.share.sum() <= 1 + 1e-9 or any(link.source == 0 and link.target == 2 for link in graph.links)


@settings(max_examples=60)
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


@settings(max_examples=100)
@given(graph=graphs, seed=st.integers(0, 1000))
def test_the_share_along_edges_is_that_of_the_paths_along_them(graph, seed):
    every = all_paths(graph)
    edges = sorted({(low, high) for units in every for high, low in pairwise(units)})
    rng = np.random.default_rng(seed)
    kept = {edge for edge in edges if rng.random() < 0.6}
    expected = sum(share for units, share in every.items() if all((low, high) in kept for high, low in pairwise(units)))
    assert share_along(graph, sorted(kept)) == pytest.approx(expected)
    assert share_along(graph, edges) == pytest.approx(sum(every.values()))


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


def test_a_graph_as_rows_and_as_json():
    import json

    net, x, target = lenet()
    found = contributions(net, x, target)
    graph = path_graph(found[0], input_names=[unit.names for unit in found.units], output_name="cat")
    rows = graph.to_rows()
    assert [row["share"] for row in rows] == sorted((row["share"] for row in rows), reverse=True)
    assert rows[0] == {
        "layer": "output", "unit": 0, "label": "cat", "contribution": graph.output, "share": 1.0, "rank": 0,
    }  # fmt: skip
    assert {row["source"] for row in graph.edge_rows()} <= {node.id for node in graph.nodes}
    plain = graph.to_json(title="class cat", class_name="cat")
    assert json.loads(json.dumps(plain)) == plain
    assert plain["nodes"][0]["layer"] == "input" and plain["nodes"][-1]["label"] == "cat"
    ids = [node["id"] for node in plain["nodes"]]
    assert len(set(ids)) == len(ids)
    order = {name: place for place, name in enumerate(graph.layers)}
    for edge in plain["edges"]:
        source, target_id = edge["source"].rsplit(":", 1)[0], edge["target"].rsplit(":", 1)[0]
        assert order[source] < order[target_id]
        assert set(edge) == {"source", "target", "share", "contribution"}
    assert 0 <= plain["shown_share"] <= 1


def test_paths_go_round_a_residual_branch():
    seeded()
    graph = contributions(Residual().double(), torch.randn(1, 4, dtype=torch.double), 1)[0]
    every = all_paths(graph)
    assert {len(units) for units in every} == {3, 5}  # straight from the stem, and through the branch
    searched = top_paths(graph, 50)
    assert [path.share for path in searched.paths] == pytest.approx(sorted(every.values(), reverse=True)[:50])


def test_change_of_edges():
    now, then = [("a", "b"), ("b", "c"), ("d", "c")], [("a", "b"), ("x", "c")]
    change = path_change(now, then)
    assert change.won == (("b", "c"), ("d", "c")) and change.lost == (("x", "c"),) and change.n_kept == 1
    assert change.turnover == pytest.approx(1 - 1 / 4)
    assert path_change(now, now).turnover == 0
    assert path_change([], []).turnover == 0
    assert path_change(now, []).turnover == 1


def test_effective_units():
    graph = random_graph(2, 6, 4)
    shares = graph.layers[1].share / graph.layers[1].share.sum()
    assert effective_units(graph.layers[1]) == pytest.approx(float(np.prod(shares**-shares)))
    one = flowing(["input", "output"], [np.ones(3), np.ones(1)], {(0, 1): np.array([[0.0, 2.0, 0.0]])}, 1.0)
    assert effective_units(one.layers[0]) == pytest.approx(1)


def test_a_wide_net_needs_few_pops():
    seeded()
    net = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
        nn.Linear(512, 10),
    )  # fmt: skip
    searched = top_paths(contributions(net, torch.rand(1, 784), 3)[0], 10)
    assert len(searched.paths) == 10
    assert searched.n_pops <= 50


def test_a_layer_that_nothing_passes_is_empty():
    between = {(0, 1): np.zeros((12, 4)), (1, 2): np.zeros((1, 12))}
    names, units = ["input", "fc", "output"], [np.zeros(4), np.zeros(12), np.ones(1)]
    found = shown(flowing(names, units, between, 1.0))
    assert found.of_layer("fc") == [] and found.edges == () and found.shown_share == 0
    assert found.absorbed_share == 1
