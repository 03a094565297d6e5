"""Token ids explained at their embedding, and inputs that are carried along unexplained."""

import copy
from typing import Any

import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_explain import InputXGradient, IntegratedGradients, Saliency, SmoothGrad
from lightning_explain.attribution import AtEmbedding, Attribution
from lightning_explain.errors import ConfigurationError

IDS = torch.tensor([[1, 5, 2, 0], [7, 7, 3, 1], [2, 4, 6, 8]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]])


class Reader(nn.Module):
    """Token and position embeddings, a mask, attention: what a text classifier has."""

    def __init__(self, *, positions: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.places = nn.Embedding(9, 8), nn.Embedding(4, 8) if positions else None
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.tokens(ids)
        if self.places is not None:
            x = x + self.places(torch.arange(ids.shape[1]))
        mask = torch.ones_like(ids) if mask is None else mask
        x = self.encoder(x, src_key_padding_mask=mask == 0)
        return self.head((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def test_equals_captum_at_the_embedding_layer() -> None:
    net, target = Reader().eval(), torch.tensor([0, 2, 1])
    ours = AtEmbedding(IntegratedGradients(n_steps=20))(net, (IDS, MASK), target)
    # captum's layer method starts from the embedding of its baseline ids; ours from the zero vector unless told
    theirs = captum.attr.LayerIntegratedGradients(net, net.tokens).attribute(
        IDS, torch.full_like(IDS, 0), target=target, n_steps=20, additional_forward_args=(MASK,)
    )
    told = AtEmbedding(IntegratedGradients(n_steps=20), baseline_token=0)(net, (IDS, MASK), target)
    torch.testing.assert_close(told.parts[0], theirs.sum(-1), atol=1e-6, rtol=1e-4)
    assert not torch.allclose(ours.parts[0], told.parts[0])


def test_values_are_complete_and_shaped_like_the_ids() -> None:
    net = Reader().eval()
    result = AtEmbedding(IntegratedGradients(tolerance=0.01), baseline_token=4)(net, (IDS, MASK), 1)
    tokens, masks = result.parts
    assert tokens.shape == IDS.shape and masks.shape == MASK.shape and (masks == 0).all()
    with torch.no_grad():
        change = net(IDS, MASK)[:, 1] - net(torch.full_like(IDS, 4), MASK)[:, 1]
    assert result.convergence_delta is not None
    torch.testing.assert_close(tokens.sum(1) - change, result.convergence_delta, atol=1e-5, rtol=0)
    assert (result.convergence_delta.abs() <= 0.0101 * change.abs() + 1e-5).all()
    assert isinstance(result.baseline, tuple)
    assert torch.equal(result.baseline[0], torch.full_like(IDS, 4)) and torch.equal(result.baseline[1], MASK)


def test_a_masked_token_gets_nothing() -> None:
    """Sensitivity: what the model cannot see has no part in its answer."""
    tokens = AtEmbedding()(Reader(), (IDS, MASK), 1).parts[0]
    assert (tokens[MASK == 0] == 0).all() and (tokens[MASK == 1] != 0).all()


def test_equals_the_method_on_vectors_given_by_hand() -> None:
    net = Reader(positions=False).eval()

    def after(vectors: Tensor) -> Tensor:
        return net.head(net.encoder(vectors).mean(1))

    for method in (IntegratedGradients(n_steps=20), Saliency(), InputXGradient(), SmoothGrad(n_draws=3)):
        by_hand = method(after, net.tokens(IDS).detach(), 2)
        found = AtEmbedding(method)(net, IDS, 2)
        assert isinstance(found.values, Tensor) and isinstance(by_hand.values, Tensor)
        # attention goes another way with a mask that hides nothing
        torch.testing.assert_close(found.values, by_hand.values.sum(-1), atol=1e-5, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.permutations([0, 1, 2]), st.integers(1, 30))
def test_samples_do_not_depend_on_each_other(order: list[int], rows: int) -> None:
    net = Reader().eval()
    method = AtEmbedding(IntegratedGradients(chunk_size=rows))
    values = method(net, (IDS, MASK), 0).parts[0]
    torch.testing.assert_close(method(net, (IDS[order], MASK[order]), 0).parts[0], values[order], atol=1e-6, rtol=1e-4)


def test_the_embedding_is_found_or_asked_for() -> None:
    """Position embeddings read no input; two readers of the same ids cannot be told apart."""
    net = Reader()
    assert torch.equal(values(AtEmbedding(), net), values(AtEmbedding(layer="tokens"), net))
    twice = TwoTables()
    with pytest.raises(ConfigurationError, match="2 embeddings read an input as it was given: a, b. Say with layer="):
        AtEmbedding()(twice, IDS, 0)
    assert not torch.equal(values(AtEmbedding(layer="a"), twice), values(AtEmbedding(layer="b"), twice))
    with pytest.raises(ConfigurationError, match="layer='c' is not in the model; its embeddings are a, b"):
        AtEmbedding(layer="c")(twice, IDS, 0)
    with pytest.raises(ConfigurationError, match="layer='places' does not read an integer input"):
        AtEmbedding(layer="places")(net, IDS, 0)
    with pytest.raises(ConfigurationError, match="No embedding reads.*no nn.Embedding"):
        AtEmbedding()(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), IDS.float(), 0)
    with pytest.raises(ConfigurationError, match="needs an nn.Module"):
        AtEmbedding()(lambda ids: ids.float(), IDS, 0)
    with pytest.raises(ConfigurationError, match="baseline_token=1 with Saliency"):
        AtEmbedding(Saliency(), baseline_token=1)


class TwoTables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.head = nn.Embedding(9, 4), nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head((self.a(ids) * self.b(ids)).sum(1))


def values(method: AtEmbedding, net: nn.Module) -> Tensor:
    return method(net, IDS, 0).parts[0]


def test_everything_is_left_as_found() -> None:
    net = Reader().train()
    seen: list[Any] = []
    net.tokens.register_forward_hook(lambda *_: seen.append(1))
    before, hooks, random = copy.deepcopy(net.state_dict()), len(net.tokens._forward_hooks), torch.get_rng_state()
    with torch.inference_mode():
        AtEmbedding()(net, (IDS, MASK), 1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert len(net.tokens._forward_hooks) == hooks and net.tokens.training and net.tokens.weight.grad is None
    assert torch.equal(torch.get_rng_state(), random)


# -- parts without a gradient -----------------------------------------------------------------------------------


def gated(x: Tensor, which: Tensor) -> Tensor:
    return torch.tanh(x * which).sum(1)


@pytest.mark.parametrize("method", [IntegratedGradients(), IntegratedGradients(n_steps=7)])
@pytest.mark.parametrize("kind", [torch.long, torch.bool])
def test_integer_and_boolean_inputs_are_carried_along(method: IntegratedGradients, kind: torch.dtype) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    which = torch.tensor([[1, 0, 1]] * 4 + [[0, 1, 1]]).to(kind)
    result: Attribution = method(gated, (x, which))
    at_x, at_which = result.parts
    assert (at_which == 0).all() and at_which.is_floating_point()
    # a sample at a time, with what is carried along as a constant
    for i in range(5):
        alone = method(lambda v, fixed=which[i : i + 1]: gated(v, fixed), x[i : i + 1])
        torch.testing.assert_close(at_x[i : i + 1], alone.values, atol=1e-6, rtol=1e-5)
    assert (at_x[which.bool().logical_not()] == 0).all()


def test_a_baseline_may_leave_out_what_is_carried_along() -> None:
    x, which = torch.rand(2, 3), torch.ones(2, 3, dtype=torch.long)
    short = IntegratedGradients(torch.full((3,), 0.5))(gated, (x, which))
    full = IntegratedGradients((torch.full((3,), 0.5), torch.zeros(3)))(gated, (x, which))
    named = IntegratedGradients("mean")(gated, (x, which))
    assert torch.equal(short.parts[0], full.parts[0]) and not torch.equal(short.parts[0], named.parts[0])
    with pytest.raises(ConfigurationError, match="3 parts, but there are 2 inputs"):
        IntegratedGradients((x, x, x))(gated, (x, which))


def test_integers_alone_are_refused_with_the_cure() -> None:
    with pytest.raises(ConfigurationError, match=r"torch.int64, which has no gradient.*AtEmbedding"):
        IntegratedGradients()(Reader(), (IDS, MASK), 0)
