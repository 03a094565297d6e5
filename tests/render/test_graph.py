"""A graph as a picture: nodes apart, neighbours near, colours and lines in their places."""

import numpy as np
import pytest

from lightning_explain.render.graph import places_of


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
