"""The event for the Explain tab: everything that is drawn, in few bytes."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.callbacks.paths.tab import SIDE, tab_event, tab_graph
from lightning_explain.display import Display
from lightning_explain.paths import path_graph
from lightning_explain.render.paths import InputPicture
from lightning_explain.report.path_graphs import graph_of
from tests.callbacks.paths.small_explanations import explained, net, options, small_probe
from tests.paths.graphs import random_graph


def test_rows_hold_every_node_and_edge_that_is_drawn_and_those_that_a_slider_brings_back() -> None:
    graph = path_graph(random_graph(5, 9, 9, zeros=0.0), input_names=[[f"x{k}" for k in range(9)]], n_units=5)
    found = tab_graph(graph, InputPicture())
    read = graph_of(found)
    assert [node.label for node in read.nodes] == [node.label for node in graph.nodes]
    assert [node.share for node in read.nodes] == pytest.approx([node.share for node in graph.nodes], rel=5e-3)
    singles = [edge for edge in graph.edges if edge.is_single]
    assert len(found["edges"]) == len(singles) + len(graph.hidden_edges) > len(singles)
    assert {edge.way for edge in read.edges} == {edge.ends for edge in singles}
    assert found["edges"][0][2] >= graph.threshold * 0.995 > found["edges"][-1][2]
    assert [column["name"] for column in found["columns"]] == [block.name for block in graph.blocks]
    assert sum(column["n_units"] for column in found["columns"]) == 9 + 9 + 1


def test_ranked_units_come_without_edges() -> None:
    whole = random_graph(2, 60, 200, 200, zeros=0.0)
    found = tab_graph(path_graph(whole, input_names=[[""] * 60]), InputPicture())
    assert found["is_spread"] and found["edges"] == [] and len(found["nodes"]) == 3 * 14 + 1


def test_a_graph_of_a_hundred_edges_takes_few_bytes() -> None:
    whole = random_graph(5, 30, 30, zeros=0.0)
    found = tab_graph(
        path_graph(whole, input_names=[[f"row {k}-{k + 3}, column 4-7" for k in range(30)]]), InputPicture()
    )
    assert len(found["edges"]) > 100 and len(json.dumps(found, separators=(",", ":"))) < 5500


def test_images_come_with_the_places_of_their_patches() -> None:
    pixels = torch.rand(6, 1, 2 * SIDE, SIDE)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * SIDE * SIDE, 2))
    probe = small_probe(inputs=pixels, feature_names=())
    header, images = tab_event(explained(model, probe), probe, "class")
    assert header["tile"] == [SIDE, SIDE // 2] and images is not None and images.shape == (SIDE, SIDE, 3)
    cat, dog = header["graphs"]
    assert (cat["tile"], dog["tile"]) == (0, 1)
    mean = pixels[[0, 2], 0].mean(0)
    # light where the mean image is light, after it was averaged down
    small = nn.functional.avg_pool2d(mean[None], 2)[0].numpy()
    assert np.corrcoef(images[:, : SIDE // 2, 0].flatten(), small.flatten())[0, 1] > 0.98
    units = {str(node[1]) for node in cat["nodes"] if node[0] == 0 and node[1] >= 0}
    assert set(cat["boxes"]) == units and all(0 <= side <= 1 for box in cat["boxes"].values() for side in box)


def test_features_have_values_and_tokens_their_words() -> None:
    header, images = tab_event(explained(), small_probe(), "class")
    labels = [node[2] for node in header["graphs"][0]["nodes"] if node[0] == 0 and node[1] >= 0]
    assert images is None and all(label[0] in "abc" and ": " in label for label in labels)
    probe = small_probe(display=Display(form="table"))
    found = explained(net(), probe, options(show="sample"))
    (_, sample, *_) = tab_event(found, probe, "sample")[0]["graphs"]
    assert sample["sample"] == 0 and sample["title"] == "sample 0"
