"""Relevance of units: activation times the gradient of the score of each sample's class, taken sample by sample."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars.peaks import positions_at
from lightning_explain.exemplars.unit_relevance import unit_relevance
from lightning_explain.neurons import unit_layers
from tests.exemplars.followed_layers import followed_layers


def rectifiers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5, bias=False), nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    )  # fmt: skip


def test_equal_to_the_gradient_of_each_sample_alone_and_adds_up_to_the_score() -> None:
    net, x, labels = rectifiers(), torch.randn(6, 1, 4, 5), torch.tensor([0, 1, 2, 2, 1, 0])
    found = unit_relevance(net, [x], labels, followed_layers(net, x))
    assert {key: shape for key, (_, shape) in found.items()} == {"1": (3, 4), "4": ()}
    scores = net(x).detach()
    for row, label in enumerate(labels.tolist()):
        maps = net[:2](x[row : row + 1]).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(net[2:](maps)[0, label], maps)
        parts = (maps * gradient)[0].detach()
        peaks, shape = found["1"]
        torch.testing.assert_close(peaks.values[row], parts.sum((1, 2)))
        for unit, place in enumerate(positions_at(peaks.places, 2)[row].tolist()):
            assert place == [int(part) for part in torch.unravel_index(parts[unit].argmax(), shape)]
        for peaks, _ in found.values():
            torch.testing.assert_close(peaks.values[row].sum(), scores[row, label])


def test_samples_without_a_class_are_taken_by_their_largest_score() -> None:
    net, x = rectifiers(), torch.randn(5, 1, 4, 5)
    largest = net(x).argmax(1)
    wanted = unit_relevance(net, [x], largest, followed_layers(net, x))["4"][0].values
    for labels in (None, torch.full((5,), -1)):
        assert torch.equal(unit_relevance(net, [x], labels, followed_layers(net, x))["4"][0].values, wanted)
    with pytest.raises(ConfigurationError, match="class index 3, but the model's output has 3 columns"):
        unit_relevance(net, [x], torch.full((5,), 3), followed_layers(net, x))
    # class 0 is a class
    zero = unit_relevance(net, [x], torch.zeros(5, dtype=torch.long), followed_layers(net, x))["4"][0].values
    torch.testing.assert_close(zero.sum(1), net(x)[:, 0].detach())


class Beside(nn.Module):
    """One layer leads to the score, another does not; a single output."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.beside, self.out = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Tanh(), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.beside(x)
        return self.out(self.used(x))[:, 0]


def test_layers_beside_the_way_are_left_out() -> None:
    net, x = Beside(), torch.randn(4, 3)
    assert [layer.name for layer in followed_layers(net, x)] == ["used.1", "beside"]
    with torch.no_grad():
        found = unit_relevance(net, [x], torch.zeros(4, dtype=torch.long), followed_layers(net, x))
        assert list(found) == ["used.1"]
        torch.testing.assert_close(found["used.1"][0].values, net.used(x) * net.out.weight[0])
    assert x.grad is None and not x.requires_grad and net.out.weight.grad is None


class Reader(nn.Module):
    """A body that gives sequences or states, and a classifier that reads some of them."""

    def __init__(self, body: nn.Module, width: int, read: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.read = body, nn.Linear(width, 3), read

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.body(x)))


READS: dict[str, Callable[[Any], Tensor]] = {
    "mean of the sequence": lambda found: found[0].mean(1),
    "last state": lambda found: found[1][0][-1] if isinstance(found[1], tuple) else found[1][-1],
    "both": lambda found: found[0][:, 1] + found[1][0][-1],
}


@pytest.mark.parametrize("read", list(READS))
def test_units_of_recurrent_layers_by_what_is_read_of_them(read: str) -> None:
    torch.manual_seed(0)
    net = Reader(nn.LSTM(3, 4, 2, batch_first=True), 4, READS[read])
    x, labels = torch.randn(5, 6, 3), torch.tensor([0, 1, 2, 0, 1])
    ((peaks, shape),) = unit_relevance(net, [x], labels, followed_layers(net, x)).values()
    sequence = net.body(x)[0].detach().requires_grad_()
    # with a step and the last state as the reader takes them from one tensor
    last = sequence[:, -1][None]
    score = net.head(net.read((sequence, (last, None))))[range(5), labels].sum()
    (gradient,) = torch.autograd.grad(score, sequence)
    parts = (sequence * gradient).detach()
    torch.testing.assert_close(peaks.values, parts.sum(1))
    assert shape == (6,) and torch.equal(peaks.places, parts.argmax(1))


