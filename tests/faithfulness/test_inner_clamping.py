"""Heads and recurrent units held at a value, against a loop over steps and attention written out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lightning_explain.faithfulness.clamping import Clamp
from lightning_explain.faithfulness.inner_clamping import can_clamp, held_inside, shares_a_pass, with_held_state
from lightning_explain.faithfulness.unit_ablation import ablated_effects
from lightning_explain.neurons import unit_layers
from tests.exemplars.followed_layers import followed_layers

VALUE = 0.7
ALL = slice(None)

LAYERS: dict[str, nn.RNNBase] = {
    "lstm": nn.LSTM(3, 4, batch_first=True),
    "two layers": nn.LSTM(3, 4, 2, batch_first=True),
    "projected": nn.LSTM(3, 5, proj_size=4, batch_first=True),
    "gru": nn.GRU(3, 4, 2, batch_first=True),
    "no bias": nn.GRU(3, 4, batch_first=True, bias=False),
    "rnn": nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
}


def held_step_by_step(layer: Any, x: Tensor, unit: int) -> tuple[Tensor, Tensor]:
    """Run a layer one step at a time, and overwrite the state between the steps."""

    def overwritten(state: Any) -> Any:
        hidden = (state[0] if isinstance(state, tuple) else state).clone()
        hidden[-1, :, unit] = VALUE
        return (hidden, state[1]) if isinstance(state, tuple) else hidden

    _, state = layer(x[:, :1])
    state = tuple(map(torch.zeros_like, state)) if isinstance(state, tuple) else torch.zeros_like(state)
    found: list[Tensor] = []
    for step in range(x.shape[1]):
        output, state = layer(x[:, step : step + 1], overwritten(state))
        found.append(output.clone())
        found[-1][..., unit] = VALUE
    state = overwritten(state)
    return torch.cat(found, 1), state[0] if isinstance(state, tuple) else state


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", list(LAYERS))
def test_a_held_state_equals_a_loop_over_steps(name: str) -> None:
    torch.manual_seed(0)
    layer, x = LAYERS[name], torch.randn(5, 6, 3)
    (found,) = unit_layers(nn.Sequential(layer), "0")
    with torch.no_grad():
        expected, hidden = held_step_by_step(layer, x, 2)
        with held_inside(found, "0", [Clamp(ALL, 2, VALUE)]) as clamp:
            sequence, state = layer(x)
        again, _ = layer(x)
    assert clamp.happened and can_clamp(found) and not shares_a_pass(found)
    torch.testing.assert_close(sequence, expected)
    torch.testing.assert_close(state[0] if isinstance(state, tuple) else state, hidden)
    assert not torch.allclose(again, expected)


def test_both_directions_have_units_of_their_own() -> None:
    torch.manual_seed(0)
    both, x = nn.GRU(3, 4, batch_first=True, bidirectional=True), torch.randn(5, 6, 3)
    one = nn.GRU(3, 4, batch_first=True)
    one.load_state_dict({name: getattr(both, f"{name}_reverse") for name, _ in one.named_parameters()})
    (found,) = unit_layers(nn.Sequential(both), "0")
    with torch.no_grad():
        expected, _ = held_step_by_step(one, x.flip(1), 1)
        with held_inside(found, "0", [Clamp(ALL, 5, VALUE)]):
            sequence, state = both(x)
        torch.testing.assert_close(sequence[..., 4:], expected.flip(1))
        torch.testing.assert_close(sequence[..., :4], both(x)[0][..., :4])
        assert bool((state[1, :, 1] == VALUE).all()) and not bool((state[0] == VALUE).any())


def test_packed_sequences() -> None:
    torch.manual_seed(0)
    layer, x = LAYERS["lstm"], torch.randn(3, 6, 3)
    (found,) = unit_layers(nn.Sequential(layer), "0")
    packed = pack_padded_sequence(x, torch.tensor([6, 4, 2]), batch_first=True)
    with torch.no_grad():
        with held_inside(found, "0", [Clamp(ALL, 0, VALUE)]):
            sequence, _ = pad_packed_sequence(layer(packed)[0], batch_first=True)
        expected, _ = held_step_by_step(layer, x[1:2, :4], 0)
    torch.testing.assert_close(sequence[1:2, :4], expected)


def test_parametrized_weights_and_the_random_stream_stay() -> None:
    layer = nn.LSTM(3, 4)
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    state = torch.get_rng_state()
    held = with_held_state(layer, 1, VALUE)
    assert torch.equal(torch.get_rng_state(), state)
    assert not bool(held.weight_hh_l0[:, 1].any())
    torch.testing.assert_close(held.weight_hh_l0[:, 0], layer.weight_hh_l0[:, 0])


class Own(nn.LSTM):
    """A recurrent layer that does something else."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        sequence, state = super().forward(*args, **kwargs)
        return 2 * sequence, state


