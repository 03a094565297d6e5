"""Pages of signed maps."""

import numpy as np
import pytest
import torch

from lightning_explain.render.map_pages import CELL, FilmRow, class_map_page, largest_scale, map_film

RED, BLUE = (103, 0, 31), (5, 48, 97)


def area(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int(np.all(np.abs(picture.astype(int) - colour) < 12, axis=2).sum())


def test_a_film_has_a_row_for_each_name_and_a_column_for_each_moment() -> None:
    ones = torch.ones(4, 4)
    one = map_film("title", ["start"], [FilmRow("a", [ones], 1.0)])
    rows = map_film("title", ["start"], [FilmRow("a", [ones], 1.0), FilmRow("b", [-ones], 1.0)])
    columns = map_film("title", ["start", "10", "20"], [FilmRow("a", [ones, None, ones], 1.0)])
    bar = area(one, RED) - CELL**2  # the colour bar ends in the same colours
    assert rows.shape[0] == one.shape[0] + CELL + 2 + 4
    assert area(rows, BLUE) == pytest.approx(CELL**2, abs=2 * CELL)
    # two maps, and nothing where there is none
    assert area(columns, RED) - bar == pytest.approx(2 * CELL**2, abs=2 * CELL)


def test_columns_stand_under_their_names_whatever_the_size_of_a_map() -> None:
    names = [str(i) for i in range(9)]
    wide = [map_film("t", names, [FilmRow("a", [torch.ones(side, side)] * 9, 1.0)]).shape for side in (4, 12, 17, 31)]
    assert len(set(wide)) == 1
    last = map_film("t", names, [FilmRow("a", [*[None] * 8, torch.ones(12, 12)], 1.0)])
    full = map_film("t", names, [FilmRow("a", [torch.ones(12, 12)] * 9, 1.0)])
    ends = [np.flatnonzero(np.all(page[-80:] == RED, axis=2).any(0)).max() for page in (last, full)]
    assert ends[0] == ends[1]


def test_maps_of_a_row_are_drawn_on_its_scale() -> None:
    strong, weak = (map_film("t", ["1"], [FilmRow("a", [torch.ones(4, 4)], scale)]) for scale in (1.0, 4.0))
    assert area(strong, RED) > area(weak, RED) + CELL**2 / 2


def test_a_time_series_is_a_strip() -> None:
    values = torch.tensor([1.0, 1.0, -1.0, -1.0])
    picture = map_film("t", ["1"], [FilmRow("a", [values], 1.0)])
    assert area(picture, RED) > CELL * CELL / 8
    assert area(picture, BLUE) > CELL * CELL / 8


def test_several_maps_share_the_largest_scale() -> None:
    maps = [torch.full((3, 3), value).half() for value in (0.5, -2.0)]
    assert largest_scale(maps) == pytest.approx(2.0, rel=0.01)


def test_a_page_is_as_wide_as_its_title_needs() -> None:
    body = np.zeros((10, 20, 3), dtype=np.uint8)
    assert class_map_page("words " * 30, body).shape[1] >= 420
