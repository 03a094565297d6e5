"""The frame of a picture: names in words, colour scales, the arrangement of cells."""

import numpy as np
import pytest
import torch

from lightning_explain.render.page_layout import (
    MIN_WIDTH,
    Panel,
    colour_scale,
    in_words,
    legend,
    legends,
    n_columns,
    titled,
)
from lightning_explain.render.text import text


def test_names_are_parted_at_capitals() -> None:
    assert in_words("SmoothGrad") == "Smooth Grad"
    assert in_words("LRP") == "LRP"
    assert in_words("GradCAM") == "Grad CAM"
    assert in_words("ours") == "ours"


def test_the_scale_is_the_quantile_of_all_maps_and_no_outlier() -> None:
    maps = torch.full((10, 10, 10), -2.0)
    maps[0, 0, 0] = 1000
    assert colour_scale(maps) == 2
    assert colour_scale(torch.zeros(1, 2, 2)) == 0


@pytest.mark.parametrize(
    ("n_cells", "labels", "most", "expected"),
    [
        (10, None, 8, 4),  # a block: the root of 10, rounded up
        (1, None, 8, 1),
        (100, None, 8, 8),
        (6, [0, 0, 0, 1, 1, 1], 8, 3),  # a row for each class
        (8, [0] * 4 + [1] * 4, 3, 2),  # two rows of two for each class: four do not fit, three do not go
        (6, [0, 0, 0, 0, 1, 1], 8, 3),  # not balanced: a block
        (4, [0, 1, 2, 3], 8, 2),  # one of each: a block
        (6, [0] * 6, 8, 3),
    ],
)
def test_a_class_has_rows_of_its_own_where_it_can(
    n_cells: int, labels: list[int] | None, most: int, expected: int
) -> None:
    assert n_columns(n_cells, None if labels is None else torch.tensor(labels), most) == expected


def test_methods_of_one_scale_share_a_legend_and_others_have_their_own() -> None:
    panels = [Panel(name=name, values=torch.zeros(1), scale=scale) for name, scale in (("a", 1.0), ("b", 1.0))]
    np.testing.assert_array_equal(legends(panels, "logits"), legend(1.0, "logits"))
    other = Panel(name="c", values=torch.zeros(1), scale=2.0)
    found, single = legends([*panels, other], "logits"), legend(1.0, "logits")
    assert len(found) == 2 * len(single) + 2
    name_width = found.shape[1] - max(single.shape[1], legend(2.0, "logits").shape[1])
    np.testing.assert_array_equal(found[: len(single), name_width : name_width + single.shape[1]], single)
    np.testing.assert_array_equal(found[: len(single), :name_width], text("a, b", width=name_width))


def test_a_narrow_picture_has_room_for_its_title() -> None:
    body = np.zeros((10, 5, 3), dtype=np.uint8)
    found = titled(body, "t", np.zeros((4, 7, 3), dtype=np.uint8))
    assert found.shape == (8 + 16 + 6 + 4 + 6 + 10 + 8, 8 + MIN_WIDTH + 8, 3)
    assert (found[-18:-8, 8:13] == 0).all() and (found[-18:-8, 13:] == 255).all()
    wide = np.zeros((10, MIN_WIDTH + 30, 3), dtype=np.uint8)
    assert titled(wide, "t", body).shape[1] == MIN_WIDTH + 30 + 16
