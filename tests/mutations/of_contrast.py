"""Errors made on purpose in contrastive explanations: each is noticed by its check."""

import torch

from lightning_explain import Probe
from lightning_explain.attribution import InputXGradient
from lightning_explain.attribution.contrast import differences, highest_other
from lightning_explain.callbacks.base.contrast_choice import chosen_contrast
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation

SCORES = torch.tensor([[0.0, 5.0, 2.0], [9.0, 1.0, 3.0], [1.0, 4.0, 4.0]])
NEGATIVE = torch.tensor([[-1.0, -5.0, -2.0]])
TARGET = torch.tensor([1, 0, 0])


def of_scores() -> None:
    module, index = differences(lambda x: x, TARGET, torch.tensor([2, 1, 2]))
    close(module(SCORES).gather(1, index[:, None]), [3.0, 8.0, -3.0])


def highest() -> None:
    assert highest_other(SCORES, TARGET).tolist() == [2, 2, 1]
    assert highest_other(NEGATIVE, torch.tensor([0])).tolist() == [2]


def of_a_method() -> None:
    found = InputXGradient(contrast="strongest")(lambda x: x, SCORES, TARGET)
    assert found.contrast is not None
    assert found.target is not None
    assert (found.target.tolist(), found.contrast.tolist()) == ([1, 0, 0], [2, 2, 1])
    close(found.values.sum(1), [3.0, 6.0, -3.0])


def of_a_probe() -> None:
    probe = Probe(inputs=torch.zeros(3, 2), targets=TARGET)
    assert chosen_contrast(0, probe, TARGET, SCORES)[0].tolist() == [0, 2, 1]


MUTATIONS = [
    Mutation(
        "attribution.contrast.ScoreDifferences.forward",
        "scores.index_select(1, pairs[:, 0]) - scores.index_select(1, pairs[:, 1])",
        "scores.index_select(1, pairs[:, 1]) - scores.index_select(1, pairs[:, 0])",
        of_scores,
    ),
    Mutation("attribution.contrast.ScoreDifferences.forward", "pairs[:, 1]", "pairs[:, 0]", of_scores),
    Mutation("attribution.contrast.highest_other", "-torch.inf", "0", highest),
    Mutation("attribution.contrast.highest_other", "target[:, None]", "0 * target[:, None]", highest),
    Mutation("attribution.contrast.differences", "[target, others]", "[others, target]", of_scores),
    Mutation("callbacks.base.contrast_choice.chosen_contrast", "target == known", "target != known", of_a_probe),
]
"""Errors, and the check that notices each."""
