"""The flow between units in one line, against the links that it is taken from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.paths import flow_matrix
from lightning_explain.paths.drawn_flow import DrawnFlow, flow_to_inputs
from lightning_explain.paths.flow_matrix import DENSE, FlowMatrix
from tests.paths.graphs import graphs, random_graph, with_bundles


@given(graph=graphs, dense=st.sampled_from([0, DENSE]), seed=st.integers(0, 99))
def test_rows_and_columns_are_those_of_the_links(graph, dense, seed):
    flow = flow_to_inputs(graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_matrix, "DENSE", dense)
        matrix = FlowMatrix(flow)
        units = [matrix.unit(number) for number in range(len(matrix))]
        assert [matrix.number(unit) for unit in units] == list(range(len(matrix)))
        chosen = np.flatnonzero(np.random.default_rng(seed).random(len(matrix)) < 0.6)
        found, onward = matrix.shares(chosen), matrix.onward(chosen, chosen)
    links = {(link.target, link.source): link.share for link in flow.links}
    for row, target in enumerate(chosen):
        (layer, unit), flow_of_unit = units[target], flow.layers[units[target][0]].share[units[target][1]]
        for column, (below, source) in enumerate(units):
            expected = links[layer, below][unit, source] if (layer, below) in links else 0.0
            assert found[row, column] == expected
            if column in chosen:
                share = onward[row, list(chosen).index(column)]
                assert share == pytest.approx(expected / flow_of_unit if flow_of_unit > 0 else 0.0)


@given(graph=graphs, dense=st.sampled_from([0, DENSE]))
def test_the_flow_along_some_units_is_that_between_them(graph, dense):
    flow = flow_to_inputs(graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_matrix, "DENSE", dense)
        matrix = FlowMatrix(flow)
        chosen = np.unique([0, *range(1, len(matrix), 2), len(matrix) - 1])
        drawn = matrix.drawn(chosen)
    expected = DrawnFlow.between(flow, [matrix.unit(number) for number in chosen.tolist()])
    assert (drawn.shares == expected.shares).all() and (drawn.is_input == expected.is_input).all()
    assert drawn.share == pytest.approx(expected.share) and np.allclose(drawn.through(), expected.through())


def test_bundles_are_no_single_units_and_inputs_are_marked():
    matrix = FlowMatrix(flow_to_inputs(with_bundles(random_graph(1, 3, 5), 1, 2)))
    assert matrix.is_single.tolist() == [1, 1, 1, 1, 1, 0, 1] and matrix.is_input.tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert matrix.layers.tolist() == [0, 0, 0, 1, 1, 1, 2]
