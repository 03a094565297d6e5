"""Tags hold any name and never climb out of a folder."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.log.tags import tag, tag_part

HOSTILE = [
    "", ".", "..", "...", "/", "//", "\\", "../../x", "~", "a/b",
    "C:\\x", "\n", "\0", "*?", "con", "NUL.txt", "Com1", "a.", "-rf", " ",
    "x" * 10_000, "猫" * 500, "𠀀" * 500, "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_part_is_one_plain_file_name(name: str) -> None:
    part = tag_part(name)
    assert part and part not in (".", "..")
    assert not part.startswith(".")
    assert len(part) <= 80 and len((part + ".jsonl").encode()) <= 255
    assert PurePosixPath(part).parts == (part,)
    assert not set(part) & set('/\\:*?"<>|\0\n ') and not part.endswith(".")
    assert part.lower().split(".")[0] not in ("con", "nul", "aux", "com1")


@given(name=st.text())
def test_any_name_makes_a_part_that_stays_as_it_is(name: str) -> None:
    part = tag_part(name)
    assert part and tag_part(part) == part
    assert "/" not in part and not part.startswith(".")


@pytest.mark.parametrize("name", ["cat", "layer.0.relu#1".replace("#", "_"), "a-b_c", "Ünï", "猫", "0"])
def test_plain_names_stay(name: str) -> None:
    assert tag_part(name) == name


def test_a_tag_has_as_many_parts_as_were_given() -> None:
    assert tag("attribution", "drift") == "explain/attribution/drift"
    assert tag() == "explain"
    assert tag("a/b", "..", "").split("/") == ["explain", "a_b", "__", "_"]
