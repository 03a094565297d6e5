"""Gradients and scores at the ends of a path, with and without a kink at the baseline."""

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.path import StraightPath
from lightning_explain.attribution.integrated_gradients.path_ends import at_baseline, end_scores, hair, start_scores

X = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [2.0, -1.0]]).double()
ZERO = torch.zeros(1, 2).double()


def test_a_smooth_shared_baseline_is_differentiated_at_itself() -> None:
    path = StraightPath(lambda x: (torch.exp(x) * torch.tensor([1.0, 3.0])).sum(1), (X,), (ZERO,), None)
    contributions, scores = at_baseline(path)
    torch.testing.assert_close(contributions, X * torch.tensor([1.0, 3.0]), atol=1e-6, rtol=1e-6)
    assert scores.tolist() == [4.0, 4.0, 4.0]


def test_a_kink_at_the_baseline_is_passed_on_each_samples_own_side() -> None:
    contributions, _ = at_baseline(StraightPath(lambda x: torch.relu(x).sum(1), (X,), (ZERO,), None))
    torch.testing.assert_close(contributions, X.clamp(min=0))


def test_targets_share_a_baseline_but_not_a_gradient() -> None:
    weight = torch.tensor([[1.0, 2.0], [-5.0, 7.0]]).double()
    target = torch.tensor([1, 0, 1])
    contributions, scores = at_baseline(StraightPath(lambda x: x @ weight.T + 1, (X,), (ZERO,), target))
    torch.testing.assert_close(contributions, X * weight[target])
    assert scores.tolist() == [1.0, 1.0, 1.0]


def test_a_model_that_refuses_points_beyond_the_baseline_is_explained_beside_it() -> None:
    def only_nonnegative(x: Tensor) -> Tensor:
        if bool((x < 0).any()):
            raise ValueError("out of range")
        return (2 * x).sum(1)

    contributions, _ = at_baseline(StraightPath(only_nonnegative, (X.abs(),), (ZERO,), None))
    torch.testing.assert_close(contributions, 2 * X.abs())


def test_scores_at_the_ends_and_one_run_of_a_shared_baseline() -> None:
    rows: list[int] = []

    def squared(x: Tensor) -> Tensor:
        rows.append(len(x))
        return (x**2).sum(1)

    baseline = torch.ones(1, 2).double()
    change = end_scores(StraightPath(squared, (X,), (baseline,), None))
    torch.testing.assert_close(change, (X**2).sum(1) - 2)
    assert sorted(rows) == [1, 3]
    own = StraightPath(squared, (X,), (X / 2,), None)
    with torch.no_grad():
        torch.testing.assert_close(start_scores(own), (X**2).sum(1) / 4)


def test_a_hair_is_longer_for_coarser_numbers_but_never_long() -> None:
    lengths = [
        hair(StraightPath(torch.sum, (X.to(t),), (ZERO.to(t),), None))
        for t in (torch.double, torch.float, torch.bfloat16)
    ]
    assert lengths == [2**-26, 2**-8, 2**-8]
