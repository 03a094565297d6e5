"""Attributions: one input or several, and those of several batches joined."""

import torch

from lightning_explain import IntegratedGradients
from lightning_explain.attribution.result import Attribution, Method, flat, joined, parts_of, shaped_like
from tests.attribution.nets import drawn, mlp

A, B = torch.arange(6.0).reshape(2, 3), torch.tensor([7.0, 8.0])


def made(rows: slice, *, several: bool = False, error: torch.Tensor | None = None) -> Attribution:
    values = (A[rows], B[rows]) if several else A[rows]
    n = torch.ones(len(B[rows]), dtype=torch.long)
    return Attribution(values=values, convergence_delta=B[rows], error=error, target=n, baseline=None, n_evaluations=n)


def test_parts_and_back() -> None:
    assert parts_of(A) == (A,) and parts_of((A, B)) == (A, B)
    assert shaped_like((A,), A) is A and shaped_like((A, B), (B, A)) == (A, B)


def test_parts_are_laid_side_by_side_also_those_of_one_number_per_sample() -> None:
    assert flat((A[:, :, None], B)).tolist() == [[0.0, 1.0, 2.0, 7.0], [3.0, 4.0, 5.0, 8.0]]


def test_joined_attributions_are_those_of_the_whole_batch() -> None:
    x, target, method = drawn(5, 4), torch.tensor([0, 1, 2, 0, 1]), IntegratedGradients(n_steps=6)
    whole = method(mlp(), x, target)
    pieces = [method(mlp(), x[rows], target[rows]) for rows in (slice(0, 2), slice(2, 5))]
    both = joined(pieces)
    for name in ("values", "convergence_delta", "error", "target", "baseline", "n_evaluations", "coarse"):
        torch.testing.assert_close(getattr(both, name), getattr(whole, name))


def test_what_one_piece_lacks_the_whole_lacks() -> None:
    both = joined([made(slice(0, 1), several=True, error=B[:1]), made(slice(1, 2), several=True)])
    assert both.error is None and both.convergence_delta is not None
    assert [part.tolist() for part in both.parts] == [A.tolist(), B.tolist()]
    alone = made(slice(0, 2))
    assert joined([alone]) is alone


def test_any_call_is_a_method() -> None:
    assert isinstance(IntegratedGradients(), Method) and isinstance(lambda model, inputs, target=None: None, Method)
    assert not isinstance("saliency", Method)
