"""Distances and agreement of explanations: what is compared with what, properties, undefined cases, errors."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_explain.attribution import Attribution, IntegratedGradients
from lightning_explain.drift import (
    MEASURES,
    Comparable,
    ComparableExplanation,
    Drift,
    agreement,
    can_agree,
    distances,
    drift,
    similarity,
)
from lightning_explain.drift.error import COVERAGE, DistanceErrors
from lightning_explain.drift.similarity import cosine_distance, relative_l1, spearman, structural_similarity
from lightning_explain.errors import ConfigurationError
from tests.drift.explanations import TABULAR, asked, explanation, rows
from tests.models import digits


def test_top_k_is_a_tenth_of_the_features_and_at_least_one() -> None:
    a, b = torch.zeros(1, 20), torch.zeros(1, 20)
    a[0, :4], b[0, :4] = torch.tensor([9.0, 8.0, 1.0, 2.0]), torch.tensor([9.0, 1.0, 8.0, 2.0])
    assert float(distances(a, b)["top_k"]) == 0.5
    few = distances(a[:, :4], b[:, :4])
    assert float(few["top_k"]) == 0


def test_ssim_compares_the_sum_over_channels() -> None:
    a, b = rows(0, 2, 192).reshape(2, 3, 8, 8), rows(1, 2, 192).reshape(2, 3, 8, 8)
    expected = 1 - structural_similarity(a.sum(1, keepdim=True), b.sum(1, keepdim=True))
    torch.testing.assert_close(distances(a, b)["ssim"], expected)


@pytest.mark.parametrize("shape", [(2, 9), (2, 4, 9), (2, 1, 2, 9), (2, 3, 4, 5, 6)])
def test_ssim_is_left_out_for_what_is_no_image(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape)
    assert list(distances(values, values + 1)) == TABULAR


def test_only_the_measures_asked_for_are_computed() -> None:
    values = rows(0, 2, 5)
    assert list(distances(values, values, ("top_k", "cosine"))) == ["top_k", "cosine"]


def test_a_misspelt_measure_is_refused() -> None:
    with pytest.raises(KeyError, match="cosin"):
        distances(rows(0, 2, 5), rows(1, 2, 5), ("cosin",))


@pytest.mark.parametrize("shape", [(3, 12), (3, 1, 8, 8), (3, 4, 5)])
def test_an_explanation_is_at_distance_zero_from_itself(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for name, distance in distances(values, values.clone()).items():
        torch.testing.assert_close(distance, torch.zeros(3), atol=1e-6, rtol=0, msg=name)


@given(seed=st.integers(0, 999), n_features=st.integers(3, 30))
@settings(max_examples=30)
def test_all_but_relative_l1_are_symmetric(seed: int, n_features: int) -> None:
    a, b = rows(seed, 4, n_features), rows(seed + 1, 4, n_features)
    forward, backward = distances(a, b), distances(b, a)
    for name in set(TABULAR) - {"relative_l1"}:
        torch.testing.assert_close(forward[name], backward[name])
    maps = (a[:, :1, None, None] * torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8))
    torch.testing.assert_close(structural_similarity(*maps), structural_similarity(*reversed(maps)))


@given(seed=st.integers(0, 999), exponent=st.integers(-30, 30))
@settings(max_examples=30)
def test_scale_does_not_matter_to_direction_ranks_and_top_k(seed: int, exponent: int) -> None:
    a, b = rows(seed, 4, 12), rows(seed + 1, 4, 12)
    scaled, plain = distances(a * 2.0**exponent, b), distances(a, b)
    for name in ("cosine", "spearman", "spearman_absolute", "top_k"):
        torch.testing.assert_close(scaled[name], plain[name])


@given(order=st.permutations(range(5)), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_each_sample_is_measured_for_itself(order: list[int], seed: int) -> None:
    a, b = rows(seed, 5, 64).reshape(5, 1, 8, 8), rows(seed + 1, 5, 64).reshape(5, 1, 8, 8)
    plain, permuted = distances(a, b), distances(a[order], b[order])
    for name in MEASURES:
        torch.testing.assert_close(permuted[name], plain[name][order], atol=1e-6, rtol=1e-5)


def test_the_sign_matters_to_ranks_and_not_to_absolute_ranks() -> None:
    a = rows(0, 3, 10)
    found = distances(a, -a)
    torch.testing.assert_close(found["spearman"], torch.full((3,), 2.0))
    torch.testing.assert_close(found["spearman_absolute"], torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(found["top_k"], torch.zeros(3))


def test_absolute_ranks_are_ranks_of_the_absolute_values() -> None:
    a, b = rows(0, 3, 10), rows(1, 3, 10)
    torch.testing.assert_close(distances(a, b)["spearman_absolute"], 1 - spearman(a.abs(), b.abs()))


def test_distances_from_an_explanation_of_zeros_are_undefined_and_not_zero() -> None:
    a, zeros = rows(0, 2, 10), torch.zeros(2, 10)
    for name, distance in distances(a, zeros).items():
        assert distance.isnan().all(), name
    assert all(distance.isnan().all() for distance in distances(zeros, zeros).values())
    # nothing now, something before: all of it is gone
    assert distances(zeros, a)["relative_l1"].tolist() == [1, 1]


def test_ranks_of_a_constant_are_undefined_while_its_direction_is_not() -> None:
    found = distances(torch.ones(1, 6), rows(0, 1, 6))
    assert found["spearman"].isnan().all()
    assert not found["cosine"].isnan().any()


def test_several_inputs_are_compared_as_one_long_row() -> None:
    a, b = rows(0, 3, 7), rows(1, 3, 7)
    split = distances((a[:, :4], a[:, 4:].reshape(3, 3, 1)), (b[:, :4], b[:, 4:].reshape(3, 3, 1)))
    for name, distance in distances(a, b).items():
        torch.testing.assert_close(split[name], distance)


def test_the_mean_leaves_out_undefined_samples_and_those_outside_the_mask() -> None:
    values = {"cosine": torch.tensor([0.1, torch.nan, 0.3, 0.8])}
    measured = Drift(values=values, errors=None)
    assert measured.mean("cosine") == pytest.approx(0.4)
    assert measured.mean("cosine", torch.tensor([True, True, True, False])) == pytest.approx(0.2)
    assert np.isnan(measured.mean("cosine", torch.tensor([False, True, False, False])))
    assert np.isnan(measured.error("cosine"))


def test_drift_has_an_error_only_if_both_explanations_have_a_coarser_one() -> None:
    a, b = rows(0, 2, 6), rows(1, 2, 6)
    assert drift(explanation(a, a), explanation(b)).errors is None
    assert drift(explanation(a), explanation(b, b)).errors is None
    both = drift(explanation(a, a + 1), explanation(b, b - 1))
    assert both.errors is not None
    exact = cosine_distance(a, b)
    torch.testing.assert_close(both.values["cosine"], exact)
    # one explanation at a time is the coarser one
    moved = torch.stack([cosine_distance(a + 1, b), cosine_distance(a, b - 1)]) - exact
    torch.testing.assert_close(both.errors["cosine"].shift, moved.sum(0))
    torch.testing.assert_close(both.errors["cosine"].spread, moved.norm(dim=0))


def test_the_error_is_of_the_samples_for_which_the_distance_is_defined() -> None:
    errors = DistanceErrors(spread=torch.tensor([0.1, 0.1, torch.nan, 0.1]), shift=torch.zeros(4))
    measured = Drift(values={"cosine": torch.tensor([0.2, 0.4, torch.nan, 0.6])}, errors={"cosine": errors})
    assert measured.error("cosine") == pytest.approx(COVERAGE["cosine"] * 0.1 / 3**0.5)
    assert measured.error("cosine", torch.tensor([True, False, True, False])) == pytest.approx(COVERAGE["cosine"] * 0.1)
    assert np.isnan(measured.error("cosine", torch.tensor([False, False, True, False])))


def test_a_smaller_stated_error_of_the_attributions_is_a_smaller_error_of_their_drift() -> None:
    a, b = rows(0, 4, 20), rows(1, 4, 20)
    way = relative_l1(1.1 * a + 0.1, a), relative_l1(1.1 * b + 0.1, b)
    whole, half = (
        drift(
            *(dataclasses.replace(explanation(x, 1.1 * x + 0.1), error=s * w) for x, w in zip((a, b), way, strict=True))
        )
        for s in (1.0, 0.5)
    )
    unstated = drift(explanation(a, 1.1 * a + 0.1), explanation(b, 1.1 * b + 0.1))
    for name in set(TABULAR) - {"top_k"}:
        assert half.error(name) == pytest.approx(whole.error(name) / 2, rel=1e-4), name
        assert unstated.error(name) == pytest.approx(whole.error(name), rel=1e-4), name
    assert 0 < half.error("top_k") < whole.error("top_k")


def test_an_exact_explanation_has_no_error_of_drift() -> None:
    a, b = rows(0, 3, 20), rows(1, 3, 20)
    measured = drift(explanation(a, a), explanation(b, b))
    assert [measured.error(name) for name in measured.values] == [0] * len(TABULAR)


def test_top_k_has_an_error_where_both_rules_choose_the_same_features() -> None:
    a, b = rows(0, 6, 30), rows(1, 6, 30)
    measured = drift(explanation(a, 1.2 * a), explanation(b, 1.2 * b))
    assert measured.errors is not None
    assert measured.errors["top_k"].shift.tolist() == [0] * 6
    assert 0 < measured.error("top_k") < 0.3


def test_explanations_of_different_targets_are_refused() -> None:
    values = rows(0, 3, 6)
    with pytest.raises(ConfigurationError, match=r"outputs 0, 1, 2 against outputs 0, 1, 1.*changed question"):
        drift(asked(values, torch.tensor([0, 1, 2])), asked(values, torch.tensor([0, 1, 1])))
    with pytest.raises(ConfigurationError, match="the single output against outputs 0, 1, 1"):
        drift(asked(values, None), asked(values, torch.tensor([0, 1, 1])))
    with pytest.raises(ConfigurationError, match="against the single output"):
        drift(asked(values, torch.tensor([0, 1, 1])), asked(values, None))
    with pytest.raises(ConfigurationError, match="outputs 0, 0, 0, 0, 0, 0, 0, 0, ... against"):
        drift(asked(rows(0, 99, 2), torch.zeros(99).long()), asked(rows(0, 99, 2), torch.ones(99).long()))


def test_equal_targets_are_compared_whatever_their_integer_type() -> None:
    values = rows(0, 3, 6)
    found = drift(asked(values, torch.tensor([0, 1, 2])), asked(values, torch.tensor([0, 1, 2], dtype=torch.int32)))
    assert found.mean("cosine") == 0


@given(seed=st.integers(0, 999), n_features=st.integers(3, 40), ties=st.booleans())
@settings(max_examples=40)
def test_agreement_is_spearmans_of_scipy(seed: int, n_features: int, ties: bool) -> None:
    a, b = rows(seed, 3, n_features, ties=ties), rows(seed + 1, 3, n_features, ties=ties)
    for x, y, found in zip(a, b, agreement(a, 1e6 * b), strict=True):
        if len(x.unique()) > 1 and len(y.unique()) > 1:
            assert float(found) == pytest.approx(scipy.stats.spearmanr(x.numpy(), y.numpy()).statistic, abs=1e-6)
        else:
            assert found.isnan()


def test_agreement_minds_the_sign_and_any_rising_function_leaves_it() -> None:
    a = rows(0, 3, 20)
    torch.testing.assert_close(agreement(a, a.exp()), torch.ones(3))
    torch.testing.assert_close(agreement(a, -a), -torch.ones(3))


def test_a_map_agrees_with_the_sum_over_the_channels() -> None:
    image, single = rows(0, 2, 192).reshape(2, 3, 8, 8), rows(1, 2, 64).reshape(2, 1, 8, 8)
    expected = [
        scipy.stats.spearmanr(x.sum(0).flatten().numpy(), y.flatten().numpy()).statistic
        for x, y in zip(image, single, strict=True)
    ]
    torch.testing.assert_close(agreement(image, single), torch.tensor(expected, dtype=torch.float32), atol=1e-6, rtol=0)


def test_what_has_another_form_has_no_agreement() -> None:
    image, pooled = Comparable(torch.rand(2, 1, 8, 8)), Comparable(torch.rand(2, 1, 4, 4))
    assert not can_agree(image, pooled) and not can_agree(image, Comparable(torch.rand(2, 64)))
    with pytest.raises(ConfigurationError, match=r"shape \[\[2, 1, 8, 8\]\] and \[\[2, 1, 4, 4\]\]"):
        agreement(image, pooled)


def test_ranks_are_worked_out_once_for_each_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_rows: list[Tensor] = []
    original = similarity.ranks
    monkeypatch.setattr(similarity, "ranks", lambda values: sorted_rows.append(values) or original(values))
    seen = [ComparableExplanation.of(explanation(rows(i, 3, 9), rows(i, 3, 9) + 0.1)) for i in range(4)]
    found = [drift(now, earlier) for now, earlier in itertools.combinations(seen, 2)]
    agreement(seen[0].fine, seen[1].fine)
    assert len(sorted_rows) == 4 * 4  # signed and absolute, fine and coarse, of each explanation
    plain = drift(seen[0].attribution, seen[1].attribution)
    for name in TABULAR:
        torch.testing.assert_close(found[0].values[name], plain.values[name])


def test_explanations_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        drift(explanation(rows(0, 4, 6)), explanation(rows(0, 1, 6)))


def test_a_drift_says_how_far_it_may_be_from_that_of_an_exact_integral() -> None:
    torch.manual_seed(0)
    train, test = digits(512, 24)
    x, y = train.tensors
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    quick, exact = IntegratedGradients(), IntegratedGradients(n_steps=512)
    probe, labels = test.tensors
    seen: list[tuple[Attribution, Attribution]] = []
    for _ in range(4):
        for _ in range(25):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        seen.append((quick(net, probe, labels), exact(net, probe, labels)))
    beyond: list[Tensor] = []
    ratios: list[Tensor] = []
    for (old, old_exact), (new, new_exact) in itertools.pairwise(seen):
        found, truth = drift(new, old), drift(new_exact, old_exact)
        for name in MEASURES:
            groups = [None, *(labels == c for c in labels.unique())]
            off = torch.tensor([abs(found.mean(name, group) - truth.mean(name, group)) for group in groups])
            stated = torch.tensor([found.error(name, group) for group in groups])
            assert off[0] <= stated[0] < 0.45 * truth.mean(name), name
            beyond.append((off > stated)[1:])
            ratios.append(off.mean() / stated.mean())
    assert torch.cat(beyond).float().mean() < 0.05
    assert torch.stack(ratios).mean() > 0.1
