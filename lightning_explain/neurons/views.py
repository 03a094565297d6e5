"""Unit views for modules whose output alone does not show their units.

A unit is a neuron, a channel, a feature of a sequence, or an attention head.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from lightning_explain.capture import Call, first_activations


class Units(NamedTuple):
    """Values of a layer's units.

    Attributes:
        values: [batch, positions..., units], or [batch, units]; for heads the size of each head's output.
        valid: Boolean [batch, positions]: False for padding; None where there is none.
        heads: Whether the units are attention heads.
        unit_dim: Where `values` counts units: -1, or 1 for [batch, units, positions...].
    """

    values: Tensor
    valid: Tensor | None = None
    heads: bool = False
    unit_dim: int = -1


def _valid(padding: Any) -> Tensor | None:
    """Invert a key padding mask (True, or -inf, for padding)."""
    if not isinstance(padding, Tensor) or padding.ndim != 2:
        return None
    return ~padding if padding.dtype == torch.bool else padding == 0


@dataclass(frozen=True)
class TokenFeatures:
    """The features of a linear layer or an activation inside a transformer layer.

    Attributes:
        batch_first: Whether sequences are [batch, tokens, features].
    """

    batch_first: bool

    def __call__(self, call: Call) -> Units | None:
        """Return the features of each token, padding marked."""
        values = first_activations(call.output)
        if values is None or values.ndim != 3:
            return None
        return Units(values if self.batch_first else values.transpose(0, 1), _valid(call.padding))


@dataclass(frozen=True)
class HiddenUnits:
    """The hidden units of an LSTM, GRU or RNN at every step; both directions of a bidirectional one.

    Attributes:
        batch_first: Whether sequences are [batch, steps, features]; packed ones say themselves what they are.
    """

    batch_first: bool

    def __call__(self, call: Call) -> Units | None:
        """Return the hidden states of each step, padding marked; None for an unbatched sequence."""
        sequence = call.output[0] if isinstance(call.output, tuple) else call.output
        if isinstance(sequence, PackedSequence):
            values, lengths = pad_packed_sequence(sequence, batch_first=True)
            steps = torch.arange(values.shape[1])
            return Units(values, (steps[None] < lengths[:, None]).to(values.device))
        if not isinstance(sequence, Tensor) or sequence.ndim != 3:
            return None
        return Units(sequence if self.batch_first else sequence.transpose(0, 1))


@dataclass(frozen=True)
class AttentionHeads:
    """The heads of `nn.MultiheadAttention`: the norm of each head's weighted sum of values, before the projection.

    The module hands its heads to a function and not to its `out_proj`, so that they are recomputed from its
    inputs by that same function, with the identity as projection and without attention dropout.

    Cost: a forward pass of the attention.
    """

    module: nn.MultiheadAttention

    def __call__(self, call: Call) -> Units | None:
        """Return the norm of each head's output, by token."""
        found = self.vectors(call)
        return None if found is None else Units(found[0].norm(dim=-1), found[1], heads=True)

    def vectors(self, call: Call) -> tuple[Tensor, Tensor | None] | None:
        """Return the output of each head [batch, tokens, heads, features], and which tokens are valid."""
        names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
        given = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        query, key, value = given["query"], given["key"], given["value"]
        if query.is_nested or query.ndim != 3:
            return None
        padding, mask = given.get("key_padding_mask"), given.get("attn_mask")
        gathered = self._heads(query, key, value, padding=padding, mask=mask)
        heads = gathered.transpose(0, 1).unflatten(-1, (self.module.num_heads, -1))
        return heads, _valid(padding) if query is key else None

    def _heads(self, query: Tensor, key: Tensor, value: Tensor, *, padding: Any, mask: Any) -> Tensor:
        own = self.module
        if own.batch_first:
            query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        weight: Any = own.in_proj_weight
        separate = weight is None
        found, _ = functional.multi_head_attention_forward(
            query, key, value, own.embed_dim, own.num_heads, weight, own.in_proj_bias,
            own.bias_k, own.bias_v, own.add_zero_attn, 0.0,
            torch.eye(own.embed_dim, device=query.device, dtype=query.dtype), None,
            training=False, key_padding_mask=padding, need_weights=False, attn_mask=mask,
            use_separate_proj_weight=separate,
            q_proj_weight=own.q_proj_weight if separate else None,
            k_proj_weight=own.k_proj_weight if separate else None,
            v_proj_weight=own.v_proj_weight if separate else None,
        )  # fmt: skip
        return found


@dataclass(frozen=True)
class HeadsBeforeProjection:
    """The heads of an attention module that passes them, concatenated, to a linear layer: the input of that layer.

    Attributes:
        n_heads: Heads.
    """

    n_heads: int

    def __call__(self, call: Call) -> Units | None:
        """Return the norm of each head's output, by token."""
        found = self.vectors(call)
        return None if found is None else Units(found[0].norm(dim=-1), heads=True)

    def vectors(self, call: Call) -> tuple[Tensor, Tensor | None] | None:
        """Return the output of each head [batch, tokens, heads, features]; of padding nothing is known."""
        gathered = call.args[0] if call.args else None
        if not isinstance(gathered, Tensor) or gathered.is_nested or gathered.ndim != 3:
            return None
        return gathered.unflatten(-1, (self.n_heads, -1)), None
