"""Where the loss reads what the explained forward returns: as scores, or through a layer that makes scores of it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.callbacks.class_scores.loss_graph import read_loss

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
    "a head beside a centre loss": lambda out: functional.cross_entropy(HEAD(out), Y) + (out - X).square().mean(),
    "a head beside a contrastive loss": lambda out: (
        functional.cross_entropy(HEAD(out), Y) + functional.cross_entropy(out @ out.T, torch.arange(4))
    ),
    "a head beside a penalty": lambda out: functional.cross_entropy(HEAD(out), Y) + out.norm(dim=1).mean(),
    "distances to proxies": lambda out: functional.cross_entropy(-torch.cdist(out, MATRIX), Y),
    "two heads": lambda out: functional.cross_entropy(HEAD(out) + out @ MATRIX, Y),
}


@pytest.mark.parametrize("loss", READ.values(), ids=READ)
def test_what_the_loss_reads_is_no_embedding(loss: Callable[[Tensor], Tensor]) -> None:
    out = BODY(X)
    assert read_loss(loss(out).grad_fn, [(out.grad_fn, 0)]).weight is None


@pytest.mark.parametrize("loss", THROUGH.values(), ids=THROUGH)
def test_what_another_layer_turns_into_scores_is_found(loss: Callable[[Tensor], Tensor]) -> None:
    out = BODY(X)
    weight = read_loss(loss(out).grad_fn, [(out.grad_fn, 0)]).weight
    assert weight is HEAD.weight or weight is MATRIX


def test_a_frozen_head_and_a_loss_without_a_graph_say_nothing() -> None:
    out = BODY(X)
    with torch.no_grad():
        assert read_loss(HEAD(out).sum().grad_fn, [(out.grad_fn, 0)]).weight is None
    assert read_loss((out @ HEAD.weight.detach()).sum().grad_fn, [(out.grad_fn, 0)]).weight is None


def test_one_part_of_a_split_tensor_is_not_the_other() -> None:
    first, second = nn.Linear(3, 6)(X).split(3, dim=1)
    loss = functional.cross_entropy(HEAD(first), Y) + functional.cross_entropy(second, Y)
    assert read_loss(loss.grad_fn, [(first.grad_fn, first.output_nr)]).weight is HEAD.weight
    assert read_loss(loss.grad_fn, [(second.grad_fn, second.output_nr)]).weight is None


COMPARED: dict[str, Callable[[Tensor], Tensor]] = {
    "triplets": lambda out: functional.triplet_margin_loss(out, out.roll(1, 0), out.roll(2, 0)),
    "cosines of pairs": lambda out: functional.cosine_embedding_loss(out, out.roll(1, 0), torch.ones(4)),
    "products of all pairs": lambda out: functional.cross_entropy(out @ out.T, torch.arange(4)),
    "distances of all pairs": lambda out: torch.cdist(out, out).relu().mean(),
    "another encoder": lambda out: functional.cross_entropy(out @ HEAD(X).T, torch.arange(4)),
    "with a penalty": lambda out: functional.triplet_margin_loss(out, out.roll(1, 0), X) + out.square().mean(),
}


@pytest.mark.parametrize("loss", COMPARED.values(), ids=COMPARED)
def test_losses_that_compare_samples_read_no_class_scores(loss: Callable[[Tensor], Tensor]) -> None:
    out = BODY(X)
    reading = read_loss(loss(out).grad_fn, [(out.grad_fn, 0)])
    assert reading.only_compares
    assert reading.weight is None


OF_PAIRS = ("contrastive", "against another encoder", "against looked up")

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "a distance to one-hot labels": lambda out: (out - functional.one_hot(Y, 3)).norm(dim=1).mean(),
    "normalised": lambda out: functional.cross_entropy(out / out.norm(dim=1, keepdim=True), Y),
    "weighted samples": lambda out: (functional.cross_entropy(out, Y, reduction="none") * HEAD(X)[:, 0]).mean(),
    "beside triplets": lambda out: functional.cross_entropy(out, Y) + functional.triplet_margin_loss(out, X, X),
    **{name: loss for name, loss in READ.items() if name not in OF_PAIRS},
    **THROUGH,
}


@pytest.mark.parametrize("loss", SCORES.values(), ids=SCORES)
def test_losses_of_scores_and_of_heads_do_not_only_compare(loss: Callable[[Tensor], Tensor]) -> None:
    out = BODY(X)
    assert not read_loss(loss(out).grad_fn, [(out.grad_fn, 0)]).only_compares


def test_losses_by_label_are_kept_for_each_tensor_that_they_read() -> None:
    first, second = BODY(X), BODY(X + 1)
    loss = functional.cross_entropy(first, Y) + functional.cross_entropy(first, Y.flip(0)) + (second @ MATRIX).mean()
    reading = read_loss(loss.grad_fn, [(first.grad_fn, 0), (second.grad_fn, 0)])
    assert {source: len(nodes) for source, nodes in reading.by_label.items()} == {(first.grad_fn, 0): 2}
