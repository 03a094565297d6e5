"""Where the loss reads what the explained forward returns: as scores, or through a layer that makes scores of it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.loss_evidence import LossEvidence, weights_before_loss

Y = torch.tensor([0, 1, 2, 1])
X = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
BODY, HEAD = nn.Linear(3, 3), nn.Linear(3, 3)
SCALE, MATRIX = nn.Parameter(torch.ones(())), nn.Parameter(torch.eye(3))


def focal(out: Tensor) -> Tensor:
    chosen = out.log_softmax(1).gather(1, Y[:, None])
    return -((1 - chosen.exp()) ** 2 * chosen).mean()


def normalised(weight: Tensor) -> Tensor:
    return functional.normalize(weight)


READ: dict[str, Callable[[Tensor], Tensor]] = {
    "cross entropy": lambda out: functional.cross_entropy(out, Y),
    "weighted, smoothed": lambda out: functional.cross_entropy(out, Y, torch.rand(3), label_smoothing=0.1),
    "nll": lambda out: functional.nll_loss(out.log_softmax(1), Y),
    "bce": lambda out: functional.binary_cross_entropy_with_logits(out, functional.one_hot(Y, 3).float()),
    "focal": focal,
    "learned temperature": lambda out: functional.cross_entropy(out * SCALE, Y),
    "costs": lambda out: (out.softmax(1) @ torch.rand(3, 3)).mean(),
    "costs on logits": lambda out: (out @ torch.rand(3, 3)).mean(),
    "margin": lambda out: functional.multi_margin_loss(out, Y),
    "distillation": lambda out: functional.kl_div(out.log_softmax(1), HEAD(X).softmax(1), reduction="batchmean"),
    "learned label noise": lambda out: -(out.softmax(1) @ MATRIX.softmax(1)).log().mean(),
    "learned noise, plain": lambda out: (out.softmax(1) @ MATRIX).square().mean(),
    "an auxiliary head": lambda out: functional.cross_entropy(out, Y) + functional.cross_entropy(HEAD(out), Y),
    "contrastive": lambda out: (out @ out.T).logsumexp(1).mean(),
    "against another encoder": lambda out: functional.cross_entropy(out @ HEAD(X).T, torch.arange(4)),
    "against looked up": lambda out: functional.cross_entropy(out @ functional.embedding(Y, MATRIX).T, Y),
    "not at all": lambda out: HEAD(X).sum(),
}

THROUGH: dict[str, Callable[[Tensor], Tensor]] = {
    "a linear head": lambda out: functional.cross_entropy(HEAD(out), Y),
    "a head after an activation": lambda out: functional.cross_entropy(HEAD(out.relu()), Y),
    "a matrix": lambda out: functional.cross_entropy(out @ MATRIX, Y),
    "cosines": lambda out: functional.cross_entropy(
        functional.linear(functional.normalize(out), normalised(HEAD.weight)) * 10, Y
    ),
    "a decoder": lambda out: functional.mse_loss(HEAD(out), X),
    "a convolution": lambda out: functional.conv1d(out[:, None], MATRIX[:, None, :]).square().mean(),
    "two heads": lambda out: functional.cross_entropy(HEAD(out) + out @ MATRIX, Y),
}


@pytest.mark.parametrize("loss", READ.values(), ids=READ)
def test_what_the_loss_reads_is_no_embedding(loss: Callable[[Tensor], Tensor]) -> None:
    out = BODY(X)
    assert weights_before_loss(loss(out).grad_fn, [(out.grad_fn, 0)]) is None


@pytest.mark.parametrize("loss", THROUGH.values(), ids=THROUGH)
def test_what_another_layer_turns_into_scores_is_found(loss: Callable[[Tensor], Tensor]) -> None:
    out = BODY(X)
    weight = weights_before_loss(loss(out).grad_fn, [(out.grad_fn, 0)])
    assert weight is HEAD.weight or weight is MATRIX


def test_a_frozen_head_and_a_loss_without_a_graph_say_nothing() -> None:
    out = BODY(X)
    with torch.no_grad():
        assert weights_before_loss(HEAD(out).sum().grad_fn, [(out.grad_fn, 0)]) is None
    assert weights_before_loss((out @ HEAD.weight.detach()).sum().grad_fn, [(out.grad_fn, 0)]) is None


def test_one_part_of_a_split_tensor_is_not_the_other() -> None:
    first, second = nn.Linear(3, 6)(X).split(3, dim=1)
    loss = functional.cross_entropy(HEAD(first), Y) + functional.cross_entropy(second, Y)
    assert weights_before_loss(loss.grad_fn, [(first.grad_fn, first.output_nr)]) is HEAD.weight
    assert weights_before_loss(loss.grad_fn, [(second.grad_fn, second.output_nr)]) is None


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
    assert evidence.weight() is None
    evidence.read(net.head(out).sum(), redirected=False)
    assert evidence.weight() is net.head.weight
    evidence.read(out.sum(), redirected=False)
    assert evidence.weight() is None
    evidence.detach()
    assert not net._forward_hooks and not net.body._forward_hooks


def test_a_part_that_returns_the_same_is_listened_to() -> None:
    net, evidence = Net(), LossEvidence(Question())
    evidence.attach(net, (X, Y))
    evidence.read(net.head(net.body(X)).sum(), redirected=False)
    assert evidence.weight() is net.head.weight
    evidence.detach()


def test_the_output_of_a_step_called_in_place_of_forward_is_none() -> None:
    net, evidence = Doubled(), LossEvidence(Question())
    evidence.attach(net, (X, Y))
    net(X)
    evidence.read(net.head(net(X)).sum(), redirected=True)
    assert evidence.weight() is None
    evidence.detach()
