"""How deliberate errors find their place: by the syntax tree, whatever variables are called."""

import ast

import pytest

from lightning_explain.budget import stride_within
from tests.mutations.mutation import Mutation, mutated, notices, places

FUNCTION = ast.parse("""
def scaled(values, size):
    # a comment
    total = (values - size) / size
    return torch.stack([total,
                        size / values])
""")


def names(name: str) -> bool:
    return name == "torch"


@pytest.mark.parametrize(
    ("pattern", "n_found"),
    [
        ("(a - b) / b", 1),
        ("(a - a) / b", 0),
        ("x * y", 0),
        ("torch.stack([x, y / z])", 1),
        ("numpy.stack([x, y / z])", 0),
        ("t = (v - s) / s", 1),
    ],
)
def test_local_names_and_layout_do_not_count(pattern: str, n_found: int) -> None:
    # each name of the pattern stands for one variable
    found = [names_ for _, names_ in places(FUNCTION, pattern, names)]
    assert len(found) == n_found


def strides() -> None:
    assert stride_within(0.1, cost=1.0, pause=1.0) == 16


def test_an_error_lasts_as_long_as_its_block() -> None:
    error = Mutation("budget.stride_within", "s * p + c", "c", strides)
    assert str(error) == "stride_within: s * p + c"
    with (
        pytest.raises(AssertionError, match="found"),
        mutated(Mutation("budget.stride_within", "no_such", "1", strides)),
    ):
        pass
    notices(error)
    strides()


def test_a_check_that_sees_nothing_is_reported() -> None:
    harmless = Mutation("neurons.profile.selectivity", "nothing_like_this", "1", strides)
    with pytest.raises(AssertionError, match="adapt its row"):
        notices(harmless)
