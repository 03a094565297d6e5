"""Tables: bars go where their values are."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex

from lightning_explain.render.colour import Picture
from lightning_explain.render.modalities import table as features
from lightning_explain.render.modalities.table import LARGEST, bars_picture, class_means, feature_film_picture
from lightning_explain.render.page_layout import Panel
from tests.render.pictures import NAMES, one, runs


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


def cell_colour(share: float) -> str:
    """Return the colour of a value of a film, from 0 for the lowest to 1 for the highest."""
    return to_hex(colormaps["RdBu_r"](share))


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
    values = torch.tensor([[1.0, -0.5]])
    feature_names = [words, "b"]
    bars = bars_picture(one(values), labels=None, group_names=[words], feature_names=feature_names, title=words)
    film = feature_film_picture(
        [values, -values],
        group_names=[words],
        column_names=[words[:50]] * 2,
        feature_names=feature_names,
        title=words,
    )
    assert bars.shape == (185, 378, 3) and film.shape == (217, 414, 3)  # whatever the words
    assert all((picture[3:14] < 100).any() for picture in (bars, film))  # the title
    red, blue = coloured(bars, "#b2182b"), coloured(bars, "#2166ac")
    assert (bars[red[:, 0].min() : red[:, 0].max(), : blue[:, 1].min() - 12] < 100).any()  # the first bar's name
    assert red[:, 0].max() < blue[:, 0].min() and blue[:, 1].max() < red[:, 1].min() + 3
    assert np.ptp(red[:, 1]) == pytest.approx(2 * np.ptp(blue[:, 1]), abs=4)
    # of two explanations the second is the negative of the first
    dark_red, pale_red = coloured(film, cell_colour(1.0)), coloured(film, cell_colour(0.75))
    dark_red, pale_red = (each[each[:, 1] < 300] for each in (dark_red, pale_red))  # without the legend
    assert dark_red[:, 0].max() < pale_red[:, 0].min() and dark_red[:, 1].max() < pale_red[:, 1].min()


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
    found = bars_picture(panels, labels=None, group_names=["all"], feature_names=names, title="")
    full = runs(np.isin(np.arange(len(found)), coloured(found, "#b2182b")[:, 0]))
    tall = [run for run in full if run[1] - run[0] > 10]
    assert len(tall) == 2  # beside the axis, of the weak ones, there is nothing to be seen


def test_zeros_have_no_bar_and_no_colour() -> None:
    zeros = bars_picture(one(torch.zeros(2, 3), 0.0), labels=None, group_names=["a"], feature_names=(), title="")
    inside = zeros[25:150, 62:360]
    assert np.ptp(inside, axis=-1).max() == 0  # no colour, and nothing but the points on the axis in the middle
    places = np.flatnonzero((inside < 200).any((0, 2)))
    assert len(places) < 8 and abs(places.mean() + 62 - 210.5) < 2
    assert len(runs((inside[:, places[0]] < 250).any(-1))) == 3
    film = feature_film_picture([torch.zeros(1, 3)], group_names=["a"], column_names=["1"], feature_names=(), title="")
    left, right = (int(place) for place in np.flatnonzero((film < 60).all(-1).mean(0) > 0.8)[:2])
    cells = film[25:215, left + 2 : right - 1]
    assert (cells == cells[0, 0]).all() and cells.min() > 240


def test_features_whose_attributions_cancel_out_in_the_mean_are_shown(monkeypatch):
    n_weak = 30
    strong = torch.tensor([[5.0], [-5.0]])  # the largest for every sample, 0 on average
    values = torch.cat([torch.full((2, n_weak), 0.1), strong], dim=1)
    chosen = []
    original = features._shown
    monkeypatch.setattr(features, "_shown", lambda rows, most: chosen.append(original(rows, most=most)) or chosen[-1])
    panels = [Panel(name="a", values=values, scale=5.0)]
    bars_picture(panels, labels=None, group_names=["all samples"], feature_names=(), title="")
    assert n_weak in chosen[0]
    assert len(chosen[0]) == LARGEST
