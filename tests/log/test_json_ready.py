"""Values that JSON can hold, and nothing lost of the others."""

import json
import math
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.log.json_ready import json_ready, json_text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((0.5, math.nan), [0.5, None]),
        ({1: math.inf, None: -math.inf}, {"1": None, "None": None}),
        (OrderedDict(a=(1, [2, (3,)])), {"a": [1, [2, [3]]]}),
        ([True, None, "nan", 10**30], [True, None, "nan", 10**30]),
        ({}, {}),
    ],
)
def test_nan_becomes_null_keys_strings_and_tuples_lists(value: Any, expected: Any) -> None:
    found = json_ready(value)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


def test_what_was_given_is_not_changed() -> None:
    given = {"a": [math.nan]}
    json_ready(given)
    assert math.isnan(given["a"][0])


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
nested = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner)
)


@given(nested)
def test_the_text_is_that_of_the_values_that_json_has(value: Any) -> None:
    assert json_text(value) == json.dumps(json_ready(value), allow_nan=False)
    assert json_text(value, (",", ":")) == json.dumps(json_ready(value), allow_nan=False, separators=(",", ":"))


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        json_text({"a": {1}})
