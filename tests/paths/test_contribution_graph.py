"""Shares of flow, layers taken out, and the mean of graphs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.paths import contributions, mean_graph
from lightning_explain.paths.coarser import only_layers, without_layer
from lightning_explain.paths.contribution_graph import FOR, UnitLayer, effective_units
from tests.paths.graphs import all_paths, flowing, graphs, random_graph
from tests.paths.nets import Residual, assert_conserved, lenet, mlp, seeded


@settings(max_examples=100)
@given(graph=graphs)
def test_all_ways_and_biases_make_up_the_decision(graph):
    assert sum(all_paths(graph).values()) + graph.absorbed_share == pytest.approx(1)
    for layer in graph.layers:
        assert (layer.share >= 0).all()
        assert layer.share.sum() <= 1 + 1e-9 or any(link.source == 0 and link.target == 2 for link in graph.links)


def test_effective_units():
    graph = random_graph(2, 6, 4)
    shares = graph.layers[1].share / graph.layers[1].share.sum()
    assert effective_units(graph.layers[1]) == pytest.approx(float(np.prod(shares**-shares)))
    one = flowing(["input", "output"], [np.ones(3), np.ones(1)], {(0, 1): np.array([[0.0, 2.0, 0.0]])}, 1.0)
    assert effective_units(one.layers[0]) == pytest.approx(1)


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_layer_of_a_residual_branch_can_be_taken_out(gone):
    seeded()
    found = contributions(Residual().double(), torch.randn(3, 4, dtype=torch.double), 1)
    for sample in range(3):
        graph = found[sample]
        less = without_layer(graph, gone)
        kept = [layer for index, layer in enumerate(graph.layers) if index != gone]
        for place, (layer, before) in enumerate(zip(less.layers, kept, strict=True)):
            np.testing.assert_allclose(layer.share, before.share)
            if layer.name == "output":
                continue
            upwards = [link for link in less.links if link.source == place]
            np.testing.assert_allclose(sum(link.share.sum(0) for link in upwards), before.share, atol=1e-12)
            sent = sum(link.contribution.sum(0) for link in upwards)
            np.testing.assert_allclose(sent, before.contribution, atol=1e-9)
        ends = [(link.source, link.target) for link in less.links]
        assert len(set(ends)) == len(ends)


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), place=st.integers(1, 3))
def test_taking_out_a_layer_changes_no_other(seed, place):
    seeded(seed)
    net = mlp(3, 5, 4, 6, 2)
    graph = contributions(net, torch.randn(1, 3, dtype=torch.double), 0)[0]
    less = without_layer(graph, place)
    kept = [layer for index, layer in enumerate(graph.layers) if index != place]
    assert [layer.name for layer in less.layers] == [layer.name for layer in kept]
    for layer, before in zip(less.layers, kept, strict=True):
        np.testing.assert_allclose(layer.contribution, before.contribution)
        np.testing.assert_allclose(layer.share, before.share)
    assert_conserved(less, 1e-6)
    for link in less.links:
        # flow into each unit's edges is what leaves it towards the inputs
        np.testing.assert_allclose(link.share.sum(0), less.layers[link.source].share, atol=1e-12)
        np.testing.assert_allclose(link.contribution.sum(), less.layers[link.source].contribution.sum(), atol=1e-9)


def test_the_mean_of_graphs():
    net, x, target = lenet()
    found = contributions(net, x, target)
    graphs = [found[sample] for sample in range(3)]
    mean = mean_graph(graphs)
    assert mean.output == pytest.approx(np.mean([graph.output for graph in graphs]))
    for place, link in enumerate(mean.links):
        np.testing.assert_allclose(link.contribution, sum(g.links[place].contribution for g in graphs) / 3)
        np.testing.assert_allclose(link.share, sum(g.links[place].share for g in graphs) / 3)
    assert_conserved(mean, 1e-5)


def test_flow_is_divided_by_the_sizes_of_what_came_and_of_the_bias():
    # the output of 2 came as 3 and -2 from the units, and as 1 from the bias
    graph = flowing(["input", "output"], [np.array([3.0, -2.0]), np.array([2.0])], {(0, 1): np.array([[3.0, -2.0]])}, 2)
    assert graph.layers[0].share.tolist() == pytest.approx([1 / 2, 1 / 3])
    assert graph.layers[1].absorbed.tolist() == [1.0] and graph.absorbed_share == pytest.approx(1 / 6)
    assert graph.inputs == [0] and graph.into(1) == list(graph.links) and graph.into(0) == []


def test_only_hidden_layers_are_taken_out():
    graph = random_graph(4, 3, 4, 5)
    assert [layer.name for layer in only_layers(graph, ["fc2"]).layers] == ["input", "fc2", "output"]
    assert [layer.name for layer in only_layers(graph, []).layers] == ["input", "output"]
    assert only_layers(graph, ["fc1", "fc2"]) is graph


def test_layers_of_several_inputs_are_told_by_their_name():
    none = np.zeros(1)
    names = ["input", "input 1", "inputs", "input_norm", "output"]
    is_input = [UnitLayer(name, none, none, none).is_input for name in names]
    assert is_input == [True, True, False, False, False]


def test_places_are_named_by_the_numbers_of_their_units():
    values = np.zeros(3)
    layer = UnitLayer(
        "attn", values, values, values, "heads", numbers=np.array([7, 2, FOR]), counts=np.array([1, 1, 5])
    )
    assert [layer.number_of(place) for place in range(3)] == [7, 2, FOR]
    assert [layer.bundled(place) for place in range(3)] == [1, 1, 5]
    assert layer.is_single.tolist() == [True, True, False]
    assert layer.unit_name(7) == "head 7"
