"""Every picture: its form, and each sample, neuron and step where it should be."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_explain.render.colour import LEVELS, Picture, share_colours, signed_colours, table
from lightning_explain.render.layout import below, beside, framed, grid, padded, resized
from lightning_explain.render.modalities import drawn_as, explanation_picture, film_frame, film_picture, recognised
from lightning_explain.render.modalities import table as features
from lightning_explain.render.modalities.image import (
    colour_scale,
    filmstrip_picture,
    heatmap_picture,
    input_pictures,
    maps_of,
)
from lightning_explain.render.modalities.signal import signal_film_picture
from lightning_explain.render.modalities.table import bars_picture, class_means, feature_film_picture
from lightning_explain.render.modality import Annotations, film_rows
from lightning_explain.render.neuron_features import fed_images_picture, fed_table_picture
from lightning_explain.render.neurons import has_maps, maps_picture, overlap_picture, rates_picture
from lightning_explain.render.page_layout import Panel, header, in_words
from lightning_explain.render.shown_inputs import shown_input
from lightning_explain.render.text import paragraph, shortened, text, text_width

NAMES = [
    "",
    " ",
    "cat",
    "x" * 10_000,
    "two\nlines\tand tabs",
    "Katze 猫 кошка 🐈",
    "عربى",
    "$x",
    "$x$ and $y_{",
    r"\$a\frac",
    "<b>&amp;</b>",
    "a\0b",
]
RED, BLUE = table("RdBu_r")[-1], table("RdBu_r")[0]


def is_picture(found: Picture) -> bool:
    return found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3


def boxes(picture: Picture, colour: Picture) -> list[tuple[int, int, int, int]]:
    """Rectangles (top, left, height, width) of one colour, in reading order."""
    mask = (picture == colour).all(-1)
    found: list[tuple[int, int, int, int]] = []
    for top, left in zip(*np.nonzero(mask), strict=True):
        if not mask[top, left]:
            continue
        width = int(np.argmin(np.append(mask[top, left:], False)))
        height = int(np.argmin(np.append(mask[top:, left], False)))
        mask[top : top + height, left : left + width] = False
        found.append((int(top), int(left), height, width))
    return found


def big(found: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Leave out the legend, which is 16 pixels high and narrow in each colour."""
    return [box for box in found if box[2] > 16]


def one(values: Tensor, scale: float = 1.0) -> list[Panel]:
    return [Panel(name="a method", values=values, scale=scale)]


# canvas


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("width", [1, 20, 200])
def test_a_text_has_its_size_whatever_it_says(words: str, width: int) -> None:
    assert text(words, width=width, height=16).shape == (16, width, 3)


def test_a_text_stands_where_it_is_aligned() -> None:
    columns = {
        align: np.flatnonzero((text("i", width=100, align=align) < 128).any((0, 2))).mean()
        for align in ("left", "center", "right")
    }
    assert columns["left"] < 10 < 40 < columns["center"] < 60 < 90 < columns["right"]


def test_a_long_text_is_cut_off_and_fits() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
    assert shortened(" a \n b ", 9) == "a b"
    assert (text("x" * 500, width=50)[:, -1] == 255).all()


def test_a_paragraph_wraps_and_loses_no_word() -> None:
    one, many = paragraph("word", width=300), paragraph("word " * 60, width=300)
    assert many.shape[0] >= 60 * text_width("word") / 300 * one.shape[0]
    assert one.shape[1] == many.shape[1] == 300


def solid(height: int, width: int, value: int) -> Picture:
    return np.full((height, width, 3), value, dtype=np.uint8)


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


# heatmaps


def test_maps_add_the_channels_up() -> None:
    values = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(maps_of(values), values.sum(1))
    torch.testing.assert_close(maps_of(values[:, 0]), values[:, 0])


def test_the_scale_is_the_quantile_of_all_maps_and_no_outlier() -> None:
    maps = torch.full((10, 10, 10), -2.0)
    maps[0, 0, 0] = 1000
    assert colour_scale(maps) == 2
    assert colour_scale(torch.zeros(1, 2, 2)) == 0


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


