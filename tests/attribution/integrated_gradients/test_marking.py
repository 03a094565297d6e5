"""Marking of pieces: the fewest that hold a share of each sample's error, and their order by size."""

import torch

from lightning_explain.attribution.integrated_gradients.marking import bulk, rank, share_to_cut

SAMPLE = torch.tensor([0, 1, 0, 1, 0])
SIZE = torch.tensor([1.0, 6.0, 5.0, 2.0, 4.0])


def test_the_fewest_pieces_that_hold_the_share_are_chosen_sample_by_sample() -> None:
    found = bulk(SIZE, SAMPLE, torch.tensor([0.6, 0.7]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.75, 0.5, 0.0, 0.4]))
    # a share of exactly what the largest holds needs no other piece
    assert bulk(SIZE, SAMPLE, torch.tensor([0.5, 0.0])).nonzero().flatten().tolist() == [2]


def test_nothing_is_chosen_where_nothing_is_wrong() -> None:
    assert not bulk(SIZE, SAMPLE, torch.zeros(2)).any()
    assert not bulk(torch.zeros(5), SAMPLE, torch.ones(2)).any()


def test_pieces_are_numbered_from_each_samples_largest_on() -> None:
    assert rank(SIZE, SAMPLE).tolist() == [2, 0, 0, 1, 1]


def test_half_of_a_bisected_pieces_error_stays_and_a_round_cuts_at_most_four_fifths() -> None:
    found = share_to_cut(torch.tensor([0.1, 0.125, 0.05, 10.0]), 0.1)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.4, 0.0, 0.8]))
