"""When neurons became active or died, against a loop over epochs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.neurons import LayerHistory, LayerProfile


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
