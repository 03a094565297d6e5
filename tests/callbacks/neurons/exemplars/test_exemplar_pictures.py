"""Which layers and units are drawn, and that pictures of them stay small."""

from typing import Any

import numpy as np
import pytest
import torch

from lightning_explain.callbacks.neurons.exemplars import exemplar_pictures
from lightning_explain.callbacks.neurons.exemplars.exemplar_pictures import (
    MOST_LAYERS,
    MOST_ROWS,
    MOST_UNITS,
    layer_picture,
    log_exemplars,
    shown_layers,
    units_each,
)
from lightning_explain.display import Display
from lightning_explain.log import Journal
from lightning_explain.log.png import png_bytes
from lightning_explain.render.units.exemplars import exemplars_picture, legend_words
from tests.callbacks.neurons.small_reports import report
from tests.exemplars.small_cards import card, exemplar

NAMES = ["cat", "dog"]


def test_all_layers_or_evenly_spread_ones_with_the_first_and_the_last() -> None:
    for n in range(1, 40):
        layers = [str(i) for i in range(n)]
        found = shown_layers(layers)
        assert len(found) == min(n, MOST_LAYERS) == len(set(found))
        assert found == sorted(found, key=int) and (found[0], found[-1]) == ("0", layers[-1])
        assert 1 <= units_each(len(found)) <= MOST_UNITS and units_each(len(found)) * len(found) <= MOST_ROWS
    assert units_each(0) == MOST_UNITS and units_each(100) == 1


def noise(unit: int) -> Any:
    crops = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(unit))
    return card(*(exemplar(crop=crop, heatmap=crop[0] - 0.5, box=((0, 24), (0, 24))) for crop in crops), unit=unit)


def test_as_many_units_as_fit_and_at_least_one() -> None:
    cards = {unit: noise(unit) for unit in range(3)}
    options: dict[str, Any] = {"moment": "now", "display": Display(), "class_names": NAMES}
    title = legend_words(list(cards.values()), "conv", "now")
    drawn = {
        n: exemplars_picture(list(cards.values())[:n], title=title, display=Display(), class_names=NAMES)
        for n in (1, 2, 3)
    }
    sizes = {n: len(png_bytes(picture)) for n, picture in drawn.items() if picture is not None}
    assert sizes[1] < sizes[2] < sizes[3]
    for most_bytes, n in ((sizes[3], 3), (sizes[3] - 1, 2), (sizes[2] - 1, 1), (10, 1)):
        found = layer_picture(cards, most_bytes=most_bytes, **options)
        expected = drawn[n]
        assert found is not None and expected is not None and np.array_equal(found, expected)
    assert layer_picture({0: card(form=None)}, most_bytes=10_000, **options) is None


class Kept(Journal):
    """Keeps the pictures that it is given."""

    def __init__(self, *, shows: bool = True) -> None:
        self.shows, self.images = shows, dict[str, Any]()

    @property
    def shows_pictures(self) -> bool:
        return self.shows

    def image(self, tag: str, picture: Any, *, description: str = "") -> None:
        self.images[tag] = picture


def test_each_layer_with_a_picture_is_logged_under_its_tag() -> None:
    cards = {"conv": {14: card()}, "none": {0: card(form=None, layer="none")}, "fc": {14: card(layer="fc")}}
    journal, silent = Kept(), Kept(shows=False)
    for each in (journal, silent):
        log_exemplars(each, "neurons", cards, report(), Display())
    assert list(journal.images) == ["explain/neurons/conv/exemplars", "explain/neurons/fc/exemplars"]
    assert not silent.images


def test_what_a_layer_leaves_of_its_share_goes_to_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {unit: noise(unit) for unit in range(2)}
    alone, after = Kept(), Kept()
    for unit in many:  # one unit, and both, with all bytes to themselves
        log_exemplars(alone, "n", {str(unit): dict(list(many.items())[: unit + 1])}, report(), Display())
    one, both = (len(png_bytes(picture)) for picture in alone.images.values())
    monkeypatch.setattr(exemplar_pictures, "MOST_BYTES", both + one)
    log_exemplars(after, "n", {"a": {14: card()}, "b": many}, report(), Display())
    plain, found = after.images.values()
    assert len(png_bytes(plain)) < one and len(png_bytes(found)) == both
    log_exemplars(after, "n", {"b": many, "a": {14: card()}}, report(), Display())
    assert len(png_bytes(after.images["explain/n/b/exemplars"])) == one