def test_constant_inputs_are_drawn_without_complaint() -> None:
    assert is_picture(input_pictures(torch.full((1, 1, 3, 3), 7.0))[0])


def signed_maps(signs: list[int], channels: int = 1, side: int = 4) -> Tensor:
    return torch.tensor(signs).float()[:, None, None, None].expand(-1, channels, side, side).clone()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_each_heatmap_is_beside_its_input_in_reading_order(channels: int) -> None:
    signs = [1, -1, 1, -1, 1]
    inputs = torch.rand(5, channels, 4, 4) * 0.01
    inputs[3] = 1  # the only bright one
    found = heatmap_picture(inputs, one(signed_maps(signs, channels), 0.5), captions=["a"] * 5, title="t")
    assert is_picture(found)
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
    found = heatmap_picture(torch.rand(1, 8, 8), one(torch.rand(1, 8, 8)), captions=[words], title=words)
    assert is_picture(found) and found.shape[1] < 1000


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
    assert heatmap_picture(torch.rand(2, 1, 8, 8), panels, captions=["", ""], title="").shape[1] < 1000
    table_panels = [Panel(name=words, values=torch.rand(2, 3), scale=1.0)] * 2
    if words in [*NAMES[3:6], *NAMES[7:10], NAMES[-1]]:
        assert is_picture(bars_picture(table_panels, labels=None, group_names=["a"], feature_names=(), title=""))


def test_names_are_parted_at_capitals() -> None:
    assert in_words("SmoothGrad") == "Smooth Grad"
    assert in_words("LRP") == "LRP"
    assert in_words("GradCAM") == "Grad CAM"
    assert in_words("ours") == "ours"


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
    found = filmstrip_picture(
        torch.rand(1, 3, 8, 8), [torch.rand(1, 8, 8)], row_names=[words], column_names=[words], title=words
    )
    assert is_picture(found) and found.shape[1] < 1000


# neurons


def test_each_rate_has_its_cell() -> None:
    rates = torch.tensor([[0.0, 0.5, 1.0], [1.0, torch.nan, 0.25]])
    found = rates_picture(rates, class_names=["a", "b"], title="t")
    top = found.shape[0] - 8 - 16 - 2 * 16
    cells = found[top : top + 32, 8 + text_width("b") + 2 + 6 :][:, : 3 * 24]
    expected = share_colours(rates).repeat(16, axis=0).repeat(24, axis=1)
    assert (cells == expected).all()


@pytest.mark.parametrize(("n_classes", "n_neurons"), [(1, 1), (2, 2000), (100, 5), (1000, 3)])
def test_rates_of_few_and_many_make_a_picture_of_bearable_size(n_classes: int, n_neurons: int) -> None:
    names = [f"class {c}" for c in range(n_classes)]
    found = rates_picture(torch.rand(n_classes, n_neurons), class_names=names, title="t")
    assert is_picture(found) and found.shape[0] < 1200 and found.shape[1] < 2200


@pytest.mark.parametrize("words", NAMES)
def test_rates_take_any_words(words: str) -> None:
    assert is_picture(rates_picture(torch.rand(1, 3), class_names=[words], title=words))


def test_maps_are_in_index_order_and_in_one_scale() -> None:
    maps = torch.stack([torch.full((4, 4), value) for value in (0.0, 2.0, 1.0)])
    found = maps_picture(np.zeros((4, 4, 3), dtype=np.uint8), maps, title="t")
    shades = share_colours(torch.tensor([0.0, 1.0, 0.5]))
    places = [big(boxes(found, shade))[0][:2] for shade in shades]
    assert places == sorted(places)
    assert places[0][0] == places[1][0] < places[2][0]  # two columns


def test_only_the_strongest_maps_are_drawn() -> None:
    maps = torch.stack([torch.full((4, 4), value) for value in (1.0, 3.0, 0.5, 2.0)])
    found = maps_picture(np.zeros((4, 4, 3), dtype=np.uint8), maps, title="t", largest=2)
    drawn = [big(boxes(found, shade)) for shade in share_colours(torch.tensor([1, 3, 0.5, 2]) / 3)]
    assert [len(each) for each in drawn] == [0, 1, 0, 1]


