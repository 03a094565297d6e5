"""Units of recurrent layers, transformers and attention heads, against loops; and which layers are watched."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from lightning_explain.capture import Call, Recorder
from lightning_explain.isolation import isolated
from lightning_explain.neurons.activity import HEAD_SHARE, head_activity, unit_activity
from lightning_explain.neurons.functional import FunctionalUse, followed, functional_use
from lightning_explain.neurons.units import unit_layers, unobservable_attention, with_functional
from lightning_explain.neurons.views import Units


def seen(net: nn.Module, run: Any, layers: Any = None) -> dict[str, Units]:
    """What the views of the watched layers make of one run."""

    def reduce(output: Any, layer: Any, key: str) -> Any:
        return layer.view(output) if isinstance(output, Call) else Units(output)

    recorder = Recorder(unit_layers(net, layers), reduce=reduce)
    recorder.attach()
    try:
        recorder.start()
        run()
        return recorder.stop()
    finally:
        recorder.detach()


def heads_by_loops(mha: nn.MultiheadAttention, x: Tensor, padding: Tensor | None, mask: Tensor | None = None) -> Any:
    """Sizes of the heads' outputs [batch, tokens, heads], sample by sample and head by head, in numpy."""
    weight, bias = mha.in_proj_weight.detach().double().numpy(), mha.in_proj_bias.detach().double().numpy()
    n, length, width = x.shape
    size = width // mha.num_heads
    sizes = np.zeros((n, length, mha.num_heads))
    for b in range(n):
        projected = x[b].double().numpy() @ weight.T + bias
        q, k, v = np.split(projected, 3, axis=1)
        for h in range(mha.num_heads):
            part = slice(h * size, (h + 1) * size)
            scores = q[:, part] @ k[:, part].T / np.sqrt(size)
            if mask is not None:
                scores = np.where(mask.numpy(), -np.inf, scores)
            if padding is not None:
                scores[:, padding[b].numpy()] = -np.inf
            share = np.exp(scores - scores.max(1, keepdims=True))
            out = (share / share.sum(1, keepdims=True)) @ v[:, part]
            sizes[b, :, h] = np.sqrt((out**2).sum(1))
    return sizes


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


class HomeMade(nn.Module):
    """An attention as many write it: one layer for all three, one after the heads."""

    def __init__(self, name: str = "proj") -> None:
        super().__init__()
        self.num_heads, self.qkv = 3, nn.Linear(12, 36)
        self.add_module(name, nn.Linear(12, 12))
        self.last = name

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        gathered = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        self.gathered = gathered.detach()
        return self.get_submodule(self.last)(gathered)


class MyAttention(HomeMade):
    pass


def test_heads_of_a_home_made_attention_are_read_before_its_projection() -> None:
    net, x = nn.Sequential(MyAttention(), nn.ReLU()), torch.randn(2, 5, 12)
    found = seen(net, lambda: net(x))
    assert list(found) == ["0", "1"]
    parts = net[0].gathered.split(4, dim=-1)
    for h, part in enumerate(parts):
        torch.testing.assert_close(found["0"].values[..., h].detach(), part.pow(2).sum(-1).sqrt())
    assert unobservable_attention(net) == []
    assert unobservable_attention(nn.Sequential(MyAttention("gather"))) == ["0"]


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


def brute_force(values: Tensor, valid: Tensor, threshold: float, min_fraction: float) -> tuple[Any, ...]:
    n, _, units = values.shape
    active, mean, size, alive = np.zeros((n, units)), np.zeros((n, units)), np.zeros((n, units)), np.zeros(units)
    for b in range(n):
        for j in range(units):
            kept = [float(v) for v, ok in zip(values[b, :, j], valid[b], strict=True) if ok]
            above = sum(v > threshold for v in kept)
            active[b, j] = len(kept) > 0 and above > 0 and above >= min_fraction * len(kept) - 1e-9
            mean[b, j] = sum(kept) / max(1, len(kept))
            size[b, j] = sum(abs(v) for v in kept) / max(1, len(kept))
            alive[j] = max(alive[j], above > 0)
    return active, mean, alive, size


@pytest.mark.parametrize("min_fraction", [0.0, 0.25, 0.5, 1.0])
def test_padding_neither_counts_nor_is_counted(min_fraction: float) -> None:
    torch.manual_seed(2)
    values, valid = torch.randn(6, 5, 4), torch.arange(5)[None] < torch.tensor([5, 4, 3, 2, 1, 0])[:, None]
    spoiled = values.masked_fill(~valid[..., None], torch.nan)
    found = unit_activity(spoiled, unit_dim=-1, threshold=0.1, min_fraction=min_fraction, valid=valid)
    for tensor, expected in zip(found, brute_force(values, valid, 0.1, min_fraction), strict=True):
        np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-6)


def test_a_head_is_active_when_it_is_not_small_beside_the_others() -> None:
    norms = torch.tensor([[[1.0, 4.0, 0.0], [2.0, 4.0, 0.0]], [[0.0, 9.0, 0.0], [5.0, 5.0, 5.0]]])
    valid = torch.tensor([[True, True], [True, False]])
    found = head_activity(norms, valid)
    assert found.activation.tolist() == [[1.5, 4, 0], [0, 9, 0]]
    # the means over heads are 11/6 and 3
    assert found.active.tolist() == [[1, 1, 0], [0, 1, 0]] and HEAD_SHARE == 0.5
    assert found.alive.tolist() == [1, 1, 0] and found.magnitude is None
    assert head_activity(norms).alive.tolist() == [1, 1, 1]


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


class Mixed(nn.Module):
    """Functions and modules, a sum before a function, and a layer that nothing follows."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.c = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu_(self.norm(self.a(x)))
        h = self.tanh(self.b(h)) + h
        return self.c(functional.leaky_relu(h, 0.2))


def used(net: nn.Module, *inputs: Tensor) -> FunctionalUse:
    with isolated(net):
        return functional_use(net, followed(net, net, inputs))


def test_functions_are_found_with_what_feeds_them_or_named() -> None:
    net = Mixed()
    use = used(net, torch.randn(5, 4))
    assert list(use.fed) == ["norm"] and use.unseen == ["leaky_relu in the model's own forward"]
    given = torch.randn(3, 6)
    before = given.clone()
    assert torch.equal(use.fed["norm"][0](given), given.clamp_min(0)) and torch.equal(given, before)
    chosen = with_functional(net, unit_layers(net), use)
    assert [layer.name for layer in chosen] == ["norm", "tanh"]


def test_without_any_activation_module_what_feeds_functions_takes_the_place_of_the_guess() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.out = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(functional.gelu(self.norm(self.conv(x)), approximate="tanh").flatten(1))

    net = Plain()
    assert [layer.name for layer in unit_layers(net)] == ["conv", "norm"]
    use, x = used(net, torch.randn(2, 1, 4, 4)), torch.randn(4)
    (layer,) = with_functional(net, unit_layers(net), use)
    assert layer.name == "norm" and layer.fed
    assert torch.equal(use.fed["norm"][0](x), functional.gelu(x, approximate="tanh"))


def test_layers_named_by_the_user_are_counted_as_they_are() -> None:
    net = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 12))
    assert [layer.then for layer in unit_layers(net, "*.linear1")] == [None]
    assert all(layer.then is not None for layer in unit_layers(net) if layer.name.endswith("linear1"))
