"""The plane in which the samples of a class are laid out."""

import torch

from lightning_explain.strategies.scatter import plane
from lightning_explain.strategies.separation import held_out_positions
from tests.strategies.planted import blob, planted


def test_the_axis_across_is_the_line_that_was_drawn_without_the_sample() -> None:
    maps, marked = planted()
    points = plane(maps, marked.long())
    expected = torch.empty(64, dtype=torch.double)
    for row in range(64):
        # the formula of `held_out_positions`, with the sample really left out
        others = torch.arange(64) != row
        a, b = maps[others & marked], maps[others & ~marked]
        spread = ((a - a.mean(0)).square().sum(0) + (b - b.mean(0)).square().sum(0)) / 61
        line = (a.mean(0) - b.mean(0)) / (spread + spread.mean())
        ends = a.mean(0) @ line, b.mean(0) @ line
        expected[row] = (maps[row] @ line - (ends[0] + ends[1]) / 2) / ((ends[0] - ends[1]) / 2)
    assert torch.allclose(points[:, 0], expected / expected.abs().max())
    assert points[marked, 0].min() > points[~marked, 0].max()


def test_halves_of_one_cloud_do_not_seem_to_lie_apart() -> None:
    maps = blob(64, 0, features=400)
    halves = torch.arange(64) % 2
    points = plane(maps, halves)
    inside, outside = points[halves == 1, 0], points[halves == 0, 0]
    # on a line drawn with all samples they lie 6 standard deviations apart
    assert abs(float(inside.mean() - outside.mean())) < 2 * float(inside.std())


def test_the_axis_up_is_the_largest_variance_besides() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = 0.01 * torch.randn(40, 12, generator=generator, dtype=torch.double)
    second = (torch.arange(40) >= 30).long()
    rows[:, 0] += 5.0 * second
    spread = torch.linspace(-1, 1, 40, dtype=torch.double)[torch.randperm(40, generator=generator)]
    rows[:, 1] += spread
    points = plane(rows, second)
    correlation = torch.corrcoef(torch.stack([points[:, 1], spread]))[0, 1].abs()
    assert correlation > 0.95


def test_a_third_strategy_has_the_axis_up() -> None:
    maps, marked = planted()
    own = marked.long()
    own[(~marked).nonzero().flatten()[:8]] = 2
    points = plane(maps, own)
    positions = held_out_positions(maps, own == 2)
    assert torch.allclose(points[:, 1], positions / positions.abs().max())


def test_one_strategy_is_shown_by_its_principal_components_with_a_fixed_sign() -> None:
    maps = blob(30, 1)
    points = plane(maps, torch.zeros(30, dtype=torch.long))
    centred = maps - maps.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    for axis in range(2):
        expected = centred @ vectors[:, -1 - axis]
        expected = expected * (-1.0 if expected.pow(3).sum() < 0 else 1.0)
        assert torch.allclose(points[:, axis], expected / expected.abs().max(), atol=1e-8)
    assert torch.allclose(plane(maps.flip(0), torch.zeros(30, dtype=torch.long)).flip(0), points, atol=1e-8)


def test_samples_without_a_map_have_no_point_and_move_no_other() -> None:
    maps, marked = planted()
    own = marked.long()
    with_none = torch.cat([maps, torch.full((2, maps.shape[1]), torch.nan, dtype=torch.double)])
    points = plane(with_none, torch.cat([own, torch.tensor([-1, -1])]))
    assert points[64:].isnan().all()
    assert torch.equal(points[:64], plane(maps, own))


def test_a_few_samples_or_none_are_laid_out_too() -> None:
    assert plane(torch.full((3, 5), torch.nan), torch.full((3,), -1)).isnan().all()
    assert torch.equal(plane(torch.ones(1, 5), torch.zeros(1, dtype=torch.long)), torch.zeros(1, 2, dtype=torch.double))
    # of two samples no spread is known, so they have no line
    points = plane(torch.eye(6, dtype=torch.double), torch.tensor([0, 0, 0, 0, 1, 1]))
    assert points.isfinite().all()
    assert points.abs().max() <= 1
