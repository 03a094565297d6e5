"""Layers and products with weights: where the units are that they create."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.neurons.axes import fresh, is_units
from lightning_explain.neurons.operations.axis_rules import dims_after
from tests.neurons.rules import marked, operation, unit_places, units_after

X = torch.rand(2, 4, 6, 6)
W = torch.rand(6, 6)
NORM = (torch.zeros(4), torch.ones(4))

# function, arguments after the tensor, result, where it counts units when its input counts none, and when the last
CASES: dict[str, tuple[str, tuple[Any, ...], Tensor, list[int], list[int]]] = {
    "linear": ("linear", (W,), functional.linear(X, W), [3], [3]),
    "convolution": ("conv2d", (torch.rand(5, 4, 3, 3),), functional.conv2d(X, torch.rand(5, 4, 3, 3)), [1], [1]),
    "transposed": (
        "conv_transpose2d", (torch.rand(4, 5, 3, 3),), functional.conv_transpose2d(X, torch.rand(4, 5, 3, 3)), [1], [1],
    ),
    "batch norm": ("batch_norm", NORM, functional.batch_norm(X, *NORM), [1], [3]),
    "group norm": ("group_norm", (2,), functional.group_norm(X, 2), [1], [3]),
    "layer norm": ("layer_norm", ((6,),), functional.layer_norm(X, (6,)), [3], [3]),
    "layer norm of maps": ("layer_norm", ((6, 6),), functional.layer_norm(X, (6, 6)), [], [3]),
    "prelu of channels": ("prelu", (torch.rand(4),), functional.prelu(X, torch.rand(4)), [1], [3]),
    "prelu of all": ("prelu", (torch.rand(1),), functional.prelu(X, torch.rand(1)), [], [3]),
    "patches": ("unfold", (3,), functional.unfold(X, 3), [1], [1]),
    "by a weight": ("matmul", (W,), X @ W, [3], [3]),
    "by a vector": ("matmul", (W[0],), X @ W[0], [], []),
    "of a weight": ("__rmatmul__", (W,), W @ X, [2], [2]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layers_say_where_their_units_are_whatever_came(name: str) -> None:
    function, args, out, of_none, of_last = CASES[name]
    assert units_after(function, X, marked(X.shape), *args, out=out) == of_none
    assert units_after(function, X, marked(X.shape, 3), *args, out=out) == of_last


def test_a_product_of_two_that_depend_on_the_input_keeps_rows_and_columns() -> None:
    a, b = torch.rand(2, 3, 4), torch.rand(2, 4, 5)
    known = [(a, marked((2, 3, 4), 2)), (b, marked((2, 4, 5), 2))]
    assert unit_places(dims_after(operation("bmm", a, b, known=known, out=a @ b))) == [2]
    known = [(a, marked((2, 3, 4), 1)), (b, marked((2, 4, 5), 1))]
    found = dims_after(operation("bmm", a, b, known=known, out=a @ b))
    assert unit_places(found) == [1] and found[2] == known[1][1][2]


def test_a_sum_and_a_product_in_one_call_is_a_product() -> None:
    x, bias = torch.rand(3, 6), torch.rand(6)
    found = dims_after(operation("addmm", bias, x, W, known=[(x, marked((3, 6)))], out=torch.addmm(bias, x, W)))
    assert unit_places(found) == [1]


@pytest.mark.parametrize(
    ("equation", "width", "units"),
    # the last has no letter of its own: the units stay where they were
    [("btf,fu->but", 6, [1]), ("btf,fu->btu", 6, [2]), ("btf,ft->bf", 3, [1])],
)
def test_a_letter_that_only_weights_have_counts_units(equation: str, width: int, units: list[int]) -> None:
    x, weight = torch.rand(2, 3, 6), torch.rand(6, width)
    out = torch.einsum(equation, x, weight)
    found = dims_after(operation("einsum", equation, x, weight, known=[(x, marked((2, 3, 6), 2))], out=out))
    assert unit_places(found) == units


def test_attention_has_the_positions_of_the_query_and_the_features_of_the_value() -> None:
    q, k, v = torch.rand(2, 3, 4), torch.rand(2, 5, 4), torch.rand(2, 5, 6)
    known = [(part, marked(part.shape, 2)) for part in (q, k, v)]
    out = functional.scaled_dot_product_attention(q, k, v)
    found = dims_after(operation("scaled_dot_product_attention", q, k, v, known=known, out=out))
    assert found == (*known[0][1][:2], known[2][1][2])


def test_embedded_ids_have_units_at_the_end() -> None:
    ids, table = torch.zeros(2, 5, dtype=torch.long), torch.rand(9, 6)
    out = functional.embedding(ids, table)
    found = dims_after(operation("embedding", ids, table, known=[(ids, marked((2, 5)))], out=out))
    assert unit_places(found) == [2]


def test_the_first_dimension_before_channels_holds_samples_where_nothing_was_known_of_it() -> None:
    lost = tuple(fresh(size, origin="lost") for size in X.shape)
    found = dims_after(operation("conv2d", X, torch.rand(5, 4, 1, 1), known=[(X, lost)], out=torch.rand(2, 5, 6, 6)))
    assert [dim[0].axis.root.origin for dim in found] == ["batch", "made", "lost", "lost"]
    assert [is_units(dim) for dim in found] == [False, True, False, False]