@pytest.mark.parametrize("channels", [1, 3, 5, 100])
@pytest.mark.parametrize("words", ["", "t" * 5000, "猫"])
def test_maps_of_any_number_of_channels(channels: int, words: str) -> None:
    sample = np.zeros((8, 8, 3), dtype=np.uint8)
    assert is_picture(maps_picture(sample, torch.rand(channels, 4, 4), title=words))
    assert is_picture(maps_picture(sample, torch.zeros(channels, 4, 4), title=words))


def test_only_finite_maps_are_worth_drawing() -> None:
    assert has_maps(torch.rand(1, 2, 4, 4))
    assert not has_maps(torch.rand(1, 2, 1, 4))
    assert not has_maps(torch.rand(1, 2, 4))
    assert not has_maps(torch.full((1, 2, 4, 4), torch.nan))


# features


def test_means_by_class_and_in_all() -> None:
    values, labels = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]), torch.tensor([4, 1, 4])
    means, classes = class_means(values, labels)
    assert classes == [1, 4]
    assert means.tolist() == [[3, 4], [3, 1]]
    means, classes = class_means(values, None)
    assert classes == [0] and means.tolist() == [[3, 2]]


def coloured(picture: Picture, hex_colour: str) -> np.ndarray:
    rgb = [int(hex_colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere((np.abs(picture.astype(int) - rgb) < 3).all(-1))


def test_bars_go_right_in_red_and_left_in_blue_from_top_to_bottom() -> None:
    found = bars_picture(
        one(torch.tensor([[2.0, -1.0]]), 2.0), labels=None, group_names=["all"], feature_names=["a", "b"], title="t"
    )
    red, blue = coloured(found, "#b2182b"), coloured(found, "#2166ac")
    assert blue[:, 1].max() < red[:, 1].min() + 3
    assert red[:, 0].max() < blue[:, 0].min()
    assert np.ptp(red[:, 1]) > 1.7 * np.ptp(blue[:, 1])


def test_panels_share_one_scale() -> None:
    values, labels = torch.tensor([[1.0], [4.0]]), torch.tensor([0, 1])
    found = bars_picture(one(values, 4.0), labels=labels, group_names=["a", "b"], feature_names=(), title="")
    columns = np.unique(coloured(found, "#b2182b")[:, 1])
    split = np.flatnonzero(np.diff(columns) > 20)[0] + 1
    assert np.ptp(columns[split:]) == pytest.approx(4 * np.ptp(columns[:split]), rel=0.2)


@pytest.mark.parametrize("words", [*NAMES[3:6], *NAMES[7:10], NAMES[-1]])
def test_bars_and_feature_films_take_any_words(words: str) -> None:
    bars = bars_picture(
        one(torch.rand(1, 2)), labels=None, group_names=[words], feature_names=[words, "b"], title=words
    )
    film = feature_film_picture(
        [torch.rand(1, 2)], group_names=[words], column_names=[words[:50]], feature_names=[words, "b"], title=words
    )
    assert is_picture(bars) and is_picture(film)


def test_bars_of_methods_stand_side_by_side_each_in_its_own_units() -> None:
    values, labels = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([0, 1])
    panels = [Panel(name="a", values=values, scale=1.0), Panel(name="b", values=values * -1000, scale=1000.0)]
    found = bars_picture(panels, labels=labels, group_names=["x", "y"], feature_names=(), title="t")
    red, blue = coloured(found, "#b2182b"), coloured(found, "#2166ac")
    assert red[:, 1].max() < blue[:, 1].min()  # methods are columns
    assert np.ptp(red[:, 1]) == pytest.approx(np.ptp(blue[:, 1]), abs=3)
    # classes are rows: a wide gap parts the bars of one from those of the other
    assert np.diff(np.unique(red[:, 0])).max() > 25


def test_with_several_methods_the_features_that_any_of_them_finds_strong_are_shown() -> None:
    weak, strong = torch.full((1, 60), 0.01), torch.full((1, 60), 0.01)
    strong[0, 55] = 1.0
    weak[0, 3] = 0.5
    names = [f"f{i}" for i in range(60)]
    panels = [Panel(name="a", values=strong * 1e6, scale=1e6), Panel(name="b", values=weak, scale=0.5)]
    assert {3, 55} <= set(features._shown([panel.values for panel in panels], most=4))
    assert is_picture(bars_picture(panels, labels=None, group_names=["all"], feature_names=names, title=""))


def test_bars_of_zeros_are_drawn() -> None:
    assert is_picture(
        bars_picture(one(torch.zeros(2, 3), 0.0), labels=None, group_names=["a"], feature_names=(), title="")
    )
    film = feature_film_picture([torch.zeros(1, 3)], group_names=["a"], column_names=["1"], feature_names=(), title="")
    assert is_picture(film)


# choice


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2, 1, 8, 8), "image"), ((2, 8, 8), "image"), ((2, 5), "table"), ((2, 1, 5), "table"), ((2, 5, 1, 1), "table"),
        ((2, 3, 4, 4, 4), None), ((2,), None),
    ],
)  # fmt: skip
def test_the_kind_of_picture_follows_from_the_form(shape: tuple[int, ...], kind: str | None) -> None:
    assert recognised(torch.zeros(shape)) == kind


