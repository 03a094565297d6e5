"""Lines and paragraphs: their size, where they stand, and where they are cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lightning_explain.render.text import fitting, font, letters, paragraph, shortened, text, text_width, wrapped
from tests.render.pictures import NAMES


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("width", [1, 20, 200])
def test_a_text_has_its_size_whatever_it_says(words: str, width: int) -> None:
    found = text(words, width=width, height=16)
    assert found.shape == (16, width, 3)
    assert bool((found < 255).any()) == bool(words.strip() and width > 1)


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


@pytest.mark.parametrize("width", [1, 9, 30, 77, 400])
@pytest.mark.parametrize("words", [name for name in NAMES if name] + ["iiiiiiiiWWWWWWWW" * 9])
def test_a_line_is_cut_at_the_last_letter_that_fits(words: str, width: int) -> None:
    line, whole = fitting(words, width), " ".join(words.split())[:400]
    if line != whole:
        assert line == shortened(whole, len(line)) and line.endswith("…")
        assert text_width(line) <= width or len(line) == 1
        longer = shortened(words, len(line) + 1)
        assert text_width(longer) > width or longer == line
    else:
        assert text_width(line) <= width


def test_a_paragraph_wraps_and_loses_no_word() -> None:
    one, many = paragraph("word", width=300), paragraph("word " * 60, width=300)
    assert many.shape[0] >= 60 * text_width("word") / 300 * one.shape[0]
    assert one.shape[1] == many.shape[1] == 300


def wrapped_word_by_word(words: str, width: int, size: int) -> list[str]:
    """Measure every line that might be."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@settings(max_examples=150)
@given(
    words=st.lists(st.text("AVTWaeijlomr.,;%-0123 ", max_size=12), max_size=30),
    width=st.integers(1, 400),
    size=st.sampled_from([11, 12, 15]),
)
def test_lines_are_those_that_measuring_all_of_them_gives(words: list[str], width: int, size: int) -> None:
    assert wrapped(" ".join(words), width, size) == wrapped_word_by_word(" ".join(words), width, size)


@pytest.mark.parametrize("anchor", ["mm", "lm", "rm"])
@pytest.mark.parametrize("words", ["fc1 12", "-0.5, gjpqy", "x", ""])
def test_letters_are_those_that_pillow_writes(words: str, anchor: str) -> None:
    expected = Image.new("L", (120, 40))
    ImageDraw.Draw(expected).text((60, 20), words, fill=255, font=font(11), anchor=anchor)
    found = Image.new("L", (120, 40))
    mask, right, down = letters(words, 11, anchor)
    found.paste(255, (60 + right, 20 + down), mask)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2