def test_states_of_both_directions_and_packed_sequences() -> None:
    torch.manual_seed(0)

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            _, hidden = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            return self.head(hidden.transpose(0, 1).flatten(1))

    net, x, lengths = Packed(), torch.randn(3, 5, 3), torch.tensor([2, 5, 4])
    (layer,) = unit_layers(net, "rnn")
    ((peaks, _),) = unit_relevance(net, [x, lengths], torch.tensor([2, 0, 1]), [layer]).values()
    with torch.no_grad():
        for row, label in enumerate([2, 0, 1]):
            sequence, _ = net.rnn(x[row : row + 1, : lengths[row]])
            states = torch.cat([sequence[0, -1, :4], sequence[0, 0, 4:]])
            torch.testing.assert_close(peaks.values[row], states * net.head.weight[label])


@pytest.mark.parametrize("batch_first", [True, False])
def test_heads_by_what_they_pass_to_the_projection(*, batch_first: bool) -> None:
    torch.manual_seed(0)
    own = nn.MultiheadAttention(8, 2, batch_first=batch_first, dropout=0.5).eval()
    net = Reader(own, 8, lambda found: found.tanh().sum(0 if not batch_first else 1)).eval()

    def run(x: Tensor) -> Tensor:
        tokens = x if batch_first else x.transpose(0, 1)
        return net.head(net.read(own(tokens, tokens, tokens)[0]))

    x, labels = torch.randn(4, 5, 8), torch.tensor([0, 1, 2, 0])
    (layer,) = unit_layers(net, "body")
    ((peaks, shape),) = unit_relevance(run, [x], labels, [layer]).values()
    query, key, value = (x @ own.in_proj_weight.T + own.in_proj_bias).unflatten(-1, (3, 2, 4)).unbind(2)
    weights = (torch.einsum("bqhd,bkhd->bhqk", query, key) / 2).softmax(-1)
    heads = torch.einsum("bhqk,bkhd->bqhd", weights, value).detach().requires_grad_()
    output = own.out_proj(heads.flatten(2)).tanh().sum(1)
    (gradient,) = torch.autograd.grad(net.head(output)[range(4), labels].sum(), heads)
    parts = (heads * gradient).sum(-1).detach()
    torch.testing.assert_close(peaks.values, parts.sum(1), atol=1e-5, rtol=1e-4)
    assert shape == (5,) and torch.equal(peaks.places, parts.argmax(1))


def test_every_layer_of_a_transformer_has_a_relevance_and_padding_none() -> None:
    torch.manual_seed(0)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.encoder(x, src_key_padding_mask=x.abs().sum(2) == 0).sum(1))

    net, x = Tokens().eval(), torch.randn(4, 5, 8)
    x[1::2, 3:] = 0
    layers = followed_layers(net, x)
    found = unit_relevance(net, [x], torch.tensor([0, 1, 2, 0]), layers)
    assert set(found) == {layer.name for layer in layers} and len(found) == 4
    for peaks, shape in found.values():
        assert shape == (5,) and bool(peaks.values.isfinite().all())
        assert int(peaks.places[1::2].max()) < 3
    # of the feed-forward units: by a hook on the layer, rectifier applied
    kept: list[Tensor] = []
    handle = net.encoder.layers[1].linear1.register_forward_hook(lambda _m, _i, out: kept.append(out))
    score = net(x.clone().requires_grad_())[range(4), [0, 1, 2, 0]].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    valid = (x.abs().sum(2) != 0)[:, :, None]
    expected = (kept[0].relu() * gradient * valid).sum(1).detach()
    torch.testing.assert_close(found["encoder.layers.1.linear1"][0].values, expected, atol=1e-5, rtol=1e-4)
