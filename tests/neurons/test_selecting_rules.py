"""Which entries an operation takes of a dimension, against the operation itself on the entries' numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_explain.neurons.axes import fresh_dims
from lightning_explain.neurons.operations.axis_rules import dims_after
from lightning_explain.neurons.operations.selecting_rules import in_one_order
from tests.neurons.rules import operation

PICK = torch.tensor([3, 0, 4, 4])
OPERATIONS: dict[str, tuple[str, tuple[Any, ...], Callable[[Tensor], Tensor]]] = {
    "a tensor": ("__getitem__", (PICK,), lambda x: x[PICK]),
    "a mask": ("__getitem__", (PICK.new_tensor([1, 0, 1, 1, 0]) > 0,), lambda x: x[[0, 2, 3]]),
    "a slice": ("__getitem__", (slice(1, 5, 2),), lambda x: x[1:5:2]),
    "select": ("index_select", (0, PICK), lambda x: x[PICK]),
    "flip": ("flip", ([0],), lambda x: x.flip(0)),
    "roll": ("roll", (2, 0), lambda x: x.roll(2, 0)),
    "the first piece": ("split", (3,), lambda x: x[:3]),
    "the first chunk": ("chunk", (2,), lambda x: x[:3]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_order_is_that_of_the_numbers_after_the_operation(name: str) -> None:
    function, args, expected = OPERATIONS[name]
    x, given = torch.randn(5, 2), fresh_dims((5, 2))
    out = expected(x)
    found = dims_after(operation(function, x, *args, known=[(x, given)], out=out))
    choice = found[0][0].axis.choice
    assert choice is not None and choice.order is not None and choice.of == given[0] and found[1] == given[1]
    assert torch.equal(choice.order, expected(torch.arange(5)))
    assert not choice.is_whole


@pytest.mark.parametrize("name", ["sort", "argsort", "topk", "gather"])
def test_an_order_that_each_line_has_for_itself_is_unknown(name: str) -> None:
    x, given = torch.randn(5, 2), fresh_dims((5, 2))
    args = {"topk": (5, 0), "gather": (0, torch.zeros(5, 2, dtype=torch.long))}.get(name, (0,))
    found = dims_after(operation(name, x, *args, known=[(x, given)], out=x.clone()))
    choice = found[0][0].axis.choice
    assert choice is not None and choice.order is None and not choice.is_whole and found[1] == given[1]


def test_all_of_a_dimension_is_that_dimension() -> None:
    x, given = torch.randn(5, 2), fresh_dims((5, 2))
    assert dims_after(operation("__getitem__", x, slice(None), known=[(x, given)], out=x)) == given


def test_entries_of_one_dimension_are_put_side_by_side_and_those_of_several_are_not() -> None:
    x, given = torch.randn(5, 2), fresh_dims((5, 2))
    parts = [
        dims_after(operation("__getitem__", x, part, known=[(x, given)], out=x[part]))[0]
        for part in (slice(3, 5), slice(0, 3))
    ]
    joined = in_one_order(parts)
    assert joined is not None and joined[0].axis.choice is not None
    assert joined[0].axis.choice.order is not None and joined[0].axis.choice.order.tolist() == [3, 4, 0, 1, 2]
    assert in_one_order([*parts, given[1]]) is None and in_one_order([given[0], given[0]]) is None
