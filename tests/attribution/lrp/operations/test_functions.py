"""The tables of torch functions: complete, without contradictions, and made of functions that torch has."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp.operations import (
    activations,
    attention,
    normalisation,
    products,
    recurrent,
    reshapes,
)
from lightning_explain.attribution.lrp.operations.functions import ACTIVATIONS, COMPARES, HANDLERS, KEEPS_RANK

ROOMS = (activations, attention, normalisation, products, recurrent, reshapes)


def test_no_operation_has_two_rules() -> None:
    names = [name for room in ROOMS for name in room.HANDLERS]
    assert len(names) == len(set(names)) == len(HANDLERS)
    assert not HANDLERS.keys() & COMPARES
    assert not ACTIVATIONS & KEEPS_RANK


@pytest.mark.parametrize(
    "table", [KEEPS_RANK - {"get", "getitem"}, COMPARES, ACTIVATIONS], ids=["rank", "compares", "activations"]
)
def test_all_names_are_those_of_torch(table: frozenset[str]) -> None:
    places = (Tensor, torch, functional, torch.special, torch.ops.aten)
    known = {name for name in table if any(hasattr(place, name.removeprefix("special_")) for place in places)}
    assert table == known


@pytest.mark.parametrize("name", sorted(COMPARES - {"isclose", "detach"}))
def test_comparisons_have_no_gradient(name: str) -> None:
    x, y = torch.tensor([1.0, -2.0], requires_grad=True), torch.tensor([0.5, 3.0])
    function = getattr(torch, name)
    found = function(x) if name in {"argmax", "argmin", "signbit"} else function(x, y)
    assert not found.requires_grad or not torch.autograd.grad(found.sum(), x)[0].any()
