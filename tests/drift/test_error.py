"""The error of a mean distance against drawn errors."""

import math

import pytest
import torch
from torch import Tensor

from lightning_explain.drift.error import DistanceErrors, distance_errors, error_share

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
