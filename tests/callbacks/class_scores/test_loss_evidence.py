"""What one training step tells of the scores: hooks on the module, its parts and layers that are not trained."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.loss_evidence import LossEvidence

Y = torch.tensor([0, 1, 2, 1])
X = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Doubled(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * 2


def test_every_loss_of_a_step_counts_and_hooks_go() -> None:
    net, evidence = Net(), LossEvidence(Question())
    evidence.attach(net, (X, Y))
    out = net(X)
    evidence.read(net.head(net.head(X)).sum(), redirected=False)
    assert evidence.reading.weight is None
    evidence.read(net.head(out).sum(), redirected=False)
    assert evidence.reading.weight is net.head.weight
    evidence.read(out.sum(), redirected=False)
    assert evidence.reading.weight is None
    evidence.detach()
    assert not net._forward_hooks and not net.body._forward_hooks


def test_a_part_that_returns_the_same_is_listened_to() -> None:
    net, evidence = Net(), LossEvidence(Question())
    evidence.attach(net, (X, Y))
    evidence.read(net.head(net.body(X)).sum(), redirected=False)
    assert evidence.reading.weight is net.head.weight
    evidence.detach()


def test_the_output_of_a_step_called_in_place_of_forward_is_none() -> None:
    net, evidence = Doubled(), LossEvidence(Question())
    evidence.attach(net, (X, Y))
    net(X)
    evidence.read(net.head(net(X)).sum(), redirected=True)
    assert evidence.reading.weight is None
    evidence.detach()


def test_a_frozen_head_makes_the_scores_and_is_named() -> None:
    net, evidence = Net(), LossEvidence(Question())
    net.head.requires_grad_(False)
    evidence.attach(net, (X, Y))
    evidence.read(functional.cross_entropy(net.head(net(X)), Y), redirected=False)
    assert evidence.reading.weight is net.head.weight
    evidence.detach()
    assert not net.head._forward_hooks


def test_a_frozen_layer_before_the_scores_is_no_head() -> None:
    net, evidence = Doubled(), LossEvidence(Question())
    net.body.requires_grad_(False)
    evidence.attach(net, (X, Y))
    evidence.read(functional.cross_entropy(net(X.clone().requires_grad_()), Y), redirected=False)
    assert evidence.reading.weight is None
    evidence.detach()


def test_no_hook_sits_in_what_may_run_fused() -> None:
    net, evidence = Net(), LossEvidence(Question())
    net.block = nn.TransformerEncoderLayer(4, 2, 8).requires_grad_(False)
    evidence.attach(net, (X, Y))
    assert not any(module._forward_hooks for module in net.block.modules())
    evidence.detach()


def test_the_labels_of_the_loss_are_kept_with_their_place_in_the_batch() -> None:
    for batch, place in (((X, Y), "batch[1]"), ({"x": X, "label": Y}, "batch['label']")):
        net, evidence = Net(), LossEvidence(Question())
        evidence.attach(net, batch)
        evidence.read(functional.cross_entropy(net(X), (Y + 1) % 3), redirected=False)
        found = evidence.label_use.compared()
        assert found is not None
        assert (found.pairs, found.place) == ({0: 1, 1: 2, 2: 0}, place)
        evidence.detach()
