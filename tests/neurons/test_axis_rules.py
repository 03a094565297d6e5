"""Which rule an operation has, and what is said where there is none."""

import pytest
import torch
from torch.nn import functional

from lightning_explain.neurons.operations.axis_rules import _BY_NAMES, RULES, dims_after
from tests.neurons.rules import marked, operation, unit_places

PLACES = (torch, torch.Tensor, functional, torch.ops.aten)


def test_every_rule_is_for_a_function_of_torch() -> None:
    assert [name for name in RULES if not any(hasattr(place, name) for place in PLACES)] == []


def test_no_function_has_two_rules() -> None:
    names = [name for names in _BY_NAMES.values() for name in names.split()]
    assert len(names) == len(set(names)) == len(RULES)


def test_a_function_without_a_rule_keeps_axes_of_the_same_shape() -> None:
    x = torch.zeros(2, 3)
    dims = marked((2, 3), 1)
    assert dims_after(operation("my_function", x, known=[(x, dims)], out=torch.ones(2, 3))) == dims
    other = dims_after(operation("my_function", x, known=[(x, dims)], out=torch.ones(3, 2)))
    assert unit_places(other) == [] and all(dim[0].axis.origin == "lost" for dim in other)


@pytest.mark.parametrize(
    ("name", "args", "out"),
    [("permute", (0, 7), (2, 3)), ("unsqueeze", (None,), (2, 3, 1)), ("mean", ("x",), (2,)), ("reshape", (4,), (4,))],
)
def test_an_unusual_call_loses_what_was_known_instead_of_guessing(name: str, args: tuple, out: tuple) -> None:
    x = torch.zeros(2, 3)
    found = dims_after(operation(name, x, *args, known=[(x, marked((2, 3), 1))], out=torch.zeros(out)))
    assert [dim[0].axis.origin for dim in found] == ["lost"] * len(out) and unit_places(found) == []
