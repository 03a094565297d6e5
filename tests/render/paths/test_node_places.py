"""Blocks in columns, and the same place for the same unit."""

from dataclasses import replace

import numpy as np

from lightning_explain.paths import path_graph
from lightning_explain.render.paths.node_places import ROW, TOP, laid_out, sticky_slots
from lightning_explain.render.paths.scene import HALF
from tests.paths.graphs import random_graph
from tests.render.paths.drawing import graph


def test_layers_stand_in_columns_from_the_input_to_the_output():
    found = graph()
    layout = laid_out(found, sticky_slots(found, {}))
    columns = [layout.columns[block.name] for block in found.blocks]
    assert columns == sorted(columns) and len(set(columns)) == len(found.blocks) > 2
    assert set(layout.places) == {node.id for node in found.nodes}
    longest = max(len([n for n in found.nodes if n.layer in block.layers]) for block in found.blocks)
    assert layout.height == TOP + longest * ROW
    for layer in found.layers:
        heights = sorted(layout.places[node.id][1] for node in found.of_layer(layer))
        assert (np.diff(heights) > 2 * HALF).all()
        assert all(TOP < height < layout.height for height in heights)


def test_a_picture_is_as_high_as_its_longest_column_or_text():
    whole = random_graph(3, 40, 9, zeros=0.0)
    few, many = (path_graph(whole, input_names=[[""] * 40], n_units=n, drawn=0.9) for n in (4, 12))
    low, high = (laid_out(found, sticky_slots(found, {})).height for found in (few, many))
    assert low < high
    assert laid_out(few, sticky_slots(few, {}), n_input_rows=40).height == TOP + 40 * ROW


def test_a_unit_keeps_its_place_while_others_come_and_go():
    first = graph(1, 4, 6, 6)
    slots = sticky_slots(first, {})
    fewer = replace(first, nodes=tuple(node for node in first.nodes if node.id != "fc1:2"))
    later = sticky_slots(fewer, slots)
    places, before = (laid_out(g, s).places for g, s in ((fewer, later), (first, slots)))
    assert places == {node: place for node, place in before.items() if node in places}
    back = sticky_slots(first, later)
    assert laid_out(first, back).places == before