def test_a_film_shows_the_first_sample_of_each_class_and_at_most_ten() -> None:
    assert film_rows(torch.tensor([3, 3, 0, 5]), 4) == [2, 0, 3]
    assert film_rows(None, 3) == [0, 1, 2]
    assert len(film_rows(torch.arange(30), 30)) == len(film_rows(None, 30)) == 10
    values, labels = torch.randn(4, 2, 5, 5), torch.tensor([3, 3, 0, 5])
    images, table = shown_input(values), shown_input(values[:, 0, 0])
    torch.testing.assert_close(film_frame(images, values, labels), values.sum(1)[[2, 0, 3]])
    torch.testing.assert_close(film_frame(table, values[:, 0, 0], labels), class_means(values[:, 0, 0], labels)[0])


@pytest.mark.parametrize("n_methods", [1, 3])
@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 6)])
@pytest.mark.parametrize("labels", [None, torch.tensor([0, 0, 1, 1])])
def test_explanations_and_films_of_images_and_tables(
    shape: tuple[int, ...], labels: Tensor | None, n_methods: int
) -> None:
    inputs, values = torch.rand(shape), torch.randn(shape)
    panels = one(values) * n_methods
    groups = ["all"] if labels is None else ["a", "b"]
    shown = shown_input(inputs)
    words = Annotations(title="t", labels=labels, captions=["c"] * 4, group_names=groups)
    found = explanation_picture(shown, panels, words)
    words = Annotations(title="t", labels=labels, captions=["r"] * 4, group_names=groups, column_names=["1", "2"])
    film = film_picture(shown, [film_frame(shown, values, labels)] * 2, words)
    assert is_picture(found) and is_picture(film)


def test_units_of_a_layer_are_bars_under_images_and_left_out_beside_heatmaps() -> None:
    shown, labels = shown_input(torch.rand(4, 1, 8, 8)), torch.tensor([0, 0, 1, 1])
    units = Panel(name="units", values=torch.randn(4, 5), scale=1.0)
    maps = Panel(name="maps", values=torch.randn(4, 1, 8, 8), scale=1.0)
    words = {"labels": labels, "group_names": ["a", "b"], "title": "t"}
    annotations = Annotations(captions=["c"] * 4, column_names=["1", "2"], **words)
    names = [f"unit {i}" for i in range(5)]
    np.testing.assert_array_equal(
        explanation_picture(shown, [units], annotations),
        bars_picture([units], **words, feature_names=names, unit="logits"),
    )
    np.testing.assert_array_equal(
        explanation_picture(shown, [units, maps], annotations),
        heatmap_picture(shown.inputs, [maps], captions=["c"] * 4, title="t", labels=labels),
    )
    films = [film_frame(shown, units.values, labels)] * 2
    columns = {"column_names": ["1", "2"], "group_names": ["a", "b"], "title": "t"}
    np.testing.assert_array_equal(
        film_picture(drawn_as(shown, units.values), films, annotations),
        feature_film_picture(films, feature_names=names, **columns),
    )


