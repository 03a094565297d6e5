"""Quadrature rules on [0, 1] against integrals of polynomials, and the distance between explanations."""

import pytest
import torch

from lightning_explain.attribution.integrated_gradients.quadrature import (
    RULES,
    gauss_legendre,
    midpoint,
    refinement,
    relative_distance,
)


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_gauss_legendre_integrates_polynomials_up_to_its_degree(n_steps: int) -> None:
    rule = gauss_legendre(n_steps)
    for degree in range(2 * n_steps):
        integral = float((rule.weights * rule.nodes**degree).sum())
        assert integral == pytest.approx(1 / (degree + 1), abs=1e-13)
    beyond = 2 * n_steps
    assert float((rule.weights * rule.nodes**beyond).sum()) != pytest.approx(1 / (beyond + 1), abs=1e-9)


def test_midpoints_are_the_middles_of_equal_steps() -> None:
    rule = midpoint(4)
    assert rule.nodes.tolist() == [0.125, 0.375, 0.625, 0.875]
    assert rule.weights.tolist() == [0.25] * 4
    # the error for x^2 is 1 / (12 n^2)
    assert float((rule.weights * rule.nodes**2).sum()) == pytest.approx(1 / 3 - 1 / (12 * 16))


def test_refinement_halves_every_interval() -> None:
    ends = torch.arange(7, dtype=torch.float64) / 6
    torch.testing.assert_close(refinement(6), (ends[1:] + ends[:-1]) / 2)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_the_number_of_nodes_asked_for_and_is_symmetric(name: str) -> None:
    rule = RULES[name](5)
    assert len(rule.nodes) == 5 and rule.name == name
    torch.testing.assert_close(rule.nodes + rule.nodes.flip(0), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(rule.weights, rule.weights.flip(0))


def test_relative_distance_is_zero_where_both_are_and_infinite_where_only_one_is() -> None:
    a = torch.tensor([[3.0, -1.0], [0.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    assert relative_distance(a, b).tolist() == [1.0, 0.0, float("inf")]
