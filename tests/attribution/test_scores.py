"""The explained score of each sample, its gradient, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.attribution import LRP, InputXGradient, IntegratedGradients
from lightning_explain.attribution.scores import (
    check_counts,
    check_differentiable,
    check_finite,
    explained_score,
    prepared,
    score_gradients,
    target_tensor,
)
from lightning_explain.errors import ConfigurationError, ExplanationError

CPU = torch.device("cpu")


def test_scalar_outputs_of_any_form_need_no_target() -> None:
    for shape in ((3,), (3, 1), (3, 1, 1)):
        assert explained_score(torch.arange(3.0).reshape(shape), None).tolist() == [0.0, 1.0, 2.0]
    assert explained_score(torch.arange(3.0), torch.tensor([0, 0, 0])).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("output", "target", "said"),
    [
        ({"logits": torch.ones(2, 3)}, None, "returned dict"),
        (torch.tensor(1.0), None, "returned Tensor"),
        (torch.ones(2, 3), None, r"shape \[2, 3\].*target="),
        (torch.ones(2, 3, 4), torch.tensor([0, 1]), r"expected \[batch, classes\]"),
        (torch.ones(2, 3), torch.tensor([0, 3]), "class index 3.*classes 0 to 2"),
        (torch.ones(2, 3), torch.tensor([-2, 1]), "class index -2"),
    ],
)
def test_outputs_and_targets_that_name_no_score_are_refused(output: Any, target: Tensor | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        explained_score(output, target)


def test_targets_become_one_index_per_sample() -> None:
    one = target_tensor(4, 3, CPU)
    assert one is not None and one.tolist() == [4, 4, 4]
    given = torch.tensor([1, 2], dtype=torch.int32)
    many = target_tensor(given, 2, CPU)
    assert many is not None and many.dtype == torch.long and many.tolist() == [1, 2]
    assert target_tensor(None, 3, CPU) is None
    for wrong in (torch.ones(2), torch.tensor([True, False]), torch.tensor([[0], [1]]), torch.tensor([0])):
        with pytest.raises(ConfigurationError, match=r"a LongTensor \[2\]"):
            target_tensor(wrong, 2, CPU)


def test_gradients_are_those_of_each_samples_own_score() -> None:
    x, n = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), torch.tensor([[2, 2], [1, 1]])
    (gradient, none), scores = score_gradients(lambda a, b: a**2 * b, (x, n), torch.tensor([1, 0]))
    assert gradient.tolist() == [[0.0, 8.0], [6.0, 0.0]] and not none.any()
    assert scores.tolist() == [8.0, 9.0] and not scores.requires_grad
    with pytest.raises(ExplanationError, match="does not depend on its input"):
        score_gradients(lambda a: a.detach(), (x,), torch.tensor([0, 0]))


def test_nan_names_samples_but_sums_that_overflow_are_no_reason() -> None:
    huge = torch.full((2, 3), 3e38)
    check_finite((huge,), torch.zeros(2))
    huge[1, 0] = torch.inf
    with pytest.raises(ExplanationError, match=r"1 of 2 samples .*first: sample 1"):
        check_finite((torch.zeros(2), huge), torch.zeros(2))
    with pytest.raises(ExplanationError, match="2 of 2 samples"):
        check_finite((torch.tensor([torch.nan, 0.0]),), torch.tensor([0.0, torch.nan]))


def test_inputs_that_are_not_finite_themselves_are_named_as_the_cause() -> None:
    x = torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [0.0, -torch.inf]])
    with pytest.raises(ExplanationError, match=r"inputs of 2 of 3 samples themselves hold NaN .*first: sample 1.*mask"):
        check_finite((x,), torch.zeros(3), (x, torch.ones(3, 1, dtype=torch.long)))
    with pytest.raises(ExplanationError, match="training has diverged"):
        check_finite((x,), torch.zeros(3), (torch.ones(3, 2),))


@pytest.mark.parametrize("method", [IntegratedGradients(), IntegratedGradients(n_steps=4), InputXGradient(), LRP()])
def test_missing_values_are_told_from_a_network_that_diverged(method: Any) -> None:
    net, x = nn.Linear(2, 2), torch.tensor([[1.0, 2.0], [torch.nan, 0.0]])
    with pytest.raises(ExplanationError, match="inputs of 1 of 2 samples themselves hold NaN"):
        method(net, x, 1)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (torch.ones(2, 5, dtype=torch.long), "AtEmbedding"),
        (torch.ones(2, 5, dtype=torch.uint8), r"Give floats"),
        (torch.ones(2, 3, 4, 4, dtype=torch.int32), r"Give floats"),
        (torch.ones(2, dtype=torch.long), r"input=1, target=0"),
    ],
)
def test_what_has_no_gradient_is_refused_with_the_remedy_for_its_kind(part: Tensor, said: str) -> None:
    check_differentiable((part, torch.ones(2, 1)))
    with pytest.raises(ConfigurationError, match=said):
        check_differentiable((part,))


def test_prepared_inputs_are_clones_that_can_take_part_in_autograd() -> None:
    with torch.inference_mode():
        x = torch.ones(2, 3)
        with torch.inference_mode(mode=False):
            (part,), target = prepared(x, 1)
    part.requires_grad_()
    assert target is not None and target.tolist() == [1, 1]
    assert torch.autograd.grad((part**2).sum(), part)[0].tolist() == [[2.0] * 3] * 2


def test_counts_below_one_are_refused_by_name() -> None:
    check_counts(n_steps=1, chunk_size=None)
    with pytest.raises(ConfigurationError, match="chunk_size=0; expected at least 1"):
        check_counts(n_steps=1, chunk_size=0)


def test_no_samples_are_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match=r"shape \[0, 4\]: there is no sample to explain"):
        prepared(torch.zeros(0, 4), None)
    with pytest.raises(ConfigurationError, match="no sample"):
        prepared((torch.zeros(0, 4), torch.zeros(0, 2)), 0)
