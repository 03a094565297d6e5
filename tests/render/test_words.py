"""Words from data in markdown: a browser reads back the words that were given, and nothing else."""

import html

import pytest

from lightning_explain.render.words import LONGEST, markdown_safe


@pytest.mark.parametrize(
    "name",
    ["cat", "a < b & c", "<script>", "[x](y)", "`code` *bold* __init__", "a|b", "# head", "http://x.y", "&amp;", "猫"],
)
def test_a_browser_shows_the_words_that_were_given(name: str) -> None:
    written = markdown_safe(name)
    assert html.unescape(written) == name
    assert not set(written) & set("<>|`*[]!~") and "://" not in written


def test_underscores_within_a_word_stay_readable() -> None:
    assert markdown_safe("petal_length_cm") == "petal_length_cm"
    assert markdown_safe("_private") == "&#95;private"


def test_line_breaks_and_what_is_no_letter_become_spaces() -> None:
    assert markdown_safe("two\nlines\t and\0more ") == "two lines and more"
    assert markdown_safe("half \ud83d") == "half ?"  # half of a surrogate pair cannot be written to a file


def test_only_names_that_are_too_long_are_cut() -> None:
    assert markdown_safe("abcdef", longest=6) == "abcdef"
    assert markdown_safe("abcdefg", longest=6) == "abcde…"
    assert markdown_safe("x" * 2 * LONGEST) == "x" * 2 * LONGEST
    # cut before it is escaped: no entity is cut in two
    assert markdown_safe("<<<<", longest=3) == "&lt;&lt;…"
