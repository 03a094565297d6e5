"""What kinds of neurons a layer has: closed forms, sets by loops, and what is undefined."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.neurons import ActiveNeurons, LayerProfile, turnover
from lightning_explain.neurons.profile import active_sets, dormancy, jaccard, rate_gap, rate_gaps, selectivity

NAN = math.nan


def profile(rates: list[list[float]], *, n_samples: list[int] | None = None, min_rate: float = 0.5) -> LayerProfile:
    table = torch.tensor(rates)
    counts = torch.tensor(n_samples) if n_samples else (~table.isnan().all(1)).long() * 10
    values = table.nan_to_num()
    return LayerProfile(table, table * 2, counts, values.sum(0) > 0, min_rate, values.mean(0))


def booleans(n_rows: int, n_columns: int) -> st.SearchStrategy[Tensor]:
    row = st.lists(st.booleans(), min_size=n_columns, max_size=n_columns)
    return st.lists(row, min_size=n_rows, max_size=n_rows).map(torch.tensor)


def jaccard_by_sets(a: Tensor, b: Tensor) -> float:
    one, two = set(a.nonzero().flatten().tolist()), set(b.nonzero().flatten().tolist())
    return len(one & two) / len(one | two) if one | two else NAN


def test_a_neuron_at_the_minimum_rate_is_in_the_set_and_a_silent_one_never() -> None:
    rates = torch.tensor([[0.5, 0.49, 0.0, 1.0], [NAN, NAN, NAN, NAN]])
    assert active_sets(rates, 0.5).tolist() == [[True, False, False, True], [False] * 4]
    assert active_sets(rates, 0.0).tolist() == [[True, True, False, True], [False] * 4]


def test_selectivity_has_the_closed_form_of_morcos() -> None:
    means = torch.tensor([[4.0, 1.0, 0.0, 2.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 3.0, 1.0]])
    torch.testing.assert_close(selectivity(means), torch.tensor([3 / 5, 0.0, 1.0, 1.5 / 2.5]))


@settings(max_examples=30)
@given(seed=st.integers(0, 999), n_classes=st.integers(2, 6))
def test_selectivity_is_that_of_loops(seed: int, n_classes: int) -> None:
    means = torch.randn(n_classes, 5, generator=torch.Generator().manual_seed(seed))
    for neuron, found in enumerate(selectivity(means).tolist()):
        values = sorted((max(0.0, value) for value in means[:, neuron].tolist()), reverse=True)
        rest = sum(values[1:]) / (n_classes - 1)
        if values[0] + rest > 0:
            assert found == pytest.approx((values[0] - rest) / (values[0] + rest), abs=1e-5)
            assert 0 <= found <= 1
        else:
            assert math.isnan(found)


def test_selectivity_leaves_out_classes_without_samples_and_needs_two() -> None:
    means = torch.tensor([[3.0, 1.0], [NAN, NAN], [1.0, 1.0]])
    torch.testing.assert_close(selectivity(means), torch.tensor([0.5, 0.0]))
    assert selectivity(means[:2]).isnan().all()
    assert selectivity(torch.zeros(3, 2)).isnan().all()
    assert selectivity(-torch.ones(3, 2)).isnan().all()


@settings(max_examples=30)
@given(order=st.permutations(range(4)), neurons=st.permutations(range(5)), scale=st.floats(0.01, 100))
def test_selectivity_does_not_mind_order_or_scale(order: list[int], neurons: list[int], scale: float) -> None:
    means = torch.rand(4, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(selectivity(means[order][:, neurons] * scale), selectivity(means)[neurons])


@settings(max_examples=30)
@given(a=booleans(4, 6), b=booleans(4, 6))
def test_jaccard_and_turnover_are_those_of_sets(a: Tensor, b: Tensor) -> None:
    expected = [jaccard_by_sets(x, y) for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(jaccard(a, b), torch.tensor(expected), equal_nan=True)
    torch.testing.assert_close(jaccard(b, a), jaccard(a, b), equal_nan=True)
    torch.testing.assert_close(turnover(a, b), torch.tensor([0.0 if math.isnan(j) else 1 - j for j in expected]))


def test_a_class_that_was_not_known_before_has_turned_over_wholly() -> None:
    previous, current = torch.tensor([[True, False]]), torch.tensor([[True, False], [False, True], [False, False]])
    assert turnover(previous, current).tolist() == [0, 1, 0]
    assert turnover(current, previous).tolist() == [0]


def test_kinds_of_neurons() -> None:
    found = profile([[1.0, 0.0, 0.8, 0.1, 1.0], [1.0, 0.0, 0.2, 0.2, 0.9], [NAN] * 5])
    assert found.seen.tolist() == [True, True, False]
    assert found.dead.tolist() == [False, True, False, False, False]
    assert found.always_on.tolist() == [True, False, False, False, False]
    assert found.exclusive.tolist() == [False, False, True, False, False]


def test_a_neuron_active_anywhere_is_not_dead_even_with_rate_zero() -> None:
    found = LayerProfile(
        torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([1, 1]), torch.tensor([True, False]), 0.5, torch.zeros(2)
    )
    assert found.dead.tolist() == [False, True]


def test_with_one_class_nothing_is_exclusive_and_figures_by_class_are_left_out() -> None:
    found = profile([[0.9, 0.0], [NAN, NAN]])
    assert found.exclusive.tolist() == [False, False]
    assert set(found.scalars()) == {"dead", "dormant", "always_on"}
    assert math.isnan(found.mean_overlap())


def test_without_samples_no_neuron_is_always_on() -> None:
    assert profile([[NAN, NAN]]).always_on.tolist() == [False, False]


def test_overlap_is_the_jaccard_index_of_every_two_classes() -> None:
    found = profile([[0.9, 0.9, 0.0], [0.9, 0.0, 0.0], [0.0, 0.0, 0.0], [NAN] * 3])
    expected = torch.tensor([[1, 0.5, 0, 0], [0.5, 1, 0, 0], [0, 0, NAN, NAN], [0, 0, NAN, NAN]])
    torch.testing.assert_close(found.overlap, expected, equal_nan=True)
    # of the three pairs of classes that were seen: 1/2, 0, 0
    assert found.mean_overlap() == pytest.approx(1 / 6)


def test_scalars_are_shares_and_means() -> None:
    found = profile([[1.0, 0.0, 0.8, 0.2], [1.0, 0.0, 0.2, 0.2]])
    figures = found.scalars()
    assert figures["dead"] == figures["always_on"] == figures["exclusive"] == 0.25
    assert figures["overlap"] == 0.5
    assert figures["selectivity"] == pytest.approx((0 + 0.6 + 0) / 3)  # undefined for the dead one


def test_a_profile_of_a_metric_has_its_shapes_also_with_one_class_and_neuron() -> None:
    for n_classes, n_neurons in ((1, 1), (1, 3), (3, 1), (2, 2)):
        metric = ActiveNeurons(n_classes, n_neurons)
        metric.update(torch.ones(2, n_neurons), torch.zeros(2, dtype=torch.long))
        found = LayerProfile.of(metric.compute(), 0.5)
        assert found.rates.shape == found.activation.shape == (n_classes, n_neurons)
        assert found.n_samples.shape == (n_classes,) and found.alive.shape == (n_neurons,)
        assert found.always_on.all()


def test_the_gap_is_the_mean_difference_over_classes_that_both_saw() -> None:
    train = profile([[1.0, 0.0], [0.5, 0.5], [NAN, NAN]])
    validation = profile([[0.8, 0.4], [NAN, NAN]])
    assert rate_gap(train, validation) == pytest.approx(0.3)
    assert rate_gap(validation, train) == pytest.approx(0.3)
    assert rate_gap(train, train) == 0
    assert math.isnan(rate_gap(profile([[NAN]]), profile([[1.0]])))


@settings(max_examples=30)
@given(classes=st.permutations(range(3)), neurons=st.permutations(range(5)))
def test_figures_do_not_mind_the_order_of_classes_and_neurons(classes: list[int], neurons: list[int]) -> None:
    rates = torch.rand(3, 5, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    plain, mixed = profile(rates.tolist()), profile(rates[classes][:, neurons].tolist())
    assert mixed.scalars() == pytest.approx(plain.scalars())
    torch.testing.assert_close(mixed.overlap, plain.overlap[classes][:, classes], equal_nan=True)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), signed=st.booleans())
def test_dormancy_is_that_of_its_definition(seed: int, signed: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(12, 5, generator=generator)
    output = output if signed else output.clamp_min(0)
    output[:, 2] = 0
    labels = torch.randint(0, 3, (12,), generator=generator)
    metric = ActiveNeurons(3, 5)
    metric.update(output[:7], labels[:7])
    metric.update(output[7:], labels[7:])
    found = LayerProfile.of(metric.compute(), 0.5)
    sizes = [sum(abs(float(v)) for v in output[:, j]) / 12 for j in range(5)]
    mean = sum(sizes) / 5
    assert found.dormancy.tolist() == pytest.approx([size / mean for size in sizes], rel=1e-4)
    assert found.dormant.tolist() == [size / mean <= 0.025 for size in sizes] and bool(found.dormant[2])


def test_dormancy_of_a_silent_layer_and_of_none() -> None:
    assert dormancy(torch.zeros(3)).tolist() == [0, 0, 0]
    assert dormancy(torch.full((2,), torch.nan)).isnan().all()


def test_gaps_are_differences_where_both_saw_the_class() -> None:
    train, validation = profile([[1.0, 0.5]]), profile([[0.8, 0.6], [1.0, 0.0]])
    gaps = rate_gaps(train, validation)
    torch.testing.assert_close(gaps[0], torch.tensor([0.2, -0.1]))
    assert gaps[1].isnan().all()
