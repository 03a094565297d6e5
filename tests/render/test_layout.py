"""Pictures beside and below each other, enlarged and averaged down."""

import numpy as np
import pytest

from lightning_explain.render.layout import below, beside, framed, grid, padded, resized
from tests.render.pictures import solid


def test_pictures_stand_beside_and_below_each_other_on_white() -> None:
    row = beside([solid(2, 3, 10), solid(4, 1, 20)], gap=2)
    assert row.shape == (4, 6, 3)
    assert row[..., 0].tolist() == [[10, 10, 10, 255, 255, 20]] * 2 + [[255] * 5 + [20]] * 2
    column = below([solid(1, 2, 10), solid(1, 3, 20)], gap=1)
    assert column[..., 0].tolist() == [[10, 10, 255], [255] * 3, [20] * 3]
    assert beside([solid(2, 3, 10)]).shape == below([solid(2, 3, 10)]).shape == (2, 3, 3)


def test_a_grid_fills_its_rows_in_order() -> None:
    found = grid([solid(1, 1, value) for value in (1, 2, 3)], 2, gap=0)
    assert found[..., 0].tolist() == [[1, 2], [3, 255]]


def test_padding_never_cuts() -> None:
    assert padded(solid(3, 3, 1), height=1, width=5).shape == (3, 5, 3)
    assert framed(solid(1, 1, 1), margin=2)[..., 0].tolist()[2] == [255, 255, 1, 255, 255]


@pytest.mark.parametrize("side", [1, 3, 8, 28, 32, 100])
def test_small_pictures_are_enlarged_by_whole_numbers(side: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    found = resized(picture)
    factor = found.shape[0] // side
    assert found.shape == (side * factor, side * factor, 3) and factor >= 1
    assert (found[::factor, ::factor] == picture).all()
    assert (found[factor - 1 :: factor, factor - 1 :: factor] == picture).all()


@pytest.mark.parametrize("shape", [(129, 129), (500, 40), (2, 3000)])
def test_large_pictures_are_averaged_down_keeping_their_form(shape: tuple[int, int]) -> None:
    found = resized(np.full((*shape, 3), 77, dtype=np.uint8))
    assert max(found.shape[:2]) == 128 and min(found.shape[:2]) == max(1, min(shape) * 128 // max(shape))
    assert (found == 77).all()
