"""What softmaxes lose is stated for itself, by sample: relevance, offsets and losses add up to the output."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution import LRP, Attribution
from lightning_explain.attribution.lrp.softmax_losses import lost_by_log_softmax, lost_by_logsumexp, lost_by_softmax
from tests.attribution.lrp.operations.applied import RULES, Apply, close, drawn

HIDING = torch.zeros(5, 5).double().masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
BIAS = drawn(5, 5, seed=9)


def eager(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | float = 0.0) -> Tensor:
    return (q @ k.mT / 2 + mask).softmax(-1) @ v


def merged(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    one, two, three = (part.transpose(0, 1).reshape(-1, 5, 4) for part in (q, k, v))
    return eager(one, two, three).view(2, -1, 5, 4).transpose(0, 1)


def shuffled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Put samples and heads into an order that nothing but a second walk back finds out."""
    order = torch.arange(len(q) * 2).flip(0)
    return eager(*(part.reshape(-1, 5, 4)[order] for part in (q, k, v)))[order].view(-1, 2, 5, 4)


def grouped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k[:, :1], v[:, :1], BIAS, enable_gqa=True)


def grouped_eagerly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return eager(q, k[:, :1], v[:, :1], BIAS)


fused = functional.scaled_dot_product_attention


class Attention(nn.Module):
    """Projections, an attention, and a head, without offsets."""

    def __init__(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor], *, latent: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.qkv, self.head, self.attend = nn.Linear(8, 24, bias=False), nn.Linear(8, 3, bias=False), attend
        self.latent = drawn(1, 2, 5, 4, seed=3) if latent else None

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        q = q if self.latent is None else self.latent.expand_as(q)
        return self.head(self.attend(q, k, v).transpose(1, 2).flatten(2).relu()).mean(1)


def explained(attend: Callable[[Tensor, Tensor, Tensor], Tensor], **options: bool) -> Attribution:
    return LRP(RULES)(Attention(attend, **options).double(), drawn(3, 5, 8, seed=2), 1)


SAME = {
    "fused": (fused, eager),
    "causal": (lambda q, k, v: fused(q, k, v, is_causal=True), lambda q, k, v: eager(q, k, v, HIDING)),
    "hiding mask": (lambda q, k, v: fused(q, k, v, HIDING), lambda q, k, v: eager(q, k, v, HIDING)),
    "boolean mask": (lambda q, k, v: fused(q, k, v, HIDING == 0), lambda q, k, v: eager(q, k, v, HIDING)),
    "bias": (lambda q, k, v: fused(q, k, v, BIAS), lambda q, k, v: eager(q, k, v, BIAS)),
    "bias and causal": (
        lambda q, k, v: fused(q, k, v, BIAS + HIDING),
        lambda q, k, v: eager(q, k, v, BIAS + HIDING),
    ),
    "scale": (lambda q, k, v: fused(q, k, v, scale=0.3), lambda q, k, v: eager(q * 0.6, k, v)),
    "scale and bias": (lambda q, k, v: fused(q, k, v, BIAS, scale=0.3), lambda q, k, v: eager(q * 0.6, k, v, BIAS)),
    "grouped": (grouped, grouped_eagerly),
    "heads before samples": (merged, eager),
    "in any order": (shuffled, eager),
}


@pytest.mark.parametrize("name", SAME)
def test_losses_are_those_of_the_attention_in_plain_steps(name: str) -> None:
    found, wanted = map(explained, SAME[name])
    assert found.softmax_share is not None
    assert found.absorbed_share is not None
    close(found.softmax_share, wanted.softmax_share)
    close(found.absorbed_share, wanted.absorbed_share)
    assert found.softmax_share.abs().min() > 0.01


@pytest.mark.parametrize("latent", [False, True])
@pytest.mark.parametrize("attend", [fused, eager, merged, shuffled])
def test_without_offsets_all_that_is_missing_was_lost_by_softmaxes(attend, latent: bool) -> None:
    net, x = Attention(attend, latent=latent).double(), drawn(3, 5, 8, seed=2)
    found = LRP(RULES)(net, x, 1)
    assert found.softmax_share is not None
    assert found.softmax_share.abs().min() > 0.01
    close(found.absorbed_share, torch.zeros(3).double())
    close(found.values.sum((1, 2)) / net(x)[:, 1].detach() + found.softmax_share, torch.ones(3).double())
    # by sample: each loses what it loses alone
    close(found.softmax_share, torch.cat([LRP(RULES)(net, one, 1).softmax_share for one in x.split(1)]))


def test_offsets_take_nothing_of_what_softmaxes_lose() -> None:
    """A bias of the head absorbs its part of the output, whatever softmaxes do before it."""
    net, x = Attention(eager).double(), drawn(3, 5, 8, seed=2)
    bare, score = LRP(RULES)(net, x, 1), net(x)[:, 1].detach()
    net.head.bias = nn.Parameter(torch.tensor([0.0, 0.75, 0.0]).double())
    found = LRP(RULES)(net, x, 1)
    close(found.absorbed_share, 0.75 / (score + 0.75))
    close(found.softmax_share, bare.softmax_share * score / (score + 0.75))


def test_where_nothing_passes_a_softmax_there_is_no_share() -> None:
    assert LRP(RULES, attention="cp")(Attention(fused).double(), drawn(3, 5, 8), 1).softmax_share is None
    assert LRP()(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(2, 3), 1).softmax_share is None


def missing(before: Tensor, after: Tensor, gradient: Tensor, leaf: Tensor) -> Tensor:
    """Return relevance that arrived at `after` without that which left at `before`, for each row."""
    (back,) = torch.autograd.grad(after, leaf, gradient)
    return (after * gradient).flatten(1).sum(1).detach() - (before * back).flatten(1).sum(1).detach()


def test_formulas_are_what_goes_in_without_what_comes_out() -> None:
    leaf = (3 * drawn(4, 6)).requires_grad_()
    weights, logarithms, sums = leaf.softmax(1), leaf.log_softmax(1), leaf.logsumexp(1, keepdim=True)
    gradient = drawn(4, 6, seed=1)
    close(lost_by_softmax(weights.detach(), gradient, 1)[:, 0], missing(leaf, weights, gradient, leaf))
    close(lost_by_log_softmax(logarithms.detach(), gradient, 1)[:, 0], missing(leaf, logarithms, gradient, leaf))
    entropy = -(weights * logarithms).sum(1, keepdim=True).detach()
    close(lost_by_logsumexp(entropy, gradient[:, :1])[:, 0], missing(leaf, sums, gradient[:, :1], leaf))


@pytest.mark.parametrize(
    "end",
    [
        lambda z: z.softmax(-1),
        lambda z: functional.log_softmax(z, dim=1),
        lambda z: z.logsumexp(1, keepdim=True),
        lambda z: z.unflatten(1, (2, 2)).logsumexp((-1, -2))[:, None],
        lambda z: functional.softmin(z, dim=1),
    ],
)
def test_heads_that_are_softmaxes_state_their_loss(end: Callable[[Tensor], Tensor]) -> None:
    found = LRP(RULES)(nn.Sequential(nn.Linear(6, 4, bias=False).double(), Apply(end)), drawn(3, 6))
    assert found.softmax_share is not None
    close(found.absorbed_share, torch.zeros(3).double())
    assert found.softmax_share.abs().min() > 0.01
