"""Reading the autograd graph: what is still the input, and where relevance goes back to."""

import pytest
import torch
from torch import Tensor

from lightning_explain.attribution.autograd_graph import (
    check_passable,
    dependent_nodes,
    is_input,
    moved_back,
    operation_of,
    readers_of,
)
from lightning_explain.errors import ConfigurationError

CONSTANT = torch.tensor([2.0, -4.0, 0.5])


def leaf() -> Tensor:
    return torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)


class Unknown:
    """Makers that know of nothing."""

    remedy = "Add a rule"

    def accepts(self, node) -> bool:
        return False

    def maker(self, node) -> str:
        return "'block' (Net)"

    def function(self, node) -> str:
        return f"torch.{operation_of(node).lower()}"


@pytest.mark.parametrize(
    ("function", "still"),
    [
        (lambda x: x.flip(1).T.reshape(-1), True),
        (lambda x: (x - 0.5) / CONSTANT, True),
        (lambda x: torch.cat([x, 2 * x], 1)[:, 1:4], True),
        (lambda x: -x + CONSTANT, True),
        (lambda x: x + x, False),
        (lambda x: x * x, False),
        (lambda x: CONSTANT / x, False),
        (lambda x: x.relu(), False),
        (lambda x: x.sum(1), False),
        (lambda x: x @ torch.ones(3, 3), False),
    ],
)
def test_only_moved_scaled_and_shifted_inputs_still_are_the_input(function, *, still: bool) -> None:
    x = leaf()
    assert is_input(function(x), (x,)) is still
    assert is_input(x, (x,)) and not is_input(leaf() * 1, (x,))


def test_relevance_goes_back_to_where_it_came_from_whatever_the_scale() -> None:
    x, other = leaf(), leaf()
    moved = ((x - 0.5) / CONSTANT).flip(1)
    relevance = torch.arange(6.0).reshape(2, 3)
    back, none = moved_back(relevance, moved, (x, other))
    assert back.tolist() == relevance.flip(1).tolist() and not none.any()
    # an element that was copied gets the relevance of both copies
    (twice,) = moved_back(torch.ones(2, 6), torch.cat([x, 3 * x], 1), (x,))
    assert twice.tolist() == [[2.0] * 3] * 2


def test_dependent_nodes_are_those_between_leaf_and_root() -> None:
    x, weight = leaf(), torch.ones(3, requires_grad=True)
    hidden, beside = x.exp(), weight.sin()
    root = (hidden * beside).sum()
    operations = {operation_of(node) for node in dependent_nodes(root.grad_fn, (x,))}
    assert operations == {"Sum", "Mul", "Exp", "torch::autograd::AccumulateGrad"}
    assert dependent_nodes(root.grad_fn, (leaf(),)) == set()


def test_readers_are_named_on_the_way_to_the_root_only() -> None:
    z = leaf() * 2
    z.tanh()
    root = (z.relu() + z.exp()).sum()
    assert readers_of(root.grad_fn)[z.grad_fn] == {"Relu", "Exp"}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.cumprod(1), r"'block' \(Net\): torch\.cumprod"),
        (lambda x: x * x.sum(), r"a product of two activations \(torch\.mul\)"),
        (lambda x: 1 / x, r"a division by an activation|torch\.reciprocal"),
    ],
)
def test_operations_that_relevance_cannot_pass_are_named_with_the_remedy(function, said: str) -> None:
    x = leaf()
    with pytest.raises(ConfigurationError, match=said) as caught:
        check_passable(function(x).sum(), (x,), Unknown())
    assert "Add a rule, or explain this model by IntegratedGradients" in str(caught.value)
    check_passable((x.relu() * CONSTANT).amax(1).sum(), (x,), Unknown())
    # what does not depend on the input may be anything
    check_passable((x * torch.ones(3, requires_grad=True).cumprod(0)).sum(), (x,), Unknown())
