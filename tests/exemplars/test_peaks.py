"""Positions of largest values, as one number each."""

import numpy as np
import pytest
import torch

from lightning_explain.exemplars.peaks import (
    as_places,
    joint_shape,
    peak_positions,
    peaks_of,
    positions_at,
    positions_of,
)
from lightning_explain.neurons.views import Units


@pytest.mark.parametrize("shape", [(), (7,), (5, 6), (2, 3, 4)])
@pytest.mark.parametrize("unit_dim", [1, -1])
def test_the_first_position_of_the_largest_value(shape: tuple[int, ...], unit_dim: int) -> None:
    torch.manual_seed(0)
    values = torch.randint(0, 4, (6, 3, *shape)).float()  # ties
    units = Units(values.movedim(1, unit_dim), unit_dim=unit_dim)
    found = peaks_of(units)
    assert positions_of(units) == shape
    flat = values.reshape(6, 3, -1)
    positions = positions_at(found.places, len(shape))
    rows, which = np.divmod(np.arange(6 * 3), 3)
    assert as_places(peak_positions(units, rows, which), shape).tolist() == found.places.flatten().tolist()
    halved = units._replace(values=units.values.bfloat16())
    assert as_places(peak_positions(halved, rows, which), shape).tolist() == peaks_of(halved).places.flatten().tolist()
    for row in range(6):
        for unit in range(3):
            of_unit = flat[row, unit].tolist()
            assert float(found.values[row, unit]) == max(of_unit)
            first = torch.unravel_index(torch.tensor(of_unit.index(max(of_unit))), shape) if shape else ()
            assert positions[row, unit].tolist() == [int(part) for part in first]


def test_padding_is_never_a_peak() -> None:
    values = torch.tensor([[[9.0], [1.0], [2.0]], [[5.0], [5.0], [5.0]]])
    valid = torch.tensor([[False, True, True], [False, False, False]])
    found = peaks_of(Units(values, valid))
    assert found.values.tolist() == [[2.0], [-torch.inf]] and found.places[0].tolist() == [2]
    assert peak_positions(Units(values, valid), np.zeros(1, int), np.zeros(1, int)).tolist() == [2]


def test_positions_do_not_depend_on_the_sizes_of_an_output() -> None:
    small, large = as_places(torch.tensor([7]), (2, 5)), as_places(torch.tensor([12]), (4, 10))
    assert positions_at(small, 2).tolist() == positions_at(large, 2).tolist() == [[1, 2]]
    assert joint_shape((1, 2), (1, 2, 3)) == () and joint_shape((1, 2, 3, 4), (1, 2, 3, 4)) == ()
    assert as_places(torch.tensor([7]), (2, 2, 2, 2)).tolist() == [0]
