"""Pieces of paths: the rules by which they are integrated, and cutting them in halves."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from lightning_explain.attribution.integrated_gradients.pieces import BOOLE, TRAPEZOIDS, Nodes, PieceRule, Pieces


def one_piece(rule: PieceRule, start: float, width: float) -> tuple[Pieces, torch.Tensor]:
    """Return a piece and the positions of its nodes."""
    n = rule.n_intervals + 1
    pieces = Pieces(
        torch.tensor([0]), torch.tensor([start]).double(), torch.tensor([width]).double(), torch.arange(n)[None]
    )
    return pieces, start + width * torch.arange(n, dtype=torch.float64) / rule.n_intervals


@pytest.mark.parametrize(("rule", "fine", "coarse"), [(TRAPEZOIDS, 1, 1), (BOOLE, 5, 3)])
def test_rules_are_exact_up_to_their_degree_on_any_piece(rule: PieceRule, fine: int, coarse: int) -> None:
    pieces, nodes = one_piece(rule, 0.25, 0.5)
    for weights, degree in ((rule.fine, fine), (rule.coarse, coarse)):
        for power in range(degree + 2):
            (found,) = pieces.integrated(nodes**power, weights).tolist()
            wanted = (0.75 ** (power + 1) - 0.25 ** (power + 1)) / (power + 1)
            assert (found == pytest.approx(wanted, abs=1e-12)) is (power <= degree)


@pytest.mark.parametrize("rule", [TRAPEZOIDS, BOOLE])
def test_difference_is_what_the_fine_rule_adds(rule: PieceRule) -> None:
    pieces, nodes = one_piece(rule, 0.0, 1.0)
    at = nodes.exp()[:, None].repeat(1, 2)
    fine, coarse, added = (pieces.integrated(at, weights) for weights in (rule.fine, rule.coarse, rule.difference))
    assert added.shape == (1, 2)
    torch.testing.assert_close(added, fine - coarse)


def test_first_nodes_are_shared_by_neighbouring_pieces() -> None:
    assert (TRAPEZOIDS.n_first_nodes, BOOLE.n_first_nodes) == (5, 9)


def test_halves_integrate_what_the_piece_did_with_the_nodes_between() -> None:
    pieces, nodes = one_piece(TRAPEZOIDS, 0.5, 0.25)
    between = pieces.between
    assert between.flatten().tolist() == [0.5625, 0.6875]
    halves = pieces.halved(torch.tensor([[3], [4]]))
    assert halves.start.tolist() == [0.5, 0.625] and halves.width.tolist() == [0.125, 0.125]
    assert halves.rows.tolist() == [[0, 3, 1], [1, 4, 2]]
    at = torch.cat([nodes, between.flatten()])
    assert float(halves.integrated(at, TRAPEZOIDS.fine).sum()) == pytest.approx((0.75**2 - 0.5**2) / 2)


def test_joined_nodes_keep_sums_of_contributions() -> None:
    first = Nodes.of(torch.tensor([0]), torch.zeros(1).double(), torch.tensor([[1.0, 2.0]]), torch.tensor([5.0]))
    more = torch.tensor([[-1.0, 4.0], [0.5, 0.5]])
    nodes = first.joined(torch.tensor([0, 0]), torch.tensor([0.5, 1.0]).double(), more, torch.tensor([6.0, 7.0]))
    assert len(nodes) == 3
    assert nodes.sums.tolist() == [3.0, 3.0, 1.0] and nodes.scores.tolist() == [5.0, 6.0, 7.0]
    assert nodes.position.tolist() == [0.0, 0.5, 1.0]


def test_splines_go_through_the_nodes_of_each_sample_in_order() -> None:
    """Against scipy; nodes of several samples lie mixed, and only as much counts as is wanted."""
    generator = torch.Generator().manual_seed(0)
    places = [[0.0, 1.0, 0.5, 0.25, 0.75, 0.125], [0.0, 0.5, 1.0], [1.0, 0.0, 0.25, 0.5]]
    sample = torch.tensor([i for i, own in enumerate(places) for _ in own])
    position = torch.tensor([node for own in places for node in own]).double()
    mixed = torch.randperm(len(sample), generator=generator)
    values = torch.randn(len(sample), 2, generator=generator).double()
    nodes = Nodes.of(sample[mixed], position[mixed], values[mixed], values[mixed].sum(1))
    found = nodes.spline_corrections(torch.tensor([1.0, 0.5, 0.01]).double())
    for i, share in enumerate((1.0, 0.5, 0.0)):
        own = position[sample == i].argsort()
        at, known = position[sample == i][own].numpy(), values[sample == i][own].numpy()
        spline = CubicSpline(at, known, bc_type="natural").integrate(0, 1)
        expected = share * (spline - np.trapezoid(known, at, axis=0))
        torch.testing.assert_close(found[i], torch.as_tensor(expected))


def test_chosen_pieces_keep_their_order() -> None:
    pieces, _ = one_piece(TRAPEZOIDS, 0.0, 1.0)
    halves = pieces.halved(torch.tensor([[3], [4]]))
    both = halves.joined(pieces)
    kept = both.chosen(torch.tensor([False, True, True]))
    assert kept.start.tolist() == [0.5, 0.0] and kept.width.tolist() == [0.5, 1.0]
