"""Refining paths: nodes where a gradient changes, and sums that stay those of the pieces."""

from dataclasses import replace

import torch

from lightning_explain.attribution.integrated_gradients.adaptive import Goal, Totals, refined
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
