"""A call of a function as the rules see it."""

from dataclasses import dataclass

import torch

from lightning_explain.neurons.operations.operation import tensors_in
from tests.neurons.rules import marked, operation

A, B = torch.zeros(2, 3), torch.zeros(3)


def test_arguments_are_found_by_place_or_by_name() -> None:
    op = operation("sum", A, 1, known=[], out=B, keepdim=True)
    assert (op.given(1, "dim"), op.given(2, "keepdim"), op.given(3, "dtype", "none")) == (1, True, "none")
    assert op.shape == (3,)


def test_the_source_may_be_given_by_name() -> None:
    dims = marked((2, 3))
    assert operation("relu", A, known=[(A, dims)], out=A).source == dims
    assert operation("relu", input=A, known=[(A, dims)], out=A).source == dims
    assert operation("relu", B, known=[(A, dims)], out=B).source is None


def test_weights_are_no_operands() -> None:
    dims = marked((2, 3))
    assert operation("cat", [B, A], known=[(A, dims)], out=A, other=(A, 1.0)).operands == [dims, dims]


def test_tensors_are_found_in_whatever_holds_them_in_their_order() -> None:
    @dataclass
    class Output:
        loss: float
        logits: torch.Tensor

    found = tensors_in({"x": [A, (B, 3, "text")], "y": Output(0.1, A), "z": None})
    assert [id(tensor) for tensor in found] == [id(A), id(B), id(A)]
    assert tensors_in("text") == [] and tensors_in(object()) == []
