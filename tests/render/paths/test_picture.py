"""The path picture: what it shows, in which colour."""

from dataclasses import replace

import numpy as np

from lightning_explain.paths import PathGraph, path_graph
from lightning_explain.render.sheet import BLUE, RED, sign_colour
from tests.paths.graphs import random_graph
from tests.render.paths.drawing import draw, graph, is_blue, is_red


def test_it_fits_a_card_and_has_few_colours():
    picture = draw(graph())
    assert picture.shape[1] <= 800 and 200 < picture.shape[0] < 520
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 32
    assert is_red(picture).sum() > 300 and is_blue(picture).sum() > 300


def only(found: PathGraph, sign: int) -> PathGraph:
    """The graph with all contributions of one sign."""
    nodes = {n.id: replace(n, contribution=sign * abs(n.contribution)) for n in found.nodes}
    edges = tuple(
        replace(e, source=nodes[e.source.id], target=nodes[e.target.id], contribution=sign * abs(e.contribution))
        for e in found.edges
    )
    return replace(found, nodes=tuple(nodes.values()), edges=edges)


def test_red_speaks_for_and_blue_against():
    found = graph()
    assert is_blue(draw(only(found, 1))).sum() == 0 < is_red(draw(only(found, 1))).sum()
    assert is_red(draw(only(found, -1))).sum() == 0 < is_blue(draw(only(found, -1))).sum()
    assert sign_colour(2.0) == RED and sign_colour(-0.1) == BLUE and sign_colour(0.0) not in (RED, BLUE)


def test_a_graph_without_flow_is_drawn():
    whole = random_graph(1, 3, 4)
    silent = replace(path_graph(whole, input_names=[["a", "b", "c"]]), edges=(), nodes=tuple(graph(1, 3, 4).nodes))
    assert draw(silent).std() > 5
