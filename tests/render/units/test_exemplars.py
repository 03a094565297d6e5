"""Pictures of exemplars: what raises a unit is red, what lowers it blue, on one scale."""

from typing import Any

import numpy as np
import pytest
import torch

from lightning_explain.display import Display
from lightning_explain.render.colour import signed_colours
from lightning_explain.render.units.exemplars import (
    N_COLOURS,
    caption_of,
    exemplar_pictures,
    exemplars_picture,
    legend_words,
    unit_picture,
)
from tests.exemplars.small_cards import card, exemplar


def colours(picture: Any) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_heat_is_in_signed_colours_of_the_cards_scale() -> None:
    for scale in (2.0, 8.0):
        picture, _ = exemplar_pictures(card(scale=scale))
        raises, lowers, neither = (
            tuple(signed_colours(torch.tensor([[value]]), scale)[0, 0].tolist()) for value in (2.0, -1.0, 0.0)
        )
        assert {raises, lowers, neither} <= colours(picture)
        assert raises[0] > raises[2] and lowers[0] < lowers[2]
    with_heat, without = (exemplar_pictures(card(exemplar(heatmap=heat)))[0] for heat in (exemplar().heatmap, None))
    assert with_heat.shape[1] > without.shape[1] and with_heat.shape[0] == without.shape[0]


def test_crops_of_one_fetch_are_drawn_alike() -> None:
    """A dark crop stays dark beside a light one."""
    dark = exemplar(crop=torch.full((1, 3, 4), 0.1), heatmap=None)
    light = exemplar(crop=torch.full((1, 3, 4), 0.9), heatmap=None)
    first, second = exemplar_pictures(card(dark, light))
    middle = first.shape[0] // 2, first.shape[1] // 2
    assert first[middle].max() < 60 and second[middle].min() > 200


def test_inputs_are_shown_as_they_were_before_they_were_normalised() -> None:
    normalised = exemplar(crop=torch.full((3, 3, 4), 2.0), heatmap=None)
    (picture,) = exemplar_pictures(card(normalised, limits=(-4.0, 4.0)), Display(mean=[0.5] * 3, std=[0.25] * 3))
    assert picture[picture.shape[0] // 2, picture.shape[1] // 2].min() >= 254


def test_captions_name_the_class_where_there_is_one() -> None:
    names = ["cat", "dog"]
    assert caption_of(exemplar(label=0, value=0.123456), names) == "cat: 0.123"
    assert caption_of(exemplar(label=5, value=-2.0), names) == "5: -2"
    assert caption_of(exemplar(label=-1, value=1234.5), names) == "1.23e+03"


def test_what_has_no_form_has_no_picture() -> None:
    assert exemplar_pictures(card(form=None)) == [] and unit_picture(card(form=None)) is None
    assert exemplars_picture([card(form=None)], title="none") is None
    one = exemplars_picture([card()], title="one")
    both = exemplars_picture([card(), card(form=None)], title="one")
    assert one is not None and both is not None and np.array_equal(one, both)


def test_a_layer_is_drawn_in_few_colours_one_row_below_the_other() -> None:
    crops = torch.rand(2, 3, 16, 16)
    many = card(*(exemplar(crop=crop, heatmap=crop[0], box=((0, 16), (0, 16))) for crop in crops))
    one, two = (exemplars_picture([many] * n, title="layer") for n in (1, 2))
    assert one is not None and two is not None and one.dtype == np.uint8
    assert two.shape[0] > one.shape[0] and two.shape[1] == one.shape[1]
    assert len(colours(two)) <= N_COLOURS


FORMS: dict[str, dict[str, Any]] = {
    "tokens": {"crop": torch.arange(3), "heatmap": torch.tensor([1.0, 0, -1]), "box": ((2, 5),), "words": "abc"},
    "signal": {"crop": torch.linspace(-2, 2, 18).reshape(2, 9), "heatmap": torch.linspace(-2, 2, 9), "box": ((1, 10),)},
    "table": {"crop": torch.ones(3), "heatmap": torch.ones(3), "box": (), "words": ("age = 3 (+1)",)},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_is_drawn(form: str) -> None:
    of = FORMS[form] | {"words": tuple(FORMS[form].get("words", ()))}
    picture = unit_picture(card(exemplar(**of), form=form, limits=(-3.0, 3.0)), class_names=["cat", "dog"])
    assert picture is not None and picture.shape[0] > 20 and len(colours(picture)) > 2


def test_the_legend_says_what_is_cut_and_by_what_it_was_chosen() -> None:
    words = legend_words([card()], "conv", "after epoch 3")
    assert words.startswith("Layer conv after epoch 3: the validation samples that excite each unit most, cut to")
    assert "InputXGradient" in words and "raises (red) or lowers (blue)" in words
    whole = legend_words([card(exemplar(box=()), by="relevance")], "fc", "now")
    assert "make each unit most relevant for their class; in colours" in whole
