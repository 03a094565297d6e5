"""The scene of a path graph: widths and colours."""

import pytest

from lightning_explain.paths import PathGraph, path_graph
from lightning_explain.render.paths import InputPicture
from lightning_explain.render.paths.scene import scene_of
from tests.paths.graphs import random_graph
from tests.render.paths.drawing import draw, is_blue, is_red


def thickness_of(found: PathGraph, source: str, target: str) -> int:
    """Rows of ink right of a node, on the way to another."""
    scene = scene_of(found, InputPicture(), None)
    picture = draw(found)[-(scene.layout.height + 20 + 8) :, 8:]
    (x0, y0), (x1, y1) = scene.layout.places[source], scene.layout.places[target]
    column = picture[:, (x0 + x1) // 2]
    middle = (y0 + y1) // 2
    return int((is_red(column) | is_blue(column))[middle - 12 : middle + 12].sum())


def test_a_wider_line_has_a_larger_share():
    found = path_graph(random_graph(5, 2), input_names=[["a", "b"]], drawn=1.0)
    (top, bottom) = sorted(found.edges, key=lambda edge: edge.source.unit or 0)
    shares = {top.source.id: top.share, bottom.source.id: bottom.share}
    stronger, weaker = sorted(shares, key=shares.__getitem__, reverse=True)
    thick, thin = (thickness_of(found, node, "output:0") for node in (stronger, weaker))
    assert thick > thin
    # in proportion, to the pixel
    assert thin / thick == pytest.approx(shares[weaker] / shares[stronger], abs=0.25)
