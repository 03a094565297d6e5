import pytest
import torch

from lightning_explain.strategies import discoveries, find_strategies, mixed, unit_rows
from lightning_explain.strategies.class_strategies import (
    FEWEST_SAMPLES,
    _best_jaccard,
    _joined,
    _p_values,
    most_varying,
)
from lightning_explain.strategies.division import partition
from tests.strategies.planted import blob, planted


@pytest.mark.parametrize("n_marked", [7, 13, 25])
def test_a_planted_mark_is_found(n_marked: int) -> None:
    maps, marked = planted(n_marked=n_marked)
    found = find_strategies(unit_rows(maps))
    assert [len(strategy.members) for strategy in found.strategies] == [64 - n_marked, n_marked]
    second = found.strategies[1]
    assert sorted(second.members) == marked.nonzero().flatten().tolist()
    assert found.assignment.equal(marked.long())
    assert second.share == pytest.approx(n_marked / 64)
    assert second.stability > 0.8
    assert second.separation > 1.5
    assert int(second.difference.argmax()) == 3
    assert found.p_value < 1e-3
    torch.testing.assert_close(second.mean, unit_rows(maps)[marked].mean(0))
    torch.testing.assert_close(second.difference, second.mean - unit_rows(maps)[~marked].mean(0))


def test_one_cloud_is_one_strategy() -> None:
    shapes = {
        "gaussian": blob(64, 1),
        "skewed": blob(64, 2).exp(),
        "heavy-tailed": blob(64, 3) * (1 + blob(64, 4).pow(3) / 20),
        "a line": torch.linspace(0, 1, 64, dtype=torch.double)[:, None] * blob(1, 5) + 0.1 * blob(64, 6),
    }
    for name, maps in shapes.items():
        found = find_strategies(unit_rows(maps))
        assert len(found.strategies) == 1, name
        assert found.p_value == 1
        assert found.strategies[0].share == 1
        assert found.strategies[0].separation == 0
        assert (found.strategies[0].difference == 0).all()


def test_clouds_seldom_seem_to_be_two() -> None:
    answers = [find_strategies(unit_rows(blob(48, seed))).p_value for seed in range(40)]
    assert sum(discoveries(answers, 0.05)) <= 2


def test_mixed_maps_of_planted_ones_are_one_strategy() -> None:
    maps, _ = planted()
    generator = torch.Generator().manual_seed(0)
    found = [find_strategies(mixed(unit_rows(maps), generator)).p_value for _ in range(10)]
    assert sum(discoveries(found, 0.05)) == 0


def test_the_order_of_samples_and_the_scale_of_maps_do_not_matter() -> None:
    maps, _ = planted()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    sizes = torch.rand(64, 1, generator=torch.Generator().manual_seed(1), dtype=torch.double) * 100 + 0.01
    found, again = find_strategies(unit_rows(maps)), find_strategies(unit_rows((maps * sizes)[order]))
    assert again.assignment.equal(found.assignment[order])
    assert again.strategies[1].separation == pytest.approx(found.strategies[1].separation)
    assert [order[row].item() for row in again.strategies[1].exemplars] == found.strategies[1].exemplars


def test_three_strategies() -> None:
    maps, marked = planted(n=80, n_marked=32)
    second = marked & (marked.cumsum(0) > 16)
    maps[second, 3] -= 12
    maps[second, 20] += 14
    found = find_strategies(unit_rows(maps))
    assert sorted(len(strategy.members) for strategy in found.strategies) == [16, 16, 48]
    assert {int(strategy.difference.argmax()) for strategy in found.strategies[1:]} == {3, 20}


def test_too_few_samples_are_told() -> None:
    maps, _ = planted(n=FEWEST_SAMPLES - 1, n_marked=5)
    found = find_strategies(unit_rows(maps))
    assert "15 samples are too few" in found.caveat
    assert len(found.strategies) == 1
    assert found.p_value == 1
    none = find_strategies(unit_rows(torch.zeros(20, 4)))
    assert none.strategies == []
    assert "20 more have a map of zeros" in none.caveat


def test_maps_of_zeros_take_no_part() -> None:
    maps, marked = planted()
    rows = unit_rows(torch.cat([maps, torch.zeros(3, 40), torch.full((2, 40), float("nan"))]))
    found = find_strategies(rows)
    assert found.assignment[-5:].tolist() == [-1] * 5
    assert found.assignment[:64].equal(marked.long())
    assert sum(strategy.share for strategy in found.strategies) == pytest.approx(1)


def test_equal_maps_are_no_trouble() -> None:
    same = find_strategies(unit_rows(blob(1, 0).repeat(30, 1)))
    assert len(same.strategies) == 1
    two = find_strategies(unit_rows(torch.cat([blob(1, 0).repeat(20, 1), blob(1, 9).exp().repeat(20, 1)])))
    assert [len(strategy.members) for strategy in two.strategies] == [20, 20]
    assert two.strategies[1].separation == 100


def test_exemplars_are_medoids() -> None:
    rows = unit_rows(planted()[0])
    found = find_strategies(rows)
    members = sorted(found.strategies[1].members)
    distances = torch.cdist(rows[members], rows[members]).sum(1)
    assert found.strategies[1].exemplars[0] == members[int(distances.argmin())]
    assert len(found.strategies[0].exemplars) == 8


def test_merging_leaves_a_single_strategy() -> None:
    rows = unit_rows(planted()[0])
    found = find_strategies(rows).merged(rows)
    assert [len(strategy.members) for strategy in found.strategies] == [64]
    assert found.assignment.unique().tolist() == [0]


def test_clusters_without_a_gap_are_merged() -> None:
    rows = unit_rows(planted()[0])
    assert int(partition(rows, 1.25)[0].max()) == 1
    assert int(partition(rows, 99.0)[0].max()) == 0


def test_stability_is_the_jaccard_index_of_the_most_similar_cluster() -> None:
    inside = torch.tensor([1, 1, 1, 0, 0, 0, 0]).bool()
    assert _best_jaccard(inside, torch.tensor([0, 0, 1, 1, 1, 1, 1])) == pytest.approx(2 / 3)
    assert _best_jaccard(inside, torch.tensor([0, 0, 0, 0, 1, 1, 1])) == pytest.approx(3 / 4)
    assert _best_jaccard(inside, torch.zeros(7, dtype=torch.long)) == pytest.approx(3 / 7)


def test_what_does_not_recur_is_joined_to_the_largest() -> None:
    recurs = [0.9, 0.4, 0.8]
    own, recurs = _joined(torch.tensor([0, 0, 0, 1, 1, 2]), recurs, [True, False, True])
    assert own.tolist() == [0, 0, 0, 0, 0, 1]
    assert recurs == [0.9, 0.8]


def test_samples_are_compared_by_the_features_that_vary_most() -> None:
    rows = torch.tensor([[0.0, 5.0, 1.0, 3.0], [1.0, 5.0, 3.0, 3.5], [0.0, 5.0, 1.0, 3.0]])
    assert most_varying(rows, 2).equal(rows[:, [0, 2]])
    assert most_varying(rows, 4) is rows


def test_a_group_that_chance_explains_does_not_hide_one_that_it_does_not() -> None:
    maps, marked = planted()
    rows = unit_rows(maps)
    assignment = marked.long()
    assignment[(~marked).nonzero().flatten()[:20]] = 2
    p_values = _p_values(rows, assignment, torch.Generator().manual_seed(0))
    assert p_values[1] < 1e-3
    assert p_values[2] > 0.05
