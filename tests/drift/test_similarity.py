"""Every measure of likeness against an independent implementation, and its undefined cases."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.drift.similarity import (
    cosine_distance,
    ranks,
    relative_l1,
    spearman,
    structural_similarity,
    top_k_overlap,
    top_k_spread,
)
from tests.drift.explanations import rows


def ssim_by_scipy(a: np.ndarray, b: np.ndarray, window: int) -> float:
    """Wang et al. 2004, Eq. 13 with a uniform window, over the joint range of both maps."""
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    a, b = (a - low) / (high - low), (b - low) / (high - low)
    mean = lambda values: scipy.ndimage.uniform_filter(values, window, mode="mirror")  # noqa: E731
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return float(similarity.mean())


@given(seed=st.integers(0, 999), n_features=st.integers(2, 40))
def test_cosine_distance_is_that_of_scipy(seed: int, n_features: int) -> None:
    a, b = rows(seed, 3, n_features), rows(seed + 1, 3, n_features)
    expected = [
        scipy.spatial.distance.cosine(x.double().numpy(), y.double().numpy()) for x, y in zip(a, b, strict=True)
    ]
    torch.testing.assert_close(cosine_distance(a, b), torch.tensor(expected, dtype=torch.float32))


def test_opposite_explanations_are_two_apart() -> None:
    a = rows(0, 4, 7)
    torch.testing.assert_close(cosine_distance(a, -3 * a), torch.full((4,), 2.0))


def test_a_tiny_turn_is_measured_exactly_and_not_rounded_away() -> None:
    angle = 1e-5  # 1 - cos is 5e-11: far below what float32 resolves next to 1
    distance = cosine_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, angle]]))
    assert float(distance) == pytest.approx(angle**2 / 2, rel=1e-3)


@given(seed=st.integers(0, 999), n_features=st.integers(2, 40), ties=st.booleans())
def test_ranks_are_those_of_scipy_also_with_ties(seed: int, n_features: int, ties: bool) -> None:
    values = rows(seed, 3, n_features, ties=ties)
    np.testing.assert_array_equal(ranks(values).numpy(), scipy.stats.rankdata(values.numpy(), axis=1))


@given(seed=st.integers(0, 999), n_features=st.integers(3, 40), ties=st.booleans())
def test_spearman_is_that_of_scipy_also_with_ties(seed: int, n_features: int, ties: bool) -> None:
    a, b = rows(seed, 3, n_features, ties=ties), rows(seed + 1, 3, n_features, ties=ties)
    for x, y, found in zip(a, b, spearman(a, b), strict=True):
        if len(x.unique()) > 1 and len(y.unique()) > 1:
            assert float(found) == pytest.approx(scipy.stats.spearmanr(x.numpy(), y.numpy()).statistic, abs=1e-6)
        else:
            assert found.isnan()


@given(seed=st.integers(0, 999), n_features=st.integers(1, 30), data=st.data())
def test_top_k_overlap_is_that_of_sets(seed: int, n_features: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n_features))
    a, b = rows(seed, 3, n_features), rows(seed + 1, 3, n_features)
    for x, y, found in zip(a.numpy(), b.numpy(), top_k_overlap(a, b, k), strict=True):
        largest_x, largest_y = (set(np.argsort(-np.abs(values))[:k].tolist()) for values in (x, y))
        assert float(found) == pytest.approx(len(largest_x & largest_y) / k)


def test_relative_l1_is_relative_to_the_reference() -> None:
    a, b = torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 1.0]])
    assert float(relative_l1(a, b)) == 2.0
    assert float(relative_l1(b, a)) == 1.0


@pytest.mark.parametrize(
    ("height", "width", "window"), [(3, 3, 3), (4, 9, 3), (5, 5, 5), (8, 8, 7), (11, 12, 11), (28, 28, 11)]
)
def test_ssim_is_that_of_the_paper_also_on_small_maps(height: int, width: int, window: int) -> None:
    a, b = rows(0, 2, height * width), rows(1, 2, height * width)
    maps = (a.reshape(2, 1, height, width), b.reshape(2, 1, height, width))
    expected = [ssim_by_scipy(x[0].double().numpy(), y[0].double().numpy(), window) for x, y in zip(*maps, strict=True)]
    torch.testing.assert_close(
        structural_similarity(*maps), torch.tensor(expected, dtype=torch.float32), atol=1e-5, rtol=0
    )


def test_each_pair_of_maps_has_its_own_range_in_ssim() -> None:
    a, b = rows(0, 2, 64).reshape(2, 1, 8, 8), rows(1, 2, 64).reshape(2, 1, 8, 8)
    together = structural_similarity(a * torch.tensor([1.0, 1e4])[:, None, None, None], b)
    torch.testing.assert_close(together[:1], structural_similarity(a[:1], b[:1]))


def test_ssim_of_identical_maps_is_one_and_of_equal_constants_undefined() -> None:
    maps = rows(3, 2, 64).reshape(2, 1, 8, 8)
    torch.testing.assert_close(structural_similarity(maps, maps), torch.ones(2))
    constant = torch.full((1, 1, 8, 8), 2.5)
    assert structural_similarity(constant, constant).isnan().all()
    assert float(structural_similarity(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))) < 0.01


def test_top_k_is_undefined_where_zeros_would_be_among_the_top() -> None:
    a = torch.tensor([[1.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
    assert top_k_overlap(a, a, 2).isnan().tolist() == [True, False]
    full = torch.tensor([[3.0, 2.0, 1.0]]).expand(2, 3)
    for pair in ((a, full), (full, a)):
        assert top_k_overlap(*pair, 2).isnan().tolist() == [True, False]


@given(seed=st.integers(0, 99), k=st.integers(1, 29), size=st.sampled_from([0.02, 0.1, 0.3]))
def test_top_k_sets_vary_as_those_of_drawn_values_do(seed: int, k: int, size: float) -> None:
    values = rows(seed, 1, 30)
    errors = size * rows(seed + 1, 1, 30).abs()
    noisy = values + errors * rows(seed + 2, 1000, 30)
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


def test_rank_correlation_of_doubles_is_that_of_scipy() -> None:
    a = rows(1, 20, 30).double().round(decimals=1)
    b = a + rows(2, 20, 30).double().round(decimals=1)
    expected = [scipy.stats.spearmanr(p, q).statistic for p, q in zip(a, b, strict=True)]
    torch.testing.assert_close(spearman(a, b), torch.tensor(expected, dtype=torch.float32))
    assert spearman(torch.ones(1, 3), torch.tensor([[1.0, 2.0, 3.0]])).isnan().all()
