"""Contributions by their sign, against loops over a dense matrix."""

import pytest
import torch

from lightning_explain.attribution.lrp.maps import Dense
from lightning_explain.attribution.lrp.signs import (
    Favouring,
    is_nonnegative,
    is_zero,
    parts_by_sign,
    share,
    where_negative,
    where_positive,
)
from tests.attribution.nets import drawn

LAYER = Dense(drawn(4, 6, seed=2), drawn(4, seed=3))
POSITIVE, NEGATIVE = 1.5, 0.25


def counted(values: torch.Tensor) -> torch.Tensor:
    """Weigh contributions (or biases) by their sign, one rule for all."""
    return torch.where(values > 0, POSITIVE * values, NEGATIVE * values)


def test_nothing_is_shared_out_where_there_are_no_shares() -> None:
    found = share(torch.tensor([4.0, 4.0, 4.0]), torch.tensor([2.0, 0.0, -8.0]))
    assert found.tolist() == [2.0, 4.0, -0.5]
    assert share(torch.tensor([4.0]), torch.tensor([0.5])).tolist() == [8.0]


def test_values_are_kept_by_the_sign_of_others_and_nan_is_dropped() -> None:
    z, values = torch.tensor([2.0, 0.0, -1.0]), torch.tensor([5.0, torch.nan, 7.0])
    assert where_positive(values, z, out=torch.empty(3)).tolist() == [5.0, 0.0, 0.0]
    assert where_negative(values, z, out=torch.empty(3)).tolist() == [0.0, 0.0, 7.0]


@pytest.mark.parametrize("with_output", [False, True])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_totals_are_the_sums_of_counted_contributions(*, nonnegative: bool, with_output: bool) -> None:
    a = drawn(3, 6).abs() if nonnegative else drawn(3, 6)
    assert LAYER.bias is not None
    z = LAYER.apply(a, LAYER.weight, LAYER.bias) if with_output else None
    contributions = a[:, None] * LAYER.weight
    wanted = counted(contributions).sum(2) + counted(LAYER.bias)
    found = Favouring(LAYER, POSITIVE, NEGATIVE).totals(a, nonnegative=nonnegative, z=z)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_shares_go_back_by_counted_contributions(*, nonnegative: bool) -> None:
    a, s = drawn(3, 6).abs() if nonnegative else drawn(3, 6), drawn(3, 4, seed=5)
    wanted = (s[:, :, None] * counted(a[:, None] * LAYER.weight)).sum(1)
    torch.testing.assert_close(a * Favouring(LAYER, POSITIVE, NEGATIVE).back(s, a, nonnegative=nonnegative), wanted)


def test_signs_are_known_from_the_graph_or_looked_up() -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    assert is_nonnegative(x.relu()) and not is_nonnegative(x) and is_nonnegative(x.detach()[1:])
    assert is_nonnegative(torch.zeros(0)) and is_zero(torch.zeros(0)) and is_zero(torch.zeros(2))
    assert not is_zero(torch.tensor([0.0, -1.0])) and not is_zero(torch.tensor([0.0, 1.0]))
    above, below = parts_by_sign(x.detach())
    assert above.tolist() == [0.0, 2.0] and below.tolist() == [-1.0, 0.0]
