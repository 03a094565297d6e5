"""Texts: every word once, on its own colour, and as nothing but words."""

import html
import re

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain import Display
from lightning_explain.render.colour import signed_colours
from lightning_explain.render.modalities.tokens import (
    MOST_WORDS,
    passage,
    scale_of_tokens,
    token_film_picture,
    token_picture,
    token_text,
    words_picture,
)
from lightning_explain.render.modality import Shown
from lightning_explain.render.page_layout import Panel
from lightning_explain.render.shown_inputs import shown_input
from lightning_explain.render.words import markdown_safe

WORDS = ["<pad>", "good", "bad", "film"]


def shown(ids: torch.Tensor, words: list[str] = WORDS) -> Shown:
    return shown_input(ids, display=Display(tokens=words, padding=0))


def colours_of(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_each_word_stands_on_the_colour_of_its_attribution() -> None:
    values = torch.tensor([1.0, -1.0, 0.0])
    picture = words_picture(["good", "bad", "film"], signed_colours(values, 1.0))
    assert {(103, 0, 31), (5, 48, 97), (247, 246, 246)} <= colours_of(picture)
    assert picture.shape[0] == 20
    many = words_picture(["word"] * 60, signed_colours(torch.zeros(60), 1.0), width=200)
    assert many.shape[0] > 100 and many.shape[1] == 200


def test_a_word_as_long_as_a_line_stays_inside() -> None:
    assert words_picture(["x" * 300], signed_colours(torch.ones(1), 1.0), width=120).shape == (20, 120, 3)


def test_padding_has_no_say_in_the_scale() -> None:
    ids = torch.tensor([[1, 2, 0, 0]])
    assert scale_of_tokens(shown(ids), torch.tensor([[1.0, -1.0, 50.0, 50.0]])) == 1.0


def test_of_long_texts_the_strongest_passage_is_shown() -> None:
    ids = torch.randint(1, 4, (1, 500))
    sizes = torch.zeros(1, 500)
    sizes[0, 300:310] = 1.0
    places, before, after = passage(shown(ids), sizes, 0)
    assert len(places) == MOST_WORDS and set(range(300, 310)) <= set(places)
    assert before == places[0] and before + MOST_WORDS + after == 500


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30))
def test_no_letter_of_a_word_is_markup(words: str) -> None:
    written = markdown_safe(words)
    assert html.unescape(written) == " ".join(words.split())
    left = re.sub(r"&(#\d+|lt|gt|amp);", " ", written)
    assert not re.search(r"[<>&|*`\[\]#\\!~\n]|://|(?<!\w)_|_(?!\w)", left)


def test_letters_come_back_as_they_were() -> None:
    assert html.unescape(markdown_safe("a<b>*c*|d 數字")) == "a<b>*c*|d 數字"


def test_the_text_marks_the_strongest_words_by_sign_and_leaves_padding_out() -> None:
    ids = torch.tensor([[1, 2, 3, 0], [3, 0, 0, 0]])
    values = torch.tensor([[2.0, -1.0, 0.0, 9.0], [0.5, 9.0, 9.0, 9.0]])
    written = token_text(shown(ids), values, captions=["a", "b"], labels=None)
    first, second = written.splitlines()[2:]
    assert "**good** *bad* film |" in first and "good +2, bad -1" in first
    assert second == "| *b*: **film** | film +0.5 |"
    assert "pad" not in written


def test_pictures_of_one_and_of_several_methods_and_films() -> None:
    ids, values = torch.randint(1, 4, (3, 9)), torch.randn(3, 9)
    one = [Panel(name="IG", values=values, scale=1.0)]
    single = token_picture(shown(ids), one, captions=["c"] * 3, title="t")
    double = token_picture(shown(ids), one * 2, captions=["c"] * 3, title="t")
    assert double.shape[0] > single.shape[0] + 3 * 20
    film = token_film_picture(
        shown(ids), [values, -values], [0, 2], row_names=["a", "b"], column_names=["start", "5"], title="t"
    )
    # what is red in one stripe is blue in the other
    assert {(103, 0, 31), (5, 48, 97)} <= colours_of(film)
