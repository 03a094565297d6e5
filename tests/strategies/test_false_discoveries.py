import pytest
import torch

from lightning_explain.strategies.false_discoveries import chance, discoveries


def test_discoveries_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        p_values = torch.cat([torch.rand(15, generator=generator), torch.rand(5, generator=generator) / 100]).tolist()
        adjusted = stats.false_discovery_control(p_values)
        assert discoveries(p_values, 0.1) == (adjusted <= 0.1).tolist()


def test_nothing_is_found_among_nothing() -> None:
    assert discoveries([], 0.05) == []
    assert discoveries([1.0, 1.0, 0.3], 0.05) == [False, False, False]


def test_chance_is_the_tail_of_a_gumbel_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    drawn = stats.gumbel_r(loc=1.0, scale=0.1).rvs(20000, random_state=0).tolist()
    for value in (0.9, 1.0, 1.3, 1.6):
        expected = stats.gumbel_r(loc=1.0, scale=0.1).sf(value)
        assert chance(value, drawn) == pytest.approx(expected, rel=0.15)


def test_chance_of_equal_draws_is_finite() -> None:
    assert chance(2.0, [1.0, 1.0]) < 1e-6
    assert chance(0.5, [1.0, 1.0]) > 0.99
