"""Parts of a module that return what its forward returns."""

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.output_source import OutputSource, matching, score_sources


class Model(nn.Module):
    def __init__(self, *, flat: bool = False, two: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.head, self.other = nn.Linear(6, 3), nn.Linear(6, 3)
        self.flat, self.two = flat, two

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        if self.two:
            self.other(hidden)
        return self.head(hidden).softmax(1) if self.flat else self.head(hidden)


X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))


def test_the_part_that_returns_the_same_tensor_is_found() -> None:
    assert score_sources(Model(), (X, torch.zeros(12)), Question()) == [OutputSource("head")]
    assert score_sources(Model(two=True), (X, torch.zeros(12)), Question()) == [OutputSource("head")]


def test_the_part_of_which_the_output_are_the_probabilities_is_found() -> None:
    assert score_sources(Model(flat=True), (X, torch.zeros(12)), Question()) == [OutputSource("head")]


def test_two_parts_of_equal_values_are_no_evidence() -> None:
    scores = torch.randn(5, 3)
    parts = [(OutputSource("a"), scores.clone()), (OutputSource("b"), scores.clone())]
    assert matching(parts, scores) == []
    assert matching([*parts, (OutputSource("c.d"), scores), (OutputSource("e"), scores)], scores) == [
        OutputSource("e"),
        OutputSource("c.d"),
    ]


def test_hooks_and_mode_are_as_before() -> None:
    model = Model().train()
    model.body.eval()
    score_sources(model, (X, torch.zeros(12)), Question())
    assert model.training
    assert not model.body.training
    assert not any(module._forward_hooks for module in model.modules())
