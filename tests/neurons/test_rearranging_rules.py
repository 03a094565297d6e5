"""Operations that move, merge and shorten dimensions: the rules say where the entries really go."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.neurons.operations.axis_rules import dims_after
from lightning_explain.neurons.operations.rearranging_rules import fits
from tests.neurons.rules import marked, moved_to, operation, unit_places, units_after

SHAPE = (2, 3, 4, 6)

# name of the function, the arguments after the tensor, those by name, and the function
MOVES: list[tuple[str, tuple[Any, ...], dict[str, Any], Callable[..., Tensor]]] = [
    ("permute", (0, 2, 3, 1), {}, Tensor.permute),
    ("permute", ((3, 0, 1, 2),), {}, torch.permute),
    ("permute", (), {"dims": (1, 0, 3, 2)}, torch.permute),
    ("transpose", (1, -1), {}, torch.transpose),
    ("transpose", (), {"dim0": 0, "dim1": 2}, torch.transpose),
    ("swapaxes", (1, 2), {}, torch.swapaxes),
    ("mT", (), {}, lambda x: x.mT),
    ("movedim", (1, -1), {}, torch.movedim),
    ("movedim", ((0, 1), (2, 0)), {}, torch.movedim),
    ("flatten", (1,), {}, torch.flatten),
    ("reshape", (6, 24), {}, Tensor.reshape),
    ("reshape", ((2, 3, 2, 2, 6),), {}, torch.reshape),
    ("unflatten", (3, (2, 3)), {}, torch.unflatten),
    ("unsqueeze", (-1,), {}, torch.unsqueeze),
    ("unsqueeze", (1,), {}, torch.unsqueeze),
    ("expand", (5, 2, 3, 4, 6), {}, Tensor.expand),
    ("repeat", (1, 2, 1, 1), {}, Tensor.repeat),
    ("repeat", (2, 1, 1, 1, 3), {}, Tensor.repeat),
    ("mean", (1,), {}, torch.mean),
    ("mean", ((2, 3),), {}, torch.mean),
    ("sum", (-1, True), {}, torch.sum),
    ("amax", (), {"dim": (1, 3), "keepdim": True}, torch.amax),
    ("sum", (), {"axis": 2}, torch.sum),
    ("norm", (2, 1), {}, torch.norm),
    ("linalg_vector_norm", (2, -1), {}, torch.linalg.vector_norm),
    ("linalg_norm", (), {"dim": 1, "keepdim": True}, torch.linalg.norm),
    ("select", (1, 0), {}, torch.select),
    ("narrow", (3, 1, 3), {}, torch.narrow),
    ("flip", ((1,),), {}, torch.flip),
    ("max_pool2d", (2,), {}, functional.max_pool2d),
    ("interpolate", (), {"scale_factor": 2.0}, functional.interpolate),
    ("__getitem__", ((slice(None), 0),), {}, Tensor.__getitem__),
    ("__getitem__", ((..., slice(0, 2)),), {}, Tensor.__getitem__),
    ("__getitem__", ((None, slice(None), slice(1, 3)),), {}, Tensor.__getitem__),
    ("__getitem__", ((slice(None), torch.tensor([0, 2, 2])),), {}, Tensor.__getitem__),
    ("relu", (), {}, torch.relu),
    ("mul", (2.0,), {}, torch.mul),
]


@pytest.mark.parametrize("units", range(4))
@pytest.mark.parametrize("case", range(len(MOVES)), ids=[f"{name}{args}{options}" for name, args, options, _ in MOVES])
def test_units_are_where_their_entries_went(case: int, units: int) -> None:
    name, args, options, function = MOVES[case]
    x = torch.zeros(SHAPE)
    found = units_after(name, x, marked(SHAPE, units), *args, out=function(x, *args, **options), **options)
    assert found == moved_to(lambda t: function(t, *args, **options), SHAPE, units)


@pytest.mark.parametrize("units", range(4))
@pytest.mark.parametrize("dim", [1, -1])
def test_pieces_and_entries_keep_the_other_dimensions(units: int, dim: int) -> None:
    x, dims = torch.zeros(SHAPE), marked(SHAPE, units)
    for name, function in {"chunk": lambda t: t.chunk(2, dim), "split": lambda t: t.split(2, dim)}.items():
        found = units_after(name, x, dims, 2, dim, out=function(x)[0])
        assert found == moved_to(lambda t: function(t)[0], SHAPE, units), name  # noqa: B023 - called at once
    assert units_after("unbind", x, dims, dim, out=x.unbind(dim)[0]) == moved_to(
        lambda t: t.unbind(dim)[0], SHAPE, units
    )


@pytest.mark.parametrize("units", [1, 3])
def test_tensors_side_by_side_count_the_units_of_either(units: int) -> None:
    x, y = torch.zeros(SHAPE), torch.ones(SHAPE)
    known = [(x, marked(SHAPE, units)), (y, marked(SHAPE, units))]
    joined = dims_after(operation("cat", [x, y], 1, known=known, out=torch.cat([x, y], 1)))
    assert unit_places(joined) == [units] and [len(dim) for dim in joined] == [1] * 4
    stacked = dims_after(operation("stack", [x, y], known=known, out=torch.stack([x, y])))
    assert unit_places(stacked) == [units + 1]
    # a weight beside it says nothing
    assert unit_places(dims_after(operation("cat", [x, y], -1, known=known[:1], out=torch.cat([x, y], -1)))) == [units]


def test_squeezing_takes_only_dimensions_of_length_one() -> None:
    x = torch.zeros(2, 1, 3, 1)
    dims = marked((2, 1, 3, 1), 2)
    assert units_after("squeeze", x, dims, out=x.squeeze()) == [1]
    assert units_after("squeeze", x, dims, 1, out=x.squeeze(1)) == [1]
    assert units_after("squeeze", x, dims, 2, out=x.squeeze(2)) == [2]


def test_pixels_that_are_shuffled_leave_channels_as_units() -> None:
    x = torch.zeros(2, 4, 3, 3)
    assert units_after("pixel_shuffle", x, marked((2, 4, 3, 3), 1), 2, out=functional.pixel_shuffle(x, 2)) == [1]


def test_rows_of_a_weight_looked_up_by_ids_have_units_at_the_end() -> None:
    ids, weight = torch.zeros(2, 5, dtype=torch.long), torch.zeros(9, 6)
    found = dims_after(operation("__getitem__", weight, ids, known=[(ids, marked((2, 5)))], out=weight[ids]))
    assert unit_places(found) == [2]


def test_larger_weights_add_units_at_the_end_and_positions_elsewhere() -> None:
    x, last, first = torch.zeros(4, 1), torch.zeros(4, 6), torch.zeros(5, 4, 1)
    assert units_after("mul", x, marked((4, 1)), last, out=x * last) == [1]
    assert units_after("mul", x, marked((4, 1)), first, out=x * first) == []


@pytest.mark.parametrize(
    ("shape", "into", "fit"),
    [((3,), (2, 3), True), ((2, 1), (2, 3), True), ((2,), (2, 3), False), ((), (2,), True), ((4, 2, 3), (2, 3), True)],
)
def test_what_can_be_broadcast_fits(shape: tuple[int, ...], into: tuple[int, ...], fit: bool) -> None:
    assert fits(marked(shape), into) is fit
