"""Layers in columns, and the same place for the same unit."""

import numpy as np

from lightning_explain.render.paths.node_places import ROW, TOP, laid_out, sticky_slots
from lightning_explain.render.paths.scene import RADIUS
from tests.render.paths.drawing import graph


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
