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


@pytest.mark.parametrize("signs", [(1, 0), (0, 1)])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_total_below_the_smallest_share_of_16_bits_gives_no_nan(*, nonnegative: bool, signs: tuple[int, int]) -> None:
    # -1 / 6e-8 is beyond the largest number of 16 bits, and a ReLU behind the layer leaves a gradient of 0
    turned = 1 if signs == (1, 0) else -1
    weight = turned * torch.tensor([[6e-8, -1.0], [0.5, 0.25]]).half()
    a = torch.tensor([[1.0, 1.0]]).half() if nonnegative else torch.tensor([[-1.0, -1.0]]).half()
    weight = weight if nonnegative else -weight
    layer = Dense(weight, None)
    z = layer.apply(a, weight)
    found = a * Favouring(layer, *signs).share_out(torch.tensor([[0.0, 1.0]]).half(), a, z)
    assert found[0].tolist() == pytest.approx([turned * 0.5, turned * 0.25], rel=1e-2)


def test_what_rounding_leaves_of_a_total_hands_on_at_most_twice_what_arrived() -> None:
    # positive contributions below the rounding of the sum of all: each output has one such and 15 large ones
    a = drawn(1, 16).abs().float() + 0.5
    a[0, 1:8] *= -1
    weight = -a.sign() * drawn(512, 16, seed=7).abs().float()
    weight[:, 0] = torch.logspace(-9, -6, 512)
    # each output by itself: its own share of the one input that raises it
    z = (a * weight).sum(1, keepdim=True)
    shared = [
        float(a[0, 0] * Favouring(Dense(row[None], None), 1, 0).share_out(torch.ones(1, 1), a, out[None])[0, 0])
        for row, out in zip(weight, z, strict=True)
    ]
    # of the sign of what arrived, though rounding may leave a total of the other one
    assert (torch.tensor(shared) * z.flatten() >= 0).all()
    assert (torch.tensor(shared).abs() <= 2 * z.abs().flatten()).all()
