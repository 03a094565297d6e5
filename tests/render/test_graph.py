"""A graph as a picture: nodes apart, neighbours near, colours and lines in their places."""

import itertools

import numpy as np
import pytest
import torch

from lightning_explain.render.colour import signed_colours
from lightning_explain.render.graph import FEW_NODES, MARGIN, SIDE, graph_picture, places_of


@pytest.mark.parametrize("n", [1, 2, 3, 8, 40])
def test_nodes_are_apart_and_neighbours_are_near(n: int) -> None:
    edges = [(i // 2, i) for i in range(1, n)]
    places = np.array(places_of(n, edges))
    assert (places >= -1e-9).all() and (places <= 1 + 1e-9).all()
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(n)
    assert distances.min() > 0.01
    if n > 3:
        linked = np.array([distances[edge] for edge in edges])
        assert linked.mean() < distances[np.triu_indices(n, 1)].mean()
    assert places_of(n, edges) == places_of(n, edges)


def test_a_chain_is_a_line_from_the_left_with_its_middle_in_the_middle() -> None:
    places = places_of(3, [(0, 1), (1, 2)])
    np.testing.assert_allclose([x for x, _ in places], [0, 0.5, 1], atol=0.02)
    assert places_of(0, []) == [] and len(places_of(1, [])) == 1


def at(place: tuple[float, float]) -> tuple[int, int]:
    """Row and column of a place in the unit square."""
    x, y = (MARGIN + part * (SIDE - 2 * MARGIN) for part in place)
    return round(y), round(x)


def test_nodes_have_their_colours_and_edges_are_lines_between_them() -> None:
    values, edges = torch.tensor([1.0, 0.0, -1.0]), [(0, 1), (1, 2)]
    places = places_of(3, edges)
    found = graph_picture(["", "", ""], edges, values, 1.0)
    for place, colour in zip(places, signed_colours(values, 1.0), strict=True):
        assert found[at(place)].tolist() == colour.tolist()
    halfway = [at(((x0 + x1) / 2, (y0 + y1) / 2)) for (x0, y0), (x1, y1) in itertools.pairwise(places)]
    assert all(found[row - 1 : row + 2, column].min() < 230 for row, column in halfway)
    bare = graph_picture(["", "", ""], [(0, 2)], values, 1.0)
    first, last = (places_of(3, [(0, 2)])[node] for node in (0, 1))
    row, column = at(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2))
    assert bare[row, column].tolist() == [255] * 3  # nothing between nodes that are not connected


def test_only_nodes_of_small_graphs_are_lettered() -> None:
    for n, is_lettered in ((FEW_NODES, True), (FEW_NODES + 1, False)):
        edges = [(i, i + 1) for i in range(n - 1)]
        with_names, without = (graph_picture([name] * n, edges, torch.zeros(n), 1.0) for name in ("W", ""))
        assert bool((with_names != without).any()) == is_lettered
