"""The left side of a path picture: the image with its patches, names with values."""

from dataclasses import replace

import numpy as np

from lightning_explain.render.paths import InputPicture
from lightning_explain.render.paths.scene import scene_of
from tests.render.paths.drawing import draw, graph, is_blue, is_red


def test_the_image_and_its_patches_are_shown():
    found = graph(3, 16, 5)
    image = np.full((8, 8, 3), 90, dtype=np.uint8)
    image[:, 4:] = 200
    boxes = [(y, x, 2, 2) for y in range(0, 8, 2) for x in range(0, 8, 2)]
    picture = draw(found, shown=InputPicture(image, boxes))
    left = picture[:, : 8 + 128]
    for level in (90, 200):
        assert (np.abs(left - level).max(2) <= 6).sum() > 1500  # both halves, enlarged
    assert is_red(left).sum() + is_blue(left).sum() > 50  # outlines
    scene = scene_of(found, InputPicture(image, boxes), None)
    node = next(n for n in found.of_layer("input") if n.unit is not None)
    x, y = scene.layout.places[node.id]
    sheet = picture[-(scene.layout.height + 20 + 8) :, 8:]
    level = 200 if boxes[node.unit][1] >= 4 else 90
    assert np.abs(sheet[y, x] - level).max() <= 6  # a copy of its patch


def test_values_and_hostile_names_are_written():
    found = graph()
    hostile = tuple(
        replace(node, label="<b>\n" + "long " * 200 + "é✓") if node.layer == "input" else node for node in found.nodes
    )
    bare = draw(found)
    named = draw(replace(found, nodes=hostile), shown=InputPicture(values=["= 1.5"] * 4))
    assert named.shape == bare.shape
    assert (named != bare).any()
