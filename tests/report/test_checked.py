"""Values from headers that anybody may have written: right ones are read, all others become nothing."""

import base64
import math
from typing import Any

import numpy as np
import pytest

from lightning_explain.report.checked import (
    MOST,
    class_name,
    indices,
    items,
    mapping,
    number,
    numbers,
    shares,
    tile,
    whole,
    words,
)

WRONG: list[Any] = [None, "x", [1], {"a": 1}, True, math.inf, -math.inf, math.nan, 10**400]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(value)[:10])
def test_what_is_no_number_is_undefined(value: Any) -> None:
    assert math.isnan(number(value))
    assert whole(value, 7) == 7


def test_numbers_and_lists_are_read_item_by_item() -> None:
    assert number(-2) == -2.0 and whole(1 << 52) == 1 << 52 and whole(1 << 53) == -1 and whole(2.0) == -1
    assert indices([1, "2", 3]) == [1, -1, 3] and numbers("12") == []
    assert numbers([1, 2.5])[1] == 2.5 and math.isnan(numbers([None])[0])
    assert len(items([0] * (MOST + 5))) == MOST and items((1, 2)) == []
    assert mapping([("a", 1)]) == {} and words(3) == "3" and words(["a"]) == ""


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ([3, 4], (3, 4)),
        ([3], None),
        ([3, 0], None),
        ([3, -4], None),
        ([3000, 3000], None),
        ("34", None),
        ([1.5, 2], None),
    ],
)
def test_tiles_have_two_sides_of_bearable_size(value: Any, read: tuple[int, int] | None) -> None:
    assert tile(value) == read


def test_classes_without_a_name_are_numbered() -> None:
    header = {"class_names": {"0": "cat", "1": None, "2": ["dog"]}}
    assert [class_name(header, index) for index in range(4)] == ["cat", "1", "2", "3"]
    assert class_name({"class_names": "cats"}, 5) == "5"


def test_shares_are_bytes_of_250_steps_and_undefined_above() -> None:
    code = base64.b64encode(bytes([0, 125, 250, 255])).decode()
    assert shares(code, 2, 2)[0].tolist() == [0.0, 0.5] and shares(code, 2, 2)[1, 0] == 1.0
    assert np.isnan(shares(code, 2, 2)[1, 1])
    for wrong in (code[:-3], code + "====", "not base64!", None, 5):
        assert np.isnan(shares(wrong, 3, 2)).all() and shares(wrong, 3, 2).shape == (3, 2)
