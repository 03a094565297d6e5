"""Images: each heatmap beside its input, each pixel in its place."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_explain.render.colour import LEVELS, Picture, signed_colours, table
from lightning_explain.render.modalities.image import (
    filmstrip_picture,
    heatmap_picture,
    input_pictures,
    maps_of,
)
from lightning_explain.render.page_layout import Panel, header
from tests.render.pictures import BLUE, NAMES, RED, big, boxes, changed_rows, one


def test_maps_add_the_channels_up() -> None:
    values = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(maps_of(values), values.sum(1))
    torch.testing.assert_close(maps_of(values[:, 0]), values[:, 0])


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_inputs_share_one_value_range(channels: int) -> None:
    inputs = torch.zeros(3, channels, 4, 4)
    inputs[1], inputs[2] = 0.5, 1.0
    dark, middle, bright = input_pictures(inputs * 6 - 3)
    assert dark.shape == (4, 4, 3)
    assert (dark == 0).all() and (bright == 255).all()
    assert np.abs(middle.astype(int) - 127.5).max() <= 7.5 + 1e-9  # half of a step between two of 18 greys


def test_three_channels_are_colours() -> None:
    inputs = torch.zeros(1, 3, 2, 2)
    inputs[0, 0] = 1
    assert (input_pictures(inputs)[0] == [255, 0, 0]).all()


def test_a_constant_input_is_drawn_in_one_grey() -> None:
    (found,) = input_pictures(torch.full((1, 1, 3, 3), 7.0))
    assert found.dtype == np.uint8 and found.shape == (3, 3, 3)
    assert (found == found[0, 0, 0]).all()


def signed_maps(signs: list[int], channels: int = 1, side: int = 4) -> Tensor:
    return torch.tensor(signs).float()[:, None, None, None].expand(-1, channels, side, side).clone()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_each_heatmap_is_beside_its_input_in_reading_order(channels: int) -> None:
    signs = [1, -1, 1, -1, 1]
    inputs = torch.rand(5, channels, 4, 4) * 0.01
    inputs[3] = 1  # the only bright one
    found = heatmap_picture(inputs, one(signed_maps(signs, channels), 0.5), captions=["a"] * 5, title="t")
    assert found.dtype == np.uint8
    red, blue = big(boxes(found, RED)), big(boxes(found, BLUE))
    assert len(red) == 3 and len(blue) == 2
    ordered = sorted([(box, 1) for box in red] + [(box, -1) for box in blue])
    assert [sign for _, sign in ordered] == signs
    assert len({box[0] for box, _ in ordered}) == 2  # three columns, so two rows
    top, left, height, width = ordered[3][0]
    bright = found[top : top + height, left - 1 - width : left - 1]
    assert bright.min() > 240
    other_top, other_left = ordered[0][0][:2]
    assert found[other_top : other_top + height, other_left - 1 - width : other_left - 1].max() < 20


def test_a_pixel_of_the_attribution_is_at_its_place_in_the_heatmap() -> None:
    values = torch.zeros(1, 1, 7, 7)
    values[0, 0, 1, 5] = 1
    found = heatmap_picture(torch.zeros(1, 1, 7, 7), one(values), captions=["a"], title="t")
    (box,) = [box for box in boxes(found, RED) if box[2] == box[3] == 8]
    white = table("RdBu_r")[LEVELS // 2]
    assert (found[box[0] - 8 : box[0], box[1] - 5 * 8 : box[1] + 2 * 8] == white).all()
    assert (found[box[0] + 8 : box[0] + 6 * 8, box[1] : box[1] + 8] == white).all()


def test_all_heatmaps_share_one_scale() -> None:
    values = torch.cat([torch.full((1, 1, 4, 4), 1.0), torch.full((1, 1, 4, 4), 0.5)])
    found = heatmap_picture(torch.zeros(2, 1, 4, 4), one(values), captions=["", ""], title="")
    half = signed_colours(torch.tensor([0.5]), 1.0)[0]
    assert len(big(boxes(found, RED))) == 1 and len(big(boxes(found, half))) == 1


@pytest.mark.parametrize(
    ("labels", "n_rows"), [([0, 0, 1, 1, 2, 2], 3), ([0, 0, 0, 1, 1, 1], 2), ([0, 1, 1, 1, 1, 1], 2)]
)
def test_a_balanced_probe_has_a_row_for_each_class(labels: list[int], n_rows: int) -> None:
    found = heatmap_picture(
        torch.zeros(6, 1, 4, 4),
        one(signed_maps([1] * 6)),
        captions=[""] * 6,
        title="",
        labels=torch.tensor(labels),
    )
    assert len({box[0] for box in big(boxes(found, RED))}) == n_rows


@pytest.mark.parametrize("words", NAMES)
def test_a_heatmap_picture_of_one_sample_takes_any_words(words: str) -> None:
    inputs, maps = torch.rand(1, 8, 8), one(torch.rand(1, 8, 8))
    found, blank = (heatmap_picture(inputs, maps, captions=[name], title=name) for name in (words, ""))
    title, caption = slice(8, 24), slice(52, 68)  # the legend is between them
    changed = changed_rows(found, blank)
    assert all(any(part.start <= first <= last < part.stop for part in (title, caption)) for first, last in changed)
    drawn = [bool((found[part] != blank[part]).any()) for part in (title, caption)]
    assert drawn == [bool(words.strip())] * 2


def test_captions_that_do_not_match_the_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        heatmap_picture(torch.rand(2, 8, 8), one(torch.rand(2, 8, 8)), captions=["one"], title="")


@pytest.mark.parametrize("n_samples", [1, 4])
def test_several_methods_stand_beside_the_input_in_their_order_each_in_its_own_scale(n_samples: int) -> None:
    signs = ([1, -1, 1, -1][:n_samples], [-1, -1, 1, 1][:n_samples], [1, 1, 1, 1][:n_samples])
    # a thousandfold difference in size: the first scale for all would leave the others white
    panels = [
        Panel(name=f"Method{i}", values=signed_maps(sign) / 1000.0**i, scale=0.5 / 1000.0**i)
        for i, sign in enumerate(signs)
    ]
    found = heatmap_picture(torch.zeros(n_samples, 1, 4, 4), panels, captions=["a"] * n_samples, title="t")
    placed = sorted([(*box, 1) for box in big(boxes(found, RED))] + [(*box, -1) for box in big(boxes(found, BLUE))])
    expected = [sign[sample] for sample in range(n_samples) for sign in signs]
    # maps that touch are one box if they have one colour: count their widths instead
    side = placed[0][2]
    in_order = [sign for _, _, _, width, sign in placed for _ in range(max(1, round(width / side)))]
    assert in_order == expected


def test_every_column_is_headed_by_its_method() -> None:
    several = [Panel(name=name, values=torch.zeros(6, 1, 4, 4), scale=1.0) for name in ("IntegratedGradients", "LRP")]
    found = heatmap_picture(torch.zeros(6, 1, 4, 4), several, captions=[""] * 6, title="")
    heads = [header(name, width=64) for name in ("input", "IntegratedGradients", "LRP")]
    places = [place for head in heads for place in _places_of(head, found)]
    tops, lefts = {top for top, _ in places}, [left for _, left in places]
    assert len(tops) == 1
    per_grid_column = len(places) // 3
    assert per_grid_column == 3  # over each of the three columns of samples
    assert lefts[0] < lefts[per_grid_column] < lefts[2 * per_grid_column]


def _places_of(part: Picture, picture: Picture) -> list[tuple[int, int]]:
    """Find where a picture holds another, ignoring white borders."""
    ink = (part < 200).any(-1)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    part = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = part.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], (height, width))
    return [(int(y), int(x)) for y, x in np.argwhere((windows == part[..., 0]).all((2, 3)))]


def test_a_balanced_probe_with_many_methods_keeps_rows_for_each_class_and_stays_narrow() -> None:
    panels = [Panel(name=f"m{i}", values=signed_maps([1] * 8), scale=1.0) for i in range(5)]
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = heatmap_picture(torch.zeros(8, 1, 4, 4), panels, captions=[""] * 8, title="", labels=labels)
    assert found.shape[1] < 900
    assert len({box[0] for box in big(boxes(found, RED))}) == 8  # one sample in a row, or two: never three of a class


@pytest.mark.parametrize("words", NAMES)
def test_methods_may_have_any_name(words: str) -> None:
    panels = [Panel(name=words, values=torch.rand(2, 1, 8, 8), scale=1.0)] * 2
    found = heatmap_picture(torch.rand(2, 1, 8, 8), panels, captions=["", ""], title="")
    assert found.shape[1] < 1000
    # over both columns of both samples, and nowhere else in their rows
    heads = _places_of(header(words, width=64), found) if words.strip() else []
    assert len(heads) == (4 if words.strip() else 0)
    assert len({top for top, _ in heads}) <= 1


def test_a_map_of_other_channels_stands_beside_a_coloured_input() -> None:
    panels = [
        Panel(name="a", values=signed_maps([1, 1], channels=3), scale=1.0),
        Panel(name="b", values=signed_maps([-1, -1], channels=1), scale=0.5),
    ]
    found = heatmap_picture(torch.rand(2, 3, 4, 4), panels, captions=["", ""], title="")
    assert len(big(boxes(found, RED))) == len(big(boxes(found, BLUE))) == 2


def test_a_filmstrip_has_a_row_for_each_sample_and_a_column_for_each_explanation() -> None:
    signs = [[1, -1], [1, 1], [-1, -1]]
    films = [signed_maps(column)[:, 0] for column in signs]
    found = filmstrip_picture(
        torch.zeros(2, 1, 4, 4), films, row_names=["a", "b"], column_names=["1", "2", "3"], title="t"
    )
    boxes_found = sorted(
        [(box[0], box[1], 1) for box in big(boxes(found, RED))]
        + [(box[0], box[1], -1) for box in big(boxes(found, BLUE))]
    )
    # boxes of one colour that touch are separated by a gap of white
    assert [sign for *_, sign in boxes_found] == [signs[column][row] for row in range(2) for column in range(3)]
    assert len({top for top, *_ in boxes_found}) == 2 and len({left for _, left, _ in boxes_found}) == 3


def test_a_filmstrip_has_one_scale_for_all_time() -> None:
    films = [torch.full((1, 4, 4), 0.5), torch.full((1, 4, 4), 1.0)]
    found = filmstrip_picture(torch.zeros(1, 1, 4, 4), films, row_names=["a"], column_names=["1", "2"], title="")
    assert len(big(boxes(found, RED))) == 1
    assert len(big(boxes(found, signed_colours(torch.tensor([0.5]), 1.0)[0]))) == 1


@pytest.mark.parametrize("words", NAMES)
def test_a_filmstrip_takes_any_words(words: str) -> None:
    inputs, films = torch.rand(1, 3, 8, 8), [torch.rand(1, 8, 8)]
    found, blank = (
        filmstrip_picture(inputs, films, row_names=[name], column_names=[name], title=name) for name in (words, "")
    )
    changed = found != blank
    title, column_name, row_name = changed[8:24], changed[52:68, 112:168], changed[68:, :52]
    assert [bool(part.any()) for part in (title, column_name, row_name)] == [bool(words.strip())] * 3
    assert not changed[24:52].any() and not changed[68:, 52:].any()  # the legend and the maps are as they were
