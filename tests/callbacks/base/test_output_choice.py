"""Which of several tensors holds the scores, and which output of it is explained for each sample."""

import pytest
import torch

from lightning_explain import Probe
from lightning_explain.callbacks.base.output_choice import (
    are_probabilities_of,
    explained_targets,
    feeds,
    likeliest_scores,
)
from lightning_explain.errors import ConfigurationError

FEATURES = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
HEAD = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))


def test_a_tensor_feeds_what_is_computed_from_it() -> None:
    hidden = FEATURES * 2
    scores = hidden @ HEAD
    assert feeds(hidden, scores)
    assert not feeds(scores, hidden)
    assert not feeds(hidden, hidden)
    assert not feeds(torch.ones(2), scores)


@pytest.mark.parametrize("form", [lambda s: s.softmax(1), lambda s: s.log_softmax(1), torch.sigmoid])
def test_probabilities_are_known_by_their_values(form) -> None:
    scores = torch.randn(4, 3)
    assert are_probabilities_of(form(scores), scores)
    assert not are_probabilities_of(form(scores).flip(1) + 0.1, scores)
    assert not are_probabilities_of(form(scores)[:, :2], scores)


def test_scores_are_those_that_are_as_wide_as_there_are_classes_and_computed_last() -> None:
    hidden = FEATURES * 2
    scores = hidden @ HEAD
    assert likeliest_scores({0: hidden, 1: scores}, 6, 3) == 1
    assert (
        likeliest_scores({"features": hidden, "probabilities": scores.softmax(1), "logits": scores}, 6, 3) == "logits"
    )


def test_two_heads_of_one_width_are_no_evidence() -> None:
    hidden = FEATURES * 2
    assert likeliest_scores({0: hidden @ HEAD, 1: hidden @ HEAD.flip(0)}, 6, 3) is None


def test_a_tensor_with_other_rows_is_none() -> None:
    assert likeliest_scores({0: torch.randn(5, 3)}, 6, 3) is None


def test_targets_are_labels_or_predictions() -> None:
    scores = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
    probe = Probe(inputs=torch.rand(2, 4), targets=torch.tensor([0, 1]))
    assert explained_targets(probe, scores, "label").tolist() == [0, 1]  # type: ignore[union-attr]
    assert explained_targets(probe, scores, "predicted").tolist() == [1, 0]  # type: ignore[union-attr]
    assert explained_targets(probe, scores[:, :1], "label") is None


def test_several_outputs_without_labels_are_refused_with_what_to_give() -> None:
    with pytest.raises(ConfigurationError, match="no class labels that say which to explain.*target="):
        explained_targets(Probe(inputs=torch.rand(2, 4)), torch.rand(2, 3), "label")
    with pytest.raises(ConfigurationError, match=r"scores of shape \[2, 3, 4\].*output="):
        explained_targets(Probe(inputs=torch.rand(2, 4)), torch.rand(2, 3, 4), "label")


@pytest.mark.parametrize(("shape", "cure"), [((2, 3, 4), r"dim=\(2,\)"), ((2, 3, 4, 5), r"dim=\(2, 3\)")])
def test_scores_of_places_are_refused_with_a_cure_of_their_own_shape(shape: tuple[int, ...], cure: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"scores.mean\({cure}\) where .* scores\[:, -1\] for the last step"):
        explained_targets(Probe(inputs=torch.rand(2, 4)), torch.rand(*shape), "label")
