import math

import pytest
import torch
from torch import Tensor

from lightning_explain.strategies import held_out_positions, mixed, separation
from tests.strategies.planted import blob, planted


def position_by_hand(rows: Tensor, inside: Tensor, row: int) -> float:
    others = torch.arange(len(rows)) != row
    a, b = rows[others & inside], rows[others & ~inside]
    spread = ((a - a.mean(0)).square().sum(0) + (b - b.mean(0)).square().sum(0)) / (len(a) + len(b) - 2)
    direction = (a.mean(0) - b.mean(0)) / (spread + spread.mean())
    one, other = a.mean(0) @ direction, b.mean(0) @ direction
    return float((rows[row] @ direction - (one + other) / 2) / ((one - other) / 2))


def test_positions_are_those_of_lines_drawn_one_by_one() -> None:
    rows, inside = planted(n=20, n_marked=6)
    found = held_out_positions(rows, inside)
    expected = [position_by_hand(rows, inside, row) for row in range(20)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.double))


def test_a_sample_has_no_say_in_its_own_position() -> None:
    # many more features than samples: lines drawn with a sample would put every random half apart
    rows = torch.randn(40, 500, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    half = torch.arange(40) < 20
    positions = held_out_positions(rows, half)
    assert abs(float(positions[half].mean() - positions[~half].mean())) < 0.3
    assert separation(rows, half) < 0.5


def test_the_halves_of_a_uniform_cloud_are_one_apart() -> None:
    rows = torch.linspace(0, 1, 2001, dtype=torch.double)[:, None]
    assert separation(rows, rows[:, 0] > 0.5) == pytest.approx(1, rel=2e-3)


def test_separation_is_the_distance_of_means_over_the_spread() -> None:
    rows, inside = planted(n=30, n_marked=10)
    positions = held_out_positions(rows, inside)
    a, b = positions[inside], positions[~inside]
    by_hand = (a.mean() - b.mean()) / ((a.var() + b.var()) / 2).sqrt() / math.sqrt(12)
    assert separation(rows, inside) == pytest.approx(float(by_hand))
    assert separation(rows, ~inside) == pytest.approx(float(by_hand))


def test_separation_does_not_know_scale_order_or_names() -> None:
    rows, inside = planted()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    columns = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    apart = separation(rows, inside)
    assert separation(3.5 * rows[order][:, columns] + 1, inside[order]) == pytest.approx(apart, rel=1e-6)


def test_groups_too_small_or_all_equal() -> None:
    rows = torch.eye(2, dtype=torch.double)[[0] * 5 + [1] * 5]
    assert separation(rows, torch.arange(10) < 3) == 0
    assert separation(rows, torch.arange(10) < 5) == 100


def test_mixtures_keep_mean_and_covariance_and_lose_groups() -> None:
    rows, marked = planted()
    generator = torch.Generator().manual_seed(0)
    new = mixed(rows, generator)
    torch.testing.assert_close(new.norm(dim=1), torch.ones(64, dtype=torch.double))
    # before they are brought to one length
    scaled = new * ((rows.mean(0) @ rows.mean(0)) / (new @ rows.mean(0)).mean())
    assert torch.cosine_similarity(scaled.mean(0), rows.mean(0), dim=0) > 0.99
    top_new, top = (torch.linalg.svd(each - each.mean(0)).Vh[0] for each in (scaled, rows))
    assert abs(float(top_new @ top)) > 0.9
    assert separation(rows, marked) > 2
    # the best line through what is left of the mark finds one cloud
    cloud = mixed(rows, generator)
    assert separation(cloud, cloud[:, 3] > cloud[:, 3].quantile(0.8)) < 1.2


def test_a_mixture_of_one_cloud_is_such_a_cloud() -> None:
    maps = blob(50, 3)
    new = mixed(maps, torch.Generator().manual_seed(1))
    assert new.shape == maps.shape
    assert new.isfinite().all()
