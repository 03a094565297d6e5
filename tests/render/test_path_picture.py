"""The path picture: what stands where, in which colour and width."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightning_explain.paths import PathGraph, path_graph
from lightning_explain.render.paths import InputPicture, path_picture
from lightning_explain.render.paths.node_places import ROW, TOP, laid_out, sticky_slots
from lightning_explain.render.paths.scene import RADIUS, scene_of
from lightning_explain.render.sheet import BLUE, RED, Sheet, few_colours, ink_on, pale, sign_colour
from lightning_explain.render.text import fitting
from tests.paths.graphs import random_graph


def graph(seed: int = 1, *sizes: int) -> PathGraph:
    whole = random_graph(seed, *(sizes or (4, 20, 6)))
    names = [[f"feature {unit}" for unit in range(len(whole.layers[0]))]]
    return path_graph(whole, input_names=names, output_name="cat")


def draw(found: PathGraph, **options: Any) -> Any:
    return path_picture(found, title="A title", output_lines=["cat", "score 1.2", "p 98 %"], **options).astype(int)


def is_red(picture: Any) -> Any:
    return (picture[..., 0] - picture[..., 2] > 60) & (picture[..., 0] > 150)


def is_blue(picture: Any) -> Any:
    return (picture[..., 2] - picture[..., 0] > 60) & (picture[..., 2] > 120)


def test_it_fits_a_card_and_has_few_colours():
    picture = draw(graph())
    assert picture.shape[1] <= 700 and 300 < picture.shape[0] < 520
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 256
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


def thickness_of(found: PathGraph, source: str, target: str) -> int:
    """Rows of ink right of a node, on the way to another."""
    scene = scene_of(found, InputPicture(), None, n_rows=8)
    picture = draw(found)[-(scene.layout.height + 16 + 8) :, 8:]
    (x0, y0), (x1, y1) = scene.layout.places[source], scene.layout.places[target]
    column = picture[:, (x0 + x1) // 2]
    middle = (y0 + y1) // 2
    return int((is_red(column) | is_blue(column))[middle - 12 : middle + 12].sum())


def test_a_wider_line_has_a_larger_share():
    found = graph(5, 2)
    (top, bottom) = sorted(found.edges, key=lambda edge: edge.source.unit or 0)
    shares = {top.source.id: top.share, bottom.source.id: bottom.share}
    stronger, weaker = sorted(shares, key=shares.__getitem__, reverse=True)
    thick, thin = (thickness_of(found, node, "output:0") for node in (stronger, weaker))
    assert thick > thin
    # in proportion, to the pixel
    assert thin / thick == pytest.approx(shares[weaker] / shares[stronger], abs=0.25)


def test_layers_stand_in_columns_from_the_input_to_the_output():
    found = graph()
    layout = laid_out(found, sticky_slots(found, {}), n_rows=8)
    columns = [layout.columns[layer] for layer in found.layers]
    assert columns == sorted(columns) and len(set(columns)) == 4
    assert set(layout.places) == {node.id for node in found.nodes}
    for layer in found.layers:
        heights = sorted(layout.places[node.id][1] for node in found.of_layer(layer))
        gaps = np.diff(heights)
        assert (gaps > 2 * RADIUS).all()
        assert all(TOP < height < TOP + 8 * ROW for height in heights)


def test_a_unit_keeps_its_place_while_others_come_and_go():
    first = graph(1, 4, 20, 6)
    slots = sticky_slots(first, {})
    for seed in range(2, 8):
        second = graph(seed, 4, 20, 6)
        later = sticky_slots(second, slots)
        places, before = (laid_out(g, s, n_rows=8).places for g, s in ((second, later), (first, slots)))
        shared = {n.id for n in first.nodes if n.unit is not None} & {n.id for n in second.nodes if n.unit is not None}
        assert shared
        for node in shared:
            assert places[node] == before[node]
        bundles = {node.label.split()[-1]: places[node.id] for node in second.nodes if node.unit is None}
        assert bundles.items() <= {
            node.label.split()[-1]: before[node.id] for node in first.nodes if node.unit is None
        }.items() or len(bundles) > len([n for n in first.nodes if n.unit is None])
        first, slots = second, later


def test_the_image_and_its_patches_are_shown():
    found = graph(3, 16, 5)
    image = np.full((8, 8, 3), 90, dtype=np.uint8)
    image[:, 4:] = 200
    boxes = [(y, x, 2, 2) for y in range(0, 8, 2) for x in range(0, 8, 2)]
    picture = draw(found, shown=InputPicture(image, boxes))
    left = picture[:, : 8 + 104]
    for level in (90, 200):
        assert (np.abs(left - level).max(2) <= 6).sum() > 1500  # both halves, enlarged
    assert is_red(left).sum() + is_blue(left).sum() > 50  # outlines
    scene = scene_of(found, InputPicture(image, boxes), None, n_rows=8)
    node = next(n for n in found.of_layer("input") if n.unit is not None)
    x, y = scene.layout.places[node.id]
    sheet = picture[-(scene.layout.height + 24) :, 8:]
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


def test_a_graph_without_flow_is_drawn():
    whole = random_graph(1, 3, 4)
    silent = replace(path_graph(whole, input_names=[["a", "b", "c"]]), edges=(), nodes=tuple(graph(1, 3, 4).nodes))
    assert draw(silent).std() > 5


def test_the_sheet():
    sheet = Sheet(40, 30)
    sheet.ribbon((0, 10), (40, 10), RED, 6)
    sheet.block(20, 22, (8, 4), BLUE, BLUE, 1)
    drawn = sheet.done().astype(int)
    assert drawn.shape == (30, 40, 3)
    assert is_red(drawn[:, 20]).sum() == pytest.approx(6, abs=1)
    assert is_blue(drawn[22]).sum() == pytest.approx(16, abs=1)
    sheet.write(20, 10, "word")
    assert (sheet.done() != drawn).any()
    assert ink_on((250, 250, 250)) != ink_on((10, 10, 10))
    assert pale(RED, 1.0) == RED and pale(RED, 0.0) == (255, 255, 255)
    assert fitting("a long name of a layer", 40, 11).endswith("…")
    noisy = np.random.default_rng(0).integers(0, 255, (50, 50, 3)).astype(np.uint8)
    assert len(np.unique(few_colours(noisy).reshape(-1, 3), axis=0)) <= 250
