"""The error of a mean distance against drawn errors; the spread of top-k sets against drawn values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.drift.error import DistanceErrors, distance_errors, error_share
from lightning_explain.drift.similarity import top_k_overlap, top_k_spread

ALL = torch.ones(40, dtype=torch.bool)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_independent_errors_cancel_as_drawn_ones_do() -> None:
    spread = 0.1 * (1 + drawn(0, 40).abs())
    means = (spread * drawn(1, 20000, 40)).mean(1)
    errors = DistanceErrors(spread=spread, shift=torch.zeros(40))
    assert errors.of_mean(ALL) == pytest.approx(float(means.std()), rel=0.02)


def test_a_class_borrows_from_the_probe_and_is_less_certain_than_it() -> None:
    spread = torch.cat([torch.zeros(4), torch.full((36,), 0.1)])
    errors = DistanceErrors(spread=spread, shift=torch.zeros(40))
    of_class = errors.of_mean(torch.arange(40) < 4)
    # its own samples agree with the coarser rule, which may be chance
    assert of_class == pytest.approx((0.3 * 0.9 * 0.1**2 / 4) ** 0.5)
    assert errors.of_mean(torch.arange(40) >= 36) > 3 * errors.of_mean(ALL)


def test_what_all_have_in_common_does_not_cancel() -> None:
    spread = torch.full((40,), 0.1)
    assert DistanceErrors(spread=spread, shift=spread).of_mean(ALL) == pytest.approx(0.1)
    mixed = torch.where(torch.arange(40) % 2 == 0, spread, -spread)
    assert DistanceErrors(spread=spread, shift=mixed).of_mean(ALL) == pytest.approx(0.1 / 40**0.5)


def test_a_sample_whose_error_is_unknown_has_that_of_the_others() -> None:
    spread = torch.where(torch.arange(40) < 10, torch.nan, torch.full((40,), 0.1))
    errors = DistanceErrors(spread=spread, shift=torch.where(spread.isnan(), torch.nan, 0.0))
    assert errors.of_mean(ALL) == pytest.approx(0.1 / 40**0.5)
    assert errors.of_mean(torch.arange(40) < 4) == pytest.approx(0.1 / 2)
    nothing = DistanceErrors(spread=spread * torch.nan, shift=spread * torch.nan)
    assert math.isnan(nothing.of_mean(ALL))


def test_the_two_explanations_err_independently() -> None:
    found = distance_errors(
        torch.tensor([1.0, 1.0]),
        coarse_now=torch.tensor([1.3, 1.3]),
        coarse_reference=torch.tensor([1.4, 0.6]),
        share_now=torch.tensor([1.0, 0.5]),
        share_reference=torch.tensor([1.0, 0.5]),
    )
    torch.testing.assert_close(found.spread, torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(found.shift, torch.tensor([0.7, -0.05]))


def test_the_share_is_the_error_over_the_way_to_the_coarser_rule() -> None:
    values, coarse = torch.tensor([[3.0, 1.0]] * 5), torch.tensor([[3.0, 1.4]] * 4 + [[3.0, 1.0]])
    error = torch.tensor([0.05, 0.1, torch.nan, 9.0, 0.0])
    torch.testing.assert_close(error_share(error, values, coarse), torch.tensor([0.5, 1.0, 1.0, 4.0, 1.0]))
    assert error_share(None, values, coarse).tolist() == [1] * 5


@given(seed=st.integers(0, 99), k=st.integers(1, 29), size=st.sampled_from([0.02, 0.1, 0.3]))
def test_top_k_sets_vary_as_those_of_drawn_values_do(seed: int, k: int, size: float) -> None:
    values = drawn(seed, 1, 30)
    errors = size * drawn(seed + 1, 1, 30).abs()
    noisy = values + errors * drawn(seed + 2, 1000, 30)
    lost = 1 - top_k_overlap(noisy, values.expand_as(noisy), k)
    stated = float(top_k_spread(values, errors, k))
    # what is lost is twice a sum of independent exchanges at most, and none where there is no spread
    assert float(lost.square().mean().sqrt()) < 2 * stated + 0.02


def test_the_spread_of_top_k_is_that_of_its_formula() -> None:
    values, errors = torch.tensor([[5.0, -3.0, 2.8, 1.0]]), torch.tensor([[1.0, 0.1, 0.2, 0.0]])
    crossing = [math.erfc(abs(abs(v) - 2.9) / e / 2**0.5) / 2 for v, e in ((5, 1.0), (3, 0.1), (2.8, 0.2))]
    expected = sum(p * (1 - p) for p in crossing) ** 0.5 / 2
    assert float(top_k_spread(values, errors, 2)) == pytest.approx(expected, rel=1e-5)


def test_what_has_no_error_and_what_takes_all_features_never_changes() -> None:
    tied = torch.tensor([[1.0, 1.0, 1.0]])
    assert float(top_k_spread(tied, torch.zeros(1, 3), 1)) == 0
    assert float(top_k_spread(tied, torch.ones(1, 3), 3)) == 0
