"""Catching what a step computes that may be class scores."""

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.output_hook import EXPLAINED, ScoreCatcher
from lightning_explain.callbacks.class_scores.output_source import OutputSource
from lightning_explain.isolation import isolated


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def caught(net: nn.Module) -> ScoreCatcher:
    catcher = ScoreCatcher(Question())
    catcher.attach(net)
    catcher.start()
    return catcher


def test_the_modules_own_output_is_what_is_explained() -> None:
    net = Parts()
    catcher = caught(net)
    scores = net(X)
    found = catcher.stop(6)
    assert list(found) == [EXPLAINED]
    assert torch.equal(found[EXPLAINED], scores.detach())


def test_where_the_step_calls_parts_all_with_a_row_for_each_sample_are_kept() -> None:
    net = Parts()
    catcher = caught(net)
    net.head(net.body(X))
    assert {name: tuple(found.shape) for name, found in catcher.stop(6).items()} == {"body": (6, 5), "head": (6, 3)}
    catcher.start()
    net.body(X)
    assert catcher.stop(4) == {}


def test_of_a_known_part_its_output_is_what_is_explained() -> None:
    net = Parts()
    catcher = caught(net)
    catcher.know([OutputSource(name="head", place=None)], net)
    scores = net.head(net.body(X))
    assert torch.equal(catcher.stop(6)[EXPLAINED], scores.detach())


def test_nothing_is_kept_before_start_nor_after_detach() -> None:
    net = Parts()
    catcher = ScoreCatcher(Question())
    catcher.attach(net)
    net(X)
    assert catcher.stop(6) == {}
    catcher.detach()
    assert not net._forward_hooks
    assert not net.head._forward_hooks


def test_with_a_redirected_step_the_last_output_is_the_steps() -> None:
    net = Parts()
    catcher = caught(net)
    first = net(X)
    net(X + 1)
    assert torch.equal(catcher.stop(6, redirected=True)[EXPLAINED], first.detach())


def test_passes_of_an_explanation_are_no_calls_of_the_step() -> None:
    net = Parts()
    catcher = caught(net)
    with isolated(net):
        net(X + 1)
        net.body(X + 1)
    scores = net(X)
    assert torch.equal(catcher.stop(6)[EXPLAINED], scores.detach())
    assert catcher.differs is None
    catcher.start()
    net(X)
    net(X + 1)
    catcher.stop(6)
    assert bool(catcher.differs)
