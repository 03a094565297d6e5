import pytest
import torch
from torch import Tensor

from lightning_explain.strategies import separation, unit_rows
from lightning_explain.strategies.division import by_size, candidates, feature_splits, partition, refined, smallest
from tests.strategies.planted import blob, planted


def hidden(seed: int, n_marked: int = 13) -> tuple[Tensor, Tensor]:
    """Draw maps in which a mark is in three of 400 features, and all others differ, too."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(64, 400, generator=generator, dtype=torch.double)
    marked = torch.zeros(64, dtype=torch.bool)
    marked[torch.randperm(64, generator=generator)[:n_marked]] = True
    maps[marked, 7:10] += 6
    return unit_rows(maps), marked


def apart_by_hand(values: list[float], count: int) -> float:
    a, b = (torch.tensor(part, dtype=torch.double) for part in (sorted(values)[:count], sorted(values)[count:]))
    return float((b.mean() - a.mean()) / ((a.var(correction=0) + b.var(correction=0)) / 2).sqrt())


def test_features_are_split_where_both_sides_are_furthest_apart() -> None:
    rows, _ = planted(n=30, n_marked=8, seed=4)
    variance = rows.var(0)
    best = {
        feature: max((apart_by_hand(rows[:, feature].tolist(), count), count) for count in range(4, 27))
        for feature in range(rows.shape[1])
        if variance[feature] >= variance.mean()
    }
    ranked = sorted(best, key=lambda feature: -best[feature][0])
    for inside, feature in zip(feature_splits(rows, 3), ranked, strict=False):
        count = best[feature][1]
        expected = rows[:, feature] >= rows[:, feature].sort().values[count]
        assert inside.equal(expected)


def test_features_that_hardly_vary_are_passed_over() -> None:
    rows = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    rows[:, 0] = 1e-3 * (torch.arange(40) % 2)
    (inside,) = feature_splits(rows, 1)
    assert not inside.equal(rows[:, 0] > 0)
    assert float(rows[inside, 1].min()) > float(rows[~inside, 1].max())


def test_a_split_does_not_know_offsets() -> None:
    rows, _ = planted()
    # squares of large values would drown the spread
    moved = feature_splits(rows + 1e8)
    assert all(a.equal(b) for a, b in zip(feature_splits(rows)[:1], moved, strict=False))


@pytest.mark.parametrize("seed", range(4))
def test_a_mark_of_which_neighbours_do_not_know_is_found(seed: int) -> None:
    rows, marked = hidden(seed)
    (apart, group), *_ = candidates(rows)[0]
    assert group.equal(marked)
    assert apart == pytest.approx(separation(rows, marked))
    assert partition(rows, 1.5)[0].equal(marked.long())


def test_members_are_completed_from_a_part_of_them() -> None:
    rows, marked = hidden(1)
    some = marked & (marked.cumsum(0) <= 10)
    assert refined(rows, some).equal(marked)
    assert refined(rows, ~some).equal(~marked)


def test_a_group_is_the_smaller_side() -> None:
    rows, marked = hidden(2, n_marked=50)
    assert candidates(rows)[0][0][1].equal(~marked)


def test_candidates_are_ranked_and_differ() -> None:
    found, _ = candidates(unit_rows(planted()[0]))
    distances = [apart for apart, _ in found]
    assert distances == sorted(distances, reverse=True)
    assert len({tuple(group.tolist()) for _, group in found}) == len(found)
    assert all(smallest(64) <= int(group.sum()) <= 32 for _, group in found)


def test_groups_that_share_samples_are_counted_once() -> None:
    maps, marked = planted(n=64, n_marked=24)
    assignment, _ = partition(unit_rows(maps), 1.25)
    assert assignment.equal(marked.long())


def test_a_single_cloud_is_one_group() -> None:
    assert int(partition(unit_rows(blob(64, 1)), 1.5)[0].max()) == 0


def test_groups_are_numbered_by_size_and_then_by_their_first_sample() -> None:
    assert by_size(torch.tensor([5, 2, 2, 2, 7, 7, 5])).tolist() == [1, 0, 0, 0, 2, 2, 1]