def test_a_forward_of_its_own_is_not_taken_for_a_plain_layer() -> None:
    (layer,) = unit_layers(nn.Sequential(Own(3, 4)), "0")
    assert not can_clamp(layer)


@pytest.mark.parametrize("batch_first", [True, False])
def test_heads_of_an_attention_equal_attention_written_out(*, batch_first: bool) -> None:
    torch.manual_seed(0)
    own = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    (layer,) = unit_layers(nn.Sequential(own), "0")
    x, mean = torch.randn(3, 5, 8), torch.randn(4)
    x = x if batch_first else x.transpose(0, 1)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    with torch.no_grad(), held_inside(layer, "0", [Clamp(slice(0, 2), 1, mean)]) as clamp:
        found, _ = own(x, x, x, key_padding_mask=padding)
    assert clamp.happened and shares_a_pass(layer)
    tokens = x if batch_first else x.transpose(0, 1)
    query, key, value = (tokens @ own.in_proj_weight.T + own.in_proj_bias).unflatten(-1, (3, 2, 4)).unbind(2)
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / 2
    weights = scores.masked_fill(padding[:, None, None], -torch.inf).softmax(-1)
    heads = torch.einsum("bhqk,bkhd->bqhd", weights, value)
    heads[:2, :, 1] = mean
    expected = heads.flatten(2) @ own.out_proj.weight.T + own.out_proj.bias
    torch.testing.assert_close(found if batch_first else found.transpose(0, 1), expected, atol=1e-5, rtol=1e-5)


class Attention(nn.Module):
    """Heads that are passed to a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.qkv, self.proj = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        heads = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(heads.transpose(1, 2).flatten(2))


class Reader(nn.Module):
    """Something that reads sequences, and a classifier of the mean token."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(x)
        return self.head((found[0] if isinstance(found, tuple) else found).mean(1))


def bodies() -> dict[str, tuple[nn.Module, int, list[int], str | None]]:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
    return {
        "projection": (Attention(), 6, [0, 1], None),
        "encoder": (encoder, 6, [1, 0], "body.self_attn"),
        "lstm": (nn.LSTM(6, 5, batch_first=True), 5, [4, 0, 2], "body"),
    }


@pytest.mark.parametrize("name", ["projection", "encoder", "lstm"])
def test_ablation_of_units_that_work_inside(name: str) -> None:
    body, width, units, wanted = bodies()[name]
    net = Reader(body, width).eval()
    x, y = torch.randn(30, 4, 6), torch.arange(30) % 3
    layers = followed_layers(net, x, names=wanted) if wanted else followed_layers(net, x)
    layer = next(each for each in layers if each.view is not None and can_clamp(each))
    found = ablated_effects(net, x, y, layers, {layer.name: units})
    assert not found.not_measured
    effects = found.effects[layer.name]
    assert effects.units.tolist() == units
    # each unit by itself gives the same as all of them in one go
    for place, unit in enumerate(units):
        alone = ablated_effects(net, x, y, layers, {layer.name: [unit]}).effects[layer.name]
        torch.testing.assert_close(alone.probability[0], effects.probability[place])
    assert bool((effects.probability.abs() > 1e-6).any(1).all())