@pytest.mark.parametrize("shape", [(3, 60), (3, 2, 60), (3, 60, 2)])
def test_films_of_signals_are_stripes_under_the_signal_and_no_bars(shape: tuple[int, ...]) -> None:
    shown = replace(shown_input(torch.randn(shape)), form="signal")
    values, labels = torch.randn(shape), torch.tensor([0, 0, 1])
    words = Annotations(title="t", labels=labels, captions=["a", "b", "c"], group_names=["x"], column_names=["1", "2"])
    films = [film_frame(shown, values, labels)] * 2
    np.testing.assert_array_equal(
        film_picture(drawn_as(shown, values), films, words),
        signal_film_picture(
            shown.inputs[[0, 2]], films, row_names=["a", "c"], column_names=["1", "2"], title="t", unit="logits"
        ),
    )


def test_overlaps_have_a_cell_for_every_two_classes_and_grey_for_undefined() -> None:
    overlap = torch.tensor([[1.0, 0.0, math.nan], [0.0, 1.0, 0.5], [math.nan, 0.5, math.nan]])
    picture = overlap_picture(overlap, class_names=["a", "b", "c"], title="t")
    cells = picture[-8 - 3 * 34 :, :][: 3 * 34]
    colours = {tuple(c) for c in cells.reshape(-1, 3)}
    assert (160, 160, 160) in colours
    for share in (0.0, 0.5, 1.0):
        assert tuple(share_colours(torch.tensor([share]))[0]) in colours
    many = overlap_picture(torch.rand(300, 300), class_names=[str(i) for i in range(300)], title="t")
    assert many.shape[1] <= 460


def test_fed_images_are_signed_and_in_one_scale() -> None:
    maps = torch.zeros(3, 8, 8)
    maps[0, 2, 3], maps[1, 4, 4] = 2.0, -1.0
    picture = fed_images_picture(
        torch.tensor([0, 0, 1]), torch.tensor([5, 7, 9]), maps, class_names=["cat", "dog"], title="t"
    )
    colours = {tuple(c) for c in picture.reshape(-1, 3)}
    scale = colour_scale(maps)
    assert tuple(signed_colours(torch.tensor([2.0]), scale)[0]) in colours
    assert tuple(signed_colours(torch.tensor([-1.0]), scale)[0]) in colours
    wide = fed_images_picture(
        torch.arange(40) // 4, torch.arange(40), torch.randn(40, 64, 64), class_names=["n"] * 10, title="t"
    )
    assert wide.shape[1] <= 720


def test_fed_tables_show_the_strongest_features_and_grey_for_what_was_not_kept() -> None:
    features = torch.tensor([[0, 3], [3, 1]])
    values = torch.tensor([[1.0, -2.0], [0.5, 0.1]])
    picture = fed_table_picture(
        torch.tensor([0, 1]),
        torch.tensor([4, 2]),
        features,
        values,
        name_of=lambda index: f"feature {index}",
        class_names=["cat", "dog"],
        title="t",
    )
    colours = {tuple(c) for c in picture.reshape(-1, 3)}
    scale = colour_scale(values)
    for value in (1.0, -2.0, 0.5, 0.1):
        assert tuple(signed_colours(torch.tensor([value]), scale)[0]) in colours
    assert (160, 160, 160) in colours
    wide = fed_table_picture(
        torch.arange(80) // 4,
        torch.arange(80),
        torch.arange(20).expand(80, 20),
        torch.randn(80, 20),
        name_of=lambda index: f"a feature with a long name {index}",
        class_names=[f"class {i}" for i in range(20)],
        title="t",
    )
    assert wide.shape[1] <= 720
