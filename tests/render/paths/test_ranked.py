"""Units ranked by their share, where no drawing carries much."""

from dataclasses import replace

import numpy as np

from lightning_explain.paths import path_graph
from lightning_explain.render.paths import InputPicture
from lightning_explain.render.paths.ranked import MOST_ROWS, first_ranked, ranked
from lightning_explain.render.paths.scene import scene_of
from tests.paths.graphs import random_graph
from tests.render.paths.drawing import draw, is_blue, is_red

WIDE = path_graph(random_graph(2, 60, 200, 200, zeros=0.0), input_names=[[f"x{k}" for k in range(60)]], n_units=5)


def test_the_largest_share_stands_first_with_the_longest_bar():
    assert WIDE.is_spread
    scene = scene_of(first_ranked(WIDE), InputPicture(), None)
    picture = draw(WIDE)
    body = picture[-(scene.layout.height + 20 + 8) :, 8:]
    coloured = is_red(body) | is_blue(body)
    for block in WIDE.blocks[:-1]:
        nodes = ranked(scene, block)
        shares = [node.share for node in nodes if node.unit is not None]
        assert len(shares) == 5 and shares == sorted(shares, reverse=True)
        assert len(nodes) == 5 <= MOST_ROWS
    left, right = (
        scene.layout.columns["fc2"] - scene.layout.step // 2,
        scene.layout.columns["fc2"] + scene.layout.step // 2,
    )
    bars = [coloured[50 + 26 * row + 13, left:right].sum() for row in range(5)]
    assert bars == sorted(bars, reverse=True) and bars[0] > bars[-1] > 0


def test_it_has_no_lines_and_outlines_the_patches_of_an_image():
    image = np.full((8, 8, 3), 90, dtype=np.uint8)
    boxes = [(y, x, 1, 1) for y in range(8) for x in range(8)]
    picture = draw(WIDE, shown=InputPicture(image, boxes))
    assert (np.abs(picture[:, :136] - 90).max(2) <= 6).sum() > 5000
    assert is_red(picture[:, :136]).sum() + is_blue(picture[:, :136]).sum() > 20
    unmarked = draw(replace(WIDE, edges=()))
    assert (draw(WIDE) == unmarked).all()  # edges are not drawn
