"""The mean of a unit over its positions, for each way in which outputs are arranged."""

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.capture import Call, Layer
from lightning_explain.errors import ExplanationError
from lightning_explain.feeding.unit_means import unit_means
from lightning_explain.neurons.views import Units

VALUES = torch.randn(3, 4, 5, requires_grad=True)


@pytest.mark.parametrize(("dim", "expected"), [(1, VALUES.mean(2)), (-1, VALUES.mean(1))])
def test_positions_are_averaged_and_gradients_pass(dim: int, expected: Tensor) -> None:
    found = unit_means(VALUES, Layer("a", nn.ReLU(), dim), "a", n_samples=3)
    torch.testing.assert_close(found, expected)
    assert found.requires_grad


def test_flat_outputs_are_themselves_and_later_changes_are_not_seen() -> None:
    flat = torch.randn(3, 4)
    found = unit_means(flat, Layer("a", nn.ReLU(), 1), "a", n_samples=3)
    torch.testing.assert_close(found, flat)
    flat.zero_()
    assert found.abs().sum() > 0


def test_padding_is_left_out_even_where_it_is_nan() -> None:
    values = VALUES.detach().clone()
    values[0, 1:] = torch.nan
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[0, 1:] = False
    layer = Layer("a", nn.ReLU(), -1, view=lambda call: Units(call.output, valid))
    found = unit_means(Call((), {}, values, None), layer, "a", n_samples=3)
    torch.testing.assert_close(found, torch.cat([values[:1, 0], values[1:].mean(1)]))


def test_units_that_cannot_be_seen_are_named() -> None:
    with pytest.raises(ExplanationError, match="'a' cannot be seen"):
        unit_means(torch.randn(3, 4, 5), Layer("a", nn.ReLU(), None), "a", n_samples=3)
