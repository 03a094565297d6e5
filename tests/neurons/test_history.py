"""When neurons became active or died, against a loop over epochs; dormancy against its definition."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.neurons import ActiveNeurons, LayerHistory, LayerProfile
from lightning_explain.neurons.profile import dormancy, rate_gaps


def profile(rates: Tensor, seen: list[bool] | None = None) -> LayerProfile:
    counts = torch.tensor([10 if s else 0 for s in seen or [True] * len(rates)])
    rates = torch.where(counts[:, None] > 0, rates, torch.nan)
    return LayerProfile(rates, rates, counts, rates.nan_to_num().sum(0) > 0, 0.5, rates.nan_to_num().mean(0))


@given(seed=st.integers(0, 999), n_epochs=st.integers(1, 6), saved_after=st.integers(0, 5))
@settings(max_examples=40)
def test_first_epochs_and_turnover_are_those_of_a_loop(seed: int, n_epochs: int, saved_after: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tables = [(torch.rand(3, 4, generator=generator) * 1.6 - 0.6).clamp(0, 1) for _ in range(n_epochs)]
    history: LayerHistory | None = None
    for epoch, table in enumerate(tables):
        found = profile(table)
        history = LayerHistory.begin(found, epoch) if history is None else history.after(found, epoch)
        if epoch == saved_after:
            history = LayerHistory.from_state_dict(history.state_dict())
        became, died, turned_over = by_loops(tables[: epoch + 1])
        assert history.became_active.tolist() == became and history.died.tolist() == died
        assert history.turnover.tolist() == pytest.approx(turned_over, abs=1e-6, nan_ok=True)


def by_loops(tables: list[Tensor]) -> tuple[list[list[int]], list[int], list[float]]:
    """First epochs in each class's set, first epochs dead, and the last turnover, in plain Python."""
    sets = [[{j for j in range(4) if float(row[j]) >= 0.5} for row in table] for table in tables]
    silent = [{j for j in range(4) if not any(float(row[j]) for row in table)} for table in tables]
    became = [[next((e for e, s in enumerate(sets) if j in s[c]), -1) for j in range(4)] for c in range(3)]
    died = [next((e for e, s in enumerate(silent) if j in s), -1) for j in range(4)]
    if len(tables) == 1:
        return became, died, [math.nan] * 3
    pairs = zip(sets[-2], sets[-1], strict=True)
    return became, died, [1 - len(a & b) / len(a | b) if a | b else 0.0 for a, b in pairs]


def test_more_classes_later_and_classes_without_samples() -> None:
    first = LayerHistory.begin(profile(torch.tensor([[1.0, 0.0]])), 3)
    grown = first.after(profile(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), [False, True]), 4)
    assert grown.became_active.tolist() == [[3, -1], [-1, 4]]
    assert grown.turnover.isnan().tolist() == [True, False] and grown.turnover[1] == 1
    fewer = grown.after(profile(torch.tensor([[0.0, 1.0]])), 5)
    assert fewer.became_active.tolist() == [[3, 5], [-1, 4]] and len(fewer.turnover) == 1


def test_nothing_dies_where_nothing_was_measured_and_another_width_begins_anew() -> None:
    unmeasured = LayerHistory.begin(profile(torch.zeros(1, 3), [False]), 0)
    assert unmeasured.died.tolist() == [-1] * 3
    dead = unmeasured.after(profile(torch.tensor([[0.0, 1.0, 0.2]])), 1)
    assert dead.died.tolist() == [1, -1, -1]
    assert dead.after(profile(torch.ones(1, 2)), 2).became_active.tolist() == [[2, 2]]


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


def test_samples_left_out_do_not_count_for_dormancy() -> None:
    metric = ActiveNeurons(2, 2)
    output, labels = torch.tensor([[1.0, -3.0], [50.0, 0.0], [70.0, 0.0]]), torch.tensor([0, 1, -100])
    metric.update(output, labels, torch.tensor([True, False, True]))
    assert metric.compute().magnitude.tolist() == [1, 3]


def test_dormancy_of_a_silent_layer_and_of_none() -> None:
    assert dormancy(torch.zeros(3)).tolist() == [0, 0, 0]
    assert dormancy(torch.full((2,), torch.nan)).isnan().all()


def test_gaps_are_differences_where_both_saw_the_class() -> None:
    train, validation = profile(torch.tensor([[1.0, 0.5]])), profile(torch.tensor([[0.8, 0.6], [1.0, 0.0]]))
    gaps = rate_gaps(train, validation)
    torch.testing.assert_close(gaps[0], torch.tensor([0.2, -0.1]))
    assert gaps[1].isnan().all()


def test_the_size_of_signed_maps_is_the_mean_of_absolute_values() -> None:
    maps = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    metric = ActiveNeurons(2, 4)
    metric.update(maps, torch.arange(6) % 2)
    expected = [float(maps[:, j].abs().mean()) for j in range(4)]
    assert metric.compute().magnitude.tolist() == pytest.approx(expected, rel=1e-5)
