"""Refining paths: nodes where a gradient changes, and sums that stay those of the pieces."""

from dataclasses import replace

import torch

from lightning_explain.attribution.integrated_gradients.adaptive import Totals, refined
from lightning_explain.attribution.integrated_gradients.marking import Goal
from lightning_explain.attribution.integrated_gradients.path import StraightPath
from lightning_explain.attribution.integrated_gradients.path_ends import at_baseline
from lightning_explain.attribution.integrated_gradients.pieces import BOOLE, TRAPEZOIDS

X = torch.tensor([[1.0, 2.0], [2.0, -1.0]]).double()
ZERO = torch.zeros(1, 2).double()


def explained(forward, goal: Goal, rule=TRAPEZOIDS) -> Totals:
    path = StraightPath(forward, (X,), (ZERO,), None)
    return refined(path, *at_baseline(path), goal, rule)


def test_a_constant_gradient_needs_the_first_nodes_only() -> None:
    for rule, nodes in ((TRAPEZOIDS, 5), (BOOLE, 9)):
        found = explained(lambda x: (3 * x).sum(1), Goal(1e-6, 1e-6, 100), rule)
        torch.testing.assert_close(found.values, 3 * X)
        assert found.n_evaluations.tolist() == [nodes, nodes] and not found.unfinished.any()


def test_only_the_sample_with_a_kink_on_its_path_gets_more_nodes() -> None:
    # the second sample's path turns negative in its second feature, and so passes no kink at 0.7
    found = explained(lambda x: torch.relu(x[:, 1] - 0.7), Goal(0.01, 0.01, 200))
    first, second = found.n_evaluations.tolist()
    assert first > second == 5
    torch.testing.assert_close(found.values.sum(1), torch.tensor([1.3, 0.0]).double(), atol=0.013, rtol=0)


def test_a_fourth_power_is_integrated_to_the_tolerance() -> None:
    found = explained(lambda x: (x**4).sum(1), Goal(1e-4, 1e-4, 300))
    torch.testing.assert_close(found.values, X**4, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.change, (X**4).sum(1))


def test_pieces_are_not_cut_below_a_quarter_of_equal_steps() -> None:
    # 101 nodes make steps of 0.01; a piece of trapezoids has two of them
    assert Goal(0.1, 0.1, 101).smallest_width(TRAPEZOIDS) == 0.01
    assert Goal(0.1, 0.1, 101).smallest_width(BOOLE) == 0.02


def test_the_gap_is_relative_to_the_change_but_not_to_less_than_a_hundredth_of_the_values() -> None:
    found = explained(lambda x: x.sum(1), Goal(0.1, 0.1, 9))
    values, change = torch.tensor([[2.0, 1.0], [50.0, -50.5]]).double(), torch.tensor([2.0, 0.0]).double()
    totals = replace(found, values=values, change=change)
    torch.testing.assert_close(totals.gap, torch.tensor([0.5, 0.5 / 1.005]).double())
    twice = Totals.joined([totals, totals])
    assert twice.values.shape == (4, 2) and twice.change.tolist() == [2.0, 0.0, 2.0, 0.0]


def test_a_spline_takes_the_place_of_trapezoids_where_nothing_jumps() -> None:
    """A bump and nodes of unequal spacing: four times nearer than by trapezoids."""
    smooth = explained(lambda x: torch.erf(6 * (x - 0.8)).sum(1), Goal(0.02, 0.02, 200))
    exact = torch.erf(6 * (X - 0.8)) - torch.erf(torch.tensor(-4.8).double())
    by_trapezoids = smooth.values - smooth.difference
    assert (smooth.values - exact).abs().sum() < (by_trapezoids - exact).abs().sum() / 4
    assert (smooth.jumps < 0.6).all() and (smooth.error < 0.02).all()
    kinked = explained(lambda x: torch.relu(x[:, 1] - 0.7), Goal(0.001, 0.001, 33))
    assert kinked.jumps[0] > 0.5


def test_no_spline_that_leaves_a_gap() -> None:
    """The gradient is straight between the nodes and bends at them: trapezoids are exact, and a spline is not."""
    one = torch.ones(1, 1).double()
    path = StraightPath(
        lambda x: (torch.relu(x - 0.5) ** 2 + torch.relu(0.25 - x) ** 2).sum(1), (one,), (0 * one,), None
    )
    found = refined(path, *at_baseline(path), Goal(2.0, 1e-6, 5))
    assert 0.8 < float(found.jumps) < 0.95
    torch.testing.assert_close(found.values, torch.tensor([[0.25 - 0.0625]]).double(), atol=1e-7, rtol=0)
    kept = refined(path, *at_baseline(path), Goal(2.0, 0.5, 5))
    assert abs(float(kept.values) - 0.1875) > 1e-4, "within the goal it counts"
