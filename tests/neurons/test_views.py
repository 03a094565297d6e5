"""Units of recurrent layers and attention heads, against loops."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.neurons.seeing import heads_by_loops, seen


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_heads_of_multihead_attention_are_those_of_loops(batch_first: bool, padded: bool, training: bool) -> None:
    torch.manual_seed(0)
    mha, x = nn.MultiheadAttention(12, 3, batch_first=batch_first, dropout=0.5), torch.randn(4, 5, 12)
    nn.init.normal_(mha.in_proj_bias)
    padding = torch.arange(5)[None] >= torch.tensor([5, 3, 1, 4])[:, None] if padded else None
    given = x if batch_first else x.transpose(0, 1)
    net = nn.Sequential(mha).train(training)
    (units,) = seen(net, lambda: mha(given, given, given, key_padding_mask=padding)).values()
    assert units.heads
    np.testing.assert_allclose(units.values.detach(), heads_by_loops(mha, x, padding), rtol=1e-4, atol=1e-6)
    assert (units.valid is None) if padding is None else torch.equal(units.valid, ~padding)


def test_heads_with_a_mask_over_positions_and_other_keys() -> None:
    mha, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 4, 8)
    causal = torch.ones(4, 4).triu(1).bool()
    (units,) = seen(nn.Sequential(mha), lambda: mha(x, x, x, attn_mask=causal)).values()
    np.testing.assert_allclose(units.values.detach(), heads_by_loops(mha, x, None, causal), rtol=1e-4, atol=1e-6)
    other = nn.MultiheadAttention(8, 2, kdim=6, vdim=5, batch_first=True)
    key_padding = torch.zeros(2, 3).bool()
    run = lambda: other(x, torch.randn(2, 3, 6), torch.randn(2, 3, 5), key_padding_mask=key_padding)  # noqa: E731
    (units,) = seen(nn.Sequential(other), run).values()
    # keys' padding says nothing about the queries
    assert units.values.shape == (2, 4, 2) and units.valid is None


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_hidden_units_of_packed_and_plain_sequences(kind: Any, bidirectional: bool, batch_first: bool) -> None:
    torch.manual_seed(1)
    rnn, x, lengths = kind(3, 4, batch_first=batch_first, bidirectional=bidirectional), torch.randn(3, 6, 3), [2, 6, 4]
    given = x if batch_first else x.transpose(0, 1)
    (plain,) = seen(nn.Sequential(rnn), lambda: rnn(given)).values()
    packed = pack_padded_sequence(given, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=False)
    (units,) = seen(nn.Sequential(rnn), lambda: rnn(packed)).values()
    for b, length in enumerate(lengths):
        alone = rnn(x[b : b + 1] if batch_first else x[b][:, None])[0].reshape(6, -1)
        torch.testing.assert_close(plain.values[b], alone)
        short = x[b, :length]
        alone = rnn(short[None] if batch_first else short[:, None])[0].reshape(length, -1)
        torch.testing.assert_close(units.values[b, :length], alone)
        assert units.valid[b].tolist() == [True] * length + [False] * (6 - length)
    assert plain.valid is None
