import pytest
import torch
from torch import Tensor

from lightning_explain.strategies import effect, find_strategies, unit_rows
from lightning_explain.strategies.division import counts


def words(seed: int, *, n_marked: int = 0, size: float = 6.0) -> tuple[Tensor, Tensor]:
    """Draw the relevance of 60 words that occur or do not, each in a fifth of the texts; some have a marker, too."""
    generator = torch.Generator().manual_seed(seed)
    occurs = torch.rand(64, 60, generator=generator) < 0.2
    relevance = occurs * (0.4 + 0.02 * torch.randn(64, 60, generator=generator, dtype=torch.double))
    relevance[:, :30] *= -1
    marked = torch.zeros(64, dtype=torch.bool)
    marked[torch.randperm(64, generator=generator)[:n_marked]] = True
    relevance[marked, 59] = size
    return relevance, marked


def by_hand(relevance: list[list[float]], inside: list[bool]) -> float:
    a, b = ([row for row, is_in in zip(relevance, inside, strict=True) if is_in is side] for side in (True, False))
    found = 0.0
    for feature in range(len(relevance[0])):
        x, y = (torch.tensor([row[feature] for row in side], dtype=torch.double) for side in (a, b))
        apart = float(x.mean() - y.mean())
        if abs(apart) > 4 * float((x.var() / len(x) + y.var() / len(y)).sqrt()):
            found += apart
    return found * len(a) / sum(abs(value) for row in a for value in row)


def test_effect_is_the_sum_of_clear_differences_in_shares_of_all_relevance() -> None:
    relevance, marked = words(0, n_marked=9)
    # gained and lost: both count, with their signs
    relevance[marked, 3] = -2
    expected = by_hand(relevance.tolist(), marked.tolist())
    assert 0.2 < expected < 0.6
    assert effect(relevance, marked) == pytest.approx(expected)


def test_effect_does_not_know_the_units_of_the_score_and_changes_its_sign_with_it() -> None:
    relevance, marked = words(1, n_marked=13)
    assert effect(1000 * relevance, marked) == pytest.approx(effect(relevance, marked))
    assert effect(-relevance, marked) == pytest.approx(-effect(relevance, marked))
    assert effect(relevance, ~marked) < 0 < effect(relevance, marked)


def test_what_is_moved_from_one_place_to_another_is_no_effect() -> None:
    relevance = torch.ones(40, 5, dtype=torch.double) + 0.01 * torch.rand(40, 5, dtype=torch.double)
    moved = torch.arange(40) < 12
    relevance[moved, 0] += 1
    relevance[moved, 1] -= 1
    assert abs(effect(relevance, moved)) < 0.01
    assert effect(relevance[:, [0, 2, 3, 4]], moved) == pytest.approx(0.2, abs=0.01)


def test_groups_of_one_cloud_differ_in_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(64, 300, generator=generator, dtype=torch.double)
    assert max(abs(effect(cloud, torch.randperm(64, generator=generator) < 20)) for _ in range(20)) < 0.02


def test_relevance_of_nothing_is_no_trouble() -> None:
    assert effect(torch.zeros(8, 3, dtype=torch.double), torch.arange(8) < 3) == 0


def test_words_that_merely_occur_or_not_are_no_strategies_and_a_marker_is() -> None:
    parted = 0
    for seed in range(4):
        relevance, _ = words(seed)
        parted += len(find_strategies(unit_rows(relevance), least_separation=0.8).strategies) > 1
        found = find_strategies(unit_rows(relevance), relevance=relevance, least_separation=0.8)
        assert len(found.strategies) == 1
        relevance, marked = words(seed, n_marked=13)
        found = find_strategies(unit_rows(relevance), relevance=relevance)
        assert found.assignment.equal(marked.long())
        assert found.strategies[1].effect == pytest.approx(effect(relevance, marked))
        assert found.strategies[0].effect == pytest.approx(effect(relevance, ~marked))
    assert parted, "one of these texts is parted by a word that has no effect, or this says nothing"


def test_a_mark_that_most_samples_have_counts_too() -> None:
    relevance, marked = words(5, n_marked=45)
    assert effect(relevance, ~marked) < 0
    assert counts(relevance, ~marked)
    found = find_strategies(unit_rows(relevance), relevance=relevance)
    assert found.assignment.equal((~marked).long())


def test_a_mark_of_little_relevance_does_not_count() -> None:
    relevance, marked = words(6, n_marked=13, size=0.5)
    assert 0 < effect(relevance, marked) < 0.15
    assert not counts(relevance, marked)
    assert not counts(relevance, ~marked)


def test_without_attributions_effects_are_not_known() -> None:
    relevance, marked = words(7, n_marked=13)
    found = find_strategies(unit_rows(relevance))
    assert found.assignment.equal(marked.long())
    assert all(each.effect != each.effect for each in found.strategies)


def test_samples_without_a_map_are_left_out_of_effects() -> None:
    relevance, marked = words(8, n_marked=13)
    more = torch.cat([torch.zeros(3, 60, dtype=torch.double), relevance])
    found = find_strategies(unit_rows(more), relevance=more)
    assert found.assignment[:3].tolist() == [-1] * 3
    assert found.strategies[1].effect == pytest.approx(effect(relevance, marked))
