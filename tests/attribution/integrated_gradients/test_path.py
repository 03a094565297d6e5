"""Points on the straight path, and sums of gradients along it, against hand-written derivatives."""

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.passes import RowLimit
from lightning_explain.attribution.integrated_gradients.path import (
    StraightPath,
    assembled,
    contributions_at,
    path_points,
    times_way,
    weighted_gradients,
)

X = torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.5, 0.0]]).double()
BASELINE = torch.tensor([[1.0, 1.0]]).double()


def cubic(x: Tensor) -> Tensor:
    """Score with gradient `3 x^2`."""
    return (x**3).sum(1)


def path(**options) -> StraightPath:
    return StraightPath(cubic, (X,), (BASELINE,), None, **options)


def test_points_lie_between_baseline_and_input_node_by_node() -> None:
    target = torch.tensor([2, 0, 1])
    (points,), targets = path_points(StraightPath(cubic, (X,), (BASELINE,), target), torch.tensor([0.0, 0.25, 1.0]))
    assert points.requires_grad and points.shape == (9, 2)
    torch.testing.assert_close(points.detach()[:3], BASELINE.expand(3, 2))
    torch.testing.assert_close(points.detach()[3:6], 0.75 * BASELINE + 0.25 * X)
    torch.testing.assert_close(points.detach()[6:], X)
    assert targets is not None and targets.tolist() == [2, 0, 1] * 3


def test_integers_are_carried_along_and_have_no_way() -> None:
    ids = torch.tensor([[1, 2], [3, 4], [5, 6]])
    mixed = StraightPath(lambda x, n: (x * n).sum(1), (X, ids), (BASELINE, ids[:1]), None)
    (_, carried), _ = path_points(mixed, torch.tensor([0.5, 1.0]))
    assert torch.equal(carried, ids.repeat(2, 1))
    step, none = mixed.displacement()
    torch.testing.assert_close(step, X - BASELINE)
    assert none.tolist() == torch.zeros(3, 2).tolist()
    assert not mixed.shares_baseline and path().shares_baseline


def test_gradients_are_summed_by_every_rule_in_passes_of_any_size() -> None:
    nodes, weights = (
        torch.tensor([0.0, 0.5, 1.0]).double(),
        torch.tensor([[0.25, 0.5, 0.25], [1.0, 0.0, -1.0]]).double(),
    )
    points = torch.stack([BASELINE + node * (X - BASELINE) for node in nodes])
    wanted = torch.tensordot(weights, 3 * points**2, dims=1)
    for rows in (1, 2, 100):
        (sums,), scores = weighted_gradients(path(limit=RowLimit(rows=rows)), nodes, weights)
        torch.testing.assert_close(sums, wanted)
        torch.testing.assert_close(scores, (points**3).sum(2))


def test_contributions_are_gradient_times_way_of_the_samples_asked_for() -> None:
    samples, positions = torch.tensor([2, 0, 2]), torch.tensor([0.0, 1.0, 0.5]).double()
    found, scores = contributions_at(path(), samples, positions)
    points = BASELINE + positions[:, None] * (X[samples] - BASELINE)
    torch.testing.assert_close(found, 3 * points**2 * (X[samples] - BASELINE))
    torch.testing.assert_close(scores, (points**3).sum(1))


def test_attributions_of_vectors_are_sums_over_their_last_dimension() -> None:
    vectors = torch.arange(12.0).reshape(2, 3, 2)
    of_vectors = StraightPath(lambda x: x.sum((1, 2)), (vectors,), (torch.ones(1, 1, 2),), None, of_vectors=True)
    assert of_vectors.shapes() == [torch.Size([2, 3])]
    torch.testing.assert_close(times_way(of_vectors, (torch.ones(2, 3, 2),)), vectors.sum(2) - 2)


def test_samples_keep_their_own_target_and_baseline() -> None:
    own = StraightPath(cubic, (X,), (2 * X,), torch.tensor([4, 5, 6])).of(torch.tensor([2, 0]))
    assert len(own) == 2 and own.target is not None and own.target.tolist() == [6, 4]
    torch.testing.assert_close(own.displacement()[0], -X[[2, 0]])
    assert len(path().of(torch.tensor([1])).baselines[0]) == 1


def test_blocks_are_assembled_by_first_node_and_sample() -> None:
    whole = torch.arange(20.0).reshape(4, 5)
    pieces = {(n, s): whole[n : n + 2, s : s + 3] for n in (2, 0) for s in (3, 0)}
    assert torch.equal(assembled(pieces, (4, 5)), whole)
