"""Transformer layers that run fused: computed as without hooks, and seen all the same."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.neurons.seeing import heads_by_loops, seen


def encoder(**options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2).eval()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("grad", [True, False])
def test_a_fused_encoder_computes_as_without_us_and_is_seen_all_the_same(
    norm_first: bool, activation: str, grad: bool
) -> None:
    enc, x = encoder(norm_first=norm_first, activation=activation), torch.randn(4, 6, 8)
    padding = torch.arange(6)[None] >= torch.tensor([6, 3, 1, 4])[:, None]
    with torch.set_grad_enabled(grad):
        bare = enc(x, src_key_padding_mask=padding)
        outputs: list[Any] = []
        found = seen(enc, lambda: outputs.append(enc(x, src_key_padding_mask=padding)))
    assert torch.equal(outputs[0], bare)
    assert list(found) == [f"layers.{i}.{part}" for i in (0, 1) for part in ("self_attn", "linear1")]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in enc.modules())
    assert not torch.nn.modules.module._has_any_global_hook()
    first, y = enc.layers[0], x
    block = first.norm1(y) if norm_first else y
    np.testing.assert_allclose(
        found["layers.0.self_attn"].values.detach()[~padding],
        heads_by_loops(first.self_attn, block.detach(), padding)[~padding.numpy()],
        rtol=1e-3,
        atol=1e-5,
    )
    attended = first.self_attn(block, block, block, key_padding_mask=padding)[0]
    middle = first.norm2(y + attended) if norm_first else first.norm1(y + attended)
    hidden = found["layers.0.linear1"]
    torch.testing.assert_close(hidden.values[~padding], first.linear1(middle)[~padding], rtol=1e-4, atol=1e-5)
    assert torch.equal(hidden.valid, ~padding)


def test_an_exception_in_a_watched_encoder_leaves_no_hook() -> None:
    enc = encoder().train()
    with pytest.raises(AssertionError, match="embedding dimension"):
        seen(enc, lambda: enc(torch.randn(2, 3, 9)))
    assert not any(module._forward_hooks for module in enc.modules())
    assert not torch.nn.modules.module._has_any_global_hook()
