"""Integrals along a path, fixed and adaptive, against closed forms."""

import pytest
import torch

from lightning_explain.attribution.integrated_gradients.path import StraightPath
from lightning_explain.attribution.integrated_gradients.path_integral import (
    Integral,
    averaged,
    integrate_adaptive,
    integrate_fixed,
)
from lightning_explain.attribution.integrated_gradients.quadrature import gauss_legendre, midpoint
from lightning_explain.errors import ExplanationError

X = torch.tensor([[1.0, 2.0], [-3.0, 0.5]]).double()
ZERO = torch.zeros(1, 2).double()
CUBIC = StraightPath(lambda x: (x**3).sum(1), (X,), (ZERO,), None)


def test_a_fixed_rule_gives_the_closed_form_of_a_cubic() -> None:
    found = integrate_fixed(CUBIC, gauss_legendre(2))
    torch.testing.assert_close(found.values[0], X**3)
    torch.testing.assert_close(found.change, (X**3).sum(1))
    assert found.n_evaluations.tolist() == [2, 2] and found.unfinished.tolist() == [False, False]


def test_the_error_of_one_point_is_unknown_and_there_is_no_coarser_rule() -> None:
    found = integrate_fixed(CUBIC, midpoint(1))
    assert found.coarse is None and bool(found.error.isnan().all())
    torch.testing.assert_close(found.values[0], 0.75 * X**3)


def test_the_coarser_rule_has_every_second_point() -> None:
    found = integrate_fixed(CUBIC, midpoint(4))
    assert found.coarse is not None
    nodes = torch.tensor([0.125, 0.625]).double()
    torch.testing.assert_close(found.coarse[0], (3 * nodes**2).mean() * X**3)


@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
def test_the_adaptive_rule_keeps_its_tolerance(tolerance: float) -> None:
    found = integrate_adaptive(CUBIC, tolerance=tolerance, max_steps=513)
    true = (found.values[0] - X**3).abs().sum(1) / (X**3).abs().sum(1)
    assert not found.unfinished.any()
    assert bool((true <= found.error).all()) and bool((found.error <= tolerance).all())


def test_points_that_run_out_are_told() -> None:
    found = integrate_adaptive(CUBIC, tolerance=1e-6, max_steps=9)
    assert found.unfinished.tolist() == [True, True] and int(found.n_evaluations.max()) <= 9


def test_carried_parts_get_zeros_in_their_own_shape() -> None:
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    path = StraightPath(lambda n, x: (x**2).sum(1) + n.sum(1), (ids, X), (ids, ZERO.expand(2, 2)), None)
    carried, values = integrate_adaptive(path, tolerance=1e-3, max_steps=65).values
    assert carried.shape == (2, 3) and not carried.any()
    torch.testing.assert_close(values, X**2)


def test_nan_is_refused() -> None:
    with pytest.raises(ExplanationError, match="1 of 2 samples are NaN"):
        integrate_fixed(StraightPath(lambda x: x.sqrt().sum(1), (X,), (ZERO + 1,), None), gauss_legendre(2))


def integral(value: float, coarse: float | None, change: float, n: int, *, unfinished: bool = False) -> Integral:
    """An integral of one sample with a single feature."""
    one = torch.ones(1).double()
    return Integral(
        values=(value * one[None],),
        coarse=None if coarse is None else (coarse * one[None],),
        change=change * one,
        error=0.3 * one,
        per_distance=2.0 * one,
        n_evaluations=torch.tensor([n]),
        unfinished=torch.tensor([unfinished]),
    )


def test_the_average_of_one_path_is_that_path() -> None:
    only = integral(1.0, 2.0, 1.0, 5)
    assert averaged([only]) is only


def test_errors_of_several_paths_cancel_where_their_values_do() -> None:
    # 4 +- 1 by the coarser rule: each path is off by a quarter, their mean by nothing
    found = averaged([integral(4.0, 5.0, 4.0, 5), integral(4.0, 3.0, 4.0, 7, unfinished=True)])
    assert found.values[0].tolist() == [[4.0]] and found.coarse is not None and found.coarse[0].tolist() == [[4.0]]
    assert found.error.tolist() == [0.0]
    assert found.n_evaluations.tolist() == [12] and found.unfinished.tolist() == [True]


def test_the_error_of_an_average_is_its_distance_from_the_coarser_one_times_what_that_is_worth() -> None:
    found = averaged([integral(4.0, 5.0, 4.0, 5), integral(4.0, 4.0, 4.0, 5)])
    assert found.error.tolist() == pytest.approx([2.0 * 0.5 / 4.0])


def test_the_gap_of_an_average_is_the_least_that_its_error_can_be() -> None:
    values = [integral(4.0, 4.0, 4.0, 5), integral(4.0, 4.0, 6.0, 5)]  # changes of 5 on average
    assert averaged(values).error.tolist() == pytest.approx([1.0 / 4.0])
    rough = averaged([integral(4.0, None, 4.0, 1), integral(4.0, None, 4.0, 1)])
    assert rough.coarse is None and bool(rough.error.isnan().all())  # nothing to compare with
