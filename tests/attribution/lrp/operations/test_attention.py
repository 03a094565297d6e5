"""Attention against its dense form, one product at a time, and torch's own attention layers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution import (
    LRP,
    ZeroRule,
    ZPlusRule,
)
from tests.attribution.lrp.operations.applied import RULES, Apply, close, conserves, drawn, weights


def softmax_taylor(scores: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """`R_i = x_i (R_i - s_i sum_j R_j)`, row by row."""
    out = torch.zeros_like(scores)
    for place in range(len(scores)):
        for i in range(scores.shape[1]):
            if weight[place, i] > 0:
                out[place, i] = scores[place, i] * (relevance[place, i] - weight[place, i] * relevance[place].sum())
    return out


def dense_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """AttnLRP for one head of one sample, one product at a time: [tokens, dimensions] each."""
    scores = q @ k.T / q.shape[1] ** 0.5 + mask
    weight = scores.softmax(1)
    out = weight @ v
    of_weight, of_v = torch.zeros_like(weight), torch.zeros_like(v)
    for t in range(len(q)):
        for s in range(len(k)):
            for d in range(v.shape[1]):
                message = weight[t, s] * v[s, d] / out[t, d] * relevance[t, d] / 2
                of_weight[t, s] += message
                of_v[s, d] += message
    of_scores = softmax_taylor(scores, weight, of_weight)
    of_q, of_k = torch.zeros_like(q), torch.zeros_like(k)
    for t in range(len(q)):
        for s in range(len(k)):
            if weight[t, s] > 0:
                for d in range(q.shape[1]):
                    message = q[t, d] * k[s, d] / q.shape[1] ** 0.5 / scores[t, s] * of_scores[t, s] / 2
                    of_q[t, d] += message
                    of_k[s, d] += message
    return of_q, of_k, of_v


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, mask)


def eager(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(-2, -1)) / q.shape[-1] ** 0.5 + mask
    return functional.dropout(functional.softmax(scores, dim=-1), 0.1, training=False) @ v


def by_einsum(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = torch.einsum("bhtd,bhsd->bhts", q * q.shape[-1] ** -0.5, k)
    return torch.einsum("bhts,bhsd->bhtd", (scores + mask).softmax(-1), v)


MASKS = {
    "none": torch.zeros(4, 4).double(),
    "causal": torch.zeros(4, 4).double().masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf),
    "bias": drawn(4, 4, seed=8),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("attention", [fused, eager, by_einsum])
def test_attention_equals_its_dense_form(attention, mask: str):
    q, k, v = (drawn(2, 2, 4, 3, seed=seed) for seed in (1, 2, 3))
    net = Apply(lambda a, b, c: attention(a, b, c, MASKS[mask]))
    out = attention(q, k, v, MASKS[mask])
    relevance = out * weights(out[0].numel()).reshape(out[0].shape)
    found = LRP(RULES, attention="attnlrp")(net, (q, k, v))
    for sample in range(2):
        for head in range(2):
            wanted = dense_attention(
                q[sample, head], k[sample, head], v[sample, head], MASKS[mask], relevance[sample, head]
            )
            for part, expected in zip(found.parts, wanted, strict=True):
                close(part[sample, head], expected)
    constant = LRP(RULES, attention="cp")(net, (q, k, v))
    weight = (q @ k.mT / 3**0.5 + MASKS[mask]).softmax(-1)
    close(constant.parts[2], v * (weight.mT @ (relevance / out)))
    assert not constant.parts[0].any()
    assert not constant.parts[1].any()


def two_softmaxes(w: Tensor) -> Tensor:
    return w - 0.3 * w.flip(1).pow(2)


KEPT: dict[str, Callable[[Tensor], Tensor]] = {
    "converted": lambda w: w.float().type_as(w),
    "without NaN": lambda w: w.nan_to_num(0.0),
    "clamped": lambda w: w.clamp(min=1e-3),
    "chosen": lambda w: torch.where(torch.eye(4, dtype=torch.bool), w, 0.0),
    "sharpened": lambda w: w.square() / w.square().sum(-1, keepdim=True),
    "joined": lambda w: torch.cat([w[:, :1], w[:, 1:]], 1),
    "stacked": lambda w: torch.stack([w, w * 0.5]).sum(0),
    "sparse": lambda w: torch.zeros_like(w).scatter(-1, w.topk(2).indices, w.topk(2).values),
    "difference of two": two_softmaxes,
    "strided": lambda w: w.contiguous().as_strided(w.shape, w.contiguous().stride()),
    "written into": lambda w: w.clone().div_(w.sum(-1, keepdim=True)).mul_(0.5),
    "triangular": lambda w: w.tril(),
}


@pytest.mark.parametrize("name", KEPT)
def test_weights_still_are_weights_after(name: str) -> None:
    """Constants by `cp`: nothing is lost in their softmax, and queries and keys get nothing."""
    q, k, v = (drawn(2, 2, 4, 3, seed=seed) for seed in (1, 2, 3))
    net = Apply(lambda a, b, c: KEPT[name]((a @ b.mT).softmax(-1)) @ c)
    found = LRP(RULES, attention="cp")(net, (q, k, v))
    assert found.softmax_share is None
    assert not found.parts[0].any()
    assert not found.parts[1].any()
    close(found.parts[2].flatten(1).sum(1), net(q, k, v))
    assert LRP(RULES, attention="attnlrp")(net, (q, k, v)).parts[0].any()


class Attending(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)
        self.head = nn.Linear(8, 1, bias=False)
        self.options: dict = {}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, **self.options)[0].mean(1))


PADDING = torch.tensor([[False] * 5, [False, False, False, True, True]])


@pytest.mark.parametrize(
    ("made", "called"),
    [
        ({"bias": False}, {}),
        ({"bias": False}, {"need_weights": False}),
        ({"bias": False}, {"key_padding_mask": PADDING}),
        ({"bias": False}, {"attn_mask": torch.ones(5, 5).triu(1).bool(), "is_causal": True, "need_weights": False}),
        ({"bias": False}, {"average_attn_weights": False}),
    ],
)
def test_attention_of_torch_conserves_with_any_masks(made, called):
    net = Attending(**made).double().eval()
    net.options = called
    conserves(net, drawn(2, 5, 8))
    values = [LRP(RULES)(net, drawn(2, 5, 8)).values]
    net.options = {**called, "need_weights": not called.get("need_weights", True)}
    values.append(LRP(RULES)(net, drawn(2, 5, 8)).values)
    close(*values)
    if "key_padding_mask" in called:
        # as keys they count for nothing, as queries (whose outputs the mean reads) they would
        assert not LRP(RULES, attention="cp")(net, drawn(2, 5, 8)).values[1, 3:].any()


def test_rules_by_name_reach_the_projections_of_an_attention():
    net, x = Attending().double(), drawn(2, 5, 8)
    plain = LRP({nn.Linear: ZeroRule()})(net, x).values
    for name in ("attention", "attention.out_proj", "head"):
        assert not torch.allclose(LRP({name: ZPlusRule(), nn.Linear: ZeroRule()})(net, x).values, plain)


def test_heads_add_up_to_what_their_attention_gave():
    net, x = Attending(bias=False).double().eval(), drawn(3, 5, 8)
    method = LRP(RULES)
    heads = method.head_relevance(net, x)
    assert {name: tuple(part.shape) for name, part in heads.items()} == {"attention": (3, 2, 5)}
    close(heads["attention"].sum((1, 2)), net(x)[:, 0].detach())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_of_torch_conserves(norm_first: bool, activation: str):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, activation=activation, norm_first=norm_first, batch_first=True, bias=False
    )
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    net = nn.Sequential(encoder, nn.Flatten(), nn.Linear(40, 1, bias=False)).double().eval()
    conserves(net, drawn(3, 5, 8))
