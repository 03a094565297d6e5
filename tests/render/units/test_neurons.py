"""Rates, overlaps and maps: every cell in its place and its colour."""

import math

import numpy as np
import pytest
import torch

from lightning_explain.render.colour import share_colours
from lightning_explain.render.text import text_width
from lightning_explain.render.units.neurons import has_maps, maps_picture, overlap_picture, rates_picture
from tests.render.pictures import NAMES, big, boxes, changed_rows


def test_each_rate_has_its_cell() -> None:
    rates = torch.tensor([[0.0, 0.5, 1.0], [1.0, torch.nan, 0.25]])
    found = rates_picture(rates, class_names=["a", "b"], title="t")
    top = found.shape[0] - 8 - 16 - 2 * 16
    cells = found[top : top + 32, 8 + text_width("b") + 2 + 6 :][:, : 3 * 24]
    expected = share_colours(rates).repeat(16, axis=0).repeat(24, axis=1)
    assert (cells == expected).all()


@pytest.mark.parametrize(
    ("n_classes", "n_neurons", "height", "width"), [(1, 1, 16, 24), (2, 2000, 16, 1), (100, 5, 6, 24), (1000, 3, 3, 24)]
)
def test_rates_of_few_and_many_make_a_picture_of_bearable_size(
    n_classes: int, n_neurons: int, height: int, width: int
) -> None:
    names = [f"class {c}" for c in range(n_classes)]
    rates = torch.rand(n_classes, n_neurons)
    found = rates_picture(rates, class_names=names, title="t")
    assert found.shape[0] < 1200 and found.shape[1] < 600
    # of many classes every fifth, of many neurons those that differ most between the classes
    classes = list(range(0, n_classes, 5 if n_classes == 1000 else 1))
    neurons = sorted(range(n_neurons), key=lambda neuron: -float(rates[:, neuron].std(correction=0)))[:440]
    expected = share_colours(rates[classes][:, sorted(neurons)]).repeat(height, axis=0).repeat(width, axis=1)
    bottom, left = found.shape[0] - 8 - 16, 8 + min(90, max(map(text_width, names)) + 2) + 6
    np.testing.assert_array_equal(found[bottom - len(expected) : bottom, left : left + expected.shape[1]], expected)
    assert (found[bottom - len(expected) : bottom, left + expected.shape[1] :] == 255).all()


@pytest.mark.parametrize("words", NAMES)
def test_rates_take_any_words(words: str) -> None:
    found = rates_picture(torch.tensor([[0.25, 0.5, 0.75]]), class_names=[words], title=words)
    shades = share_colours(torch.tensor([0.25, 0.5, 0.75]))
    cells = [[box for box in boxes(found, shade) if box[2:] == (16, 24)] for shade in shades]
    offset = min(90, text_width(" ".join(words.split()) or words) + 2) + 14
    assert [box[1] for (box,) in cells] == [offset + 24 * place for place in range(3)]
    title, name = found[8:24, :], found[cells[0][0][0] :][:16, :offset]
    assert [bool((part < 255).any()) for part in (title, name)] == [bool(words.strip())] * 2


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
    sample, n_drawn = np.zeros((8, 8, 3), dtype=np.uint8), min(channels, 64)
    values = torch.linspace(2.0, 1.0, channels)
    maps = values[:, None, None].expand(-1, 4, 4)
    found, blank = (maps_picture(sample, maps, title=title) for title in (words, ""))
    assert [first // 24 for first, _ in changed_rows(found, blank)] == [0] * bool(words)  # in the title's row only
    shades = np.unique(share_colours(values[:n_drawn] / 2), axis=0)
    cells = [box for shade in shades for box in boxes(found, shade) if box[2:] == (56, 56)]
    assert len(cells) == n_drawn
    assert len({left for _, left, _, _ in cells}) == min(8, math.ceil(math.sqrt(n_drawn)))
    zeros = boxes(maps_picture(sample, torch.zeros(channels, 4, 4), title=words), share_colours(torch.zeros(1))[0])
    assert len([box for box in zeros if box[2:] == (56, 56)]) == n_drawn  # the colour of no activation


def test_only_finite_maps_are_worth_drawing() -> None:
    assert has_maps(torch.rand(1, 2, 4, 4))
    assert not has_maps(torch.rand(1, 2, 1, 4))
    assert not has_maps(torch.rand(1, 2, 4))
    assert not has_maps(torch.full((1, 2, 4, 4), torch.nan))


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
