"""Axes followed through real forward passes: where samples, units, tokens and positions are, whatever the sizes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lightning_explain.isolation import isolated
from lightning_explain.neurons.functional import followed, functional_use
from lightning_explain.neurons.units import described, unit_layers

Forward = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Layers of which each has equal widths, so that no size tells anything; `act` is what is watched."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.conv, self.other, self.thick = nn.Conv2d(1, 6, 1), nn.Conv2d(1, 6, 1), nn.Conv3d(1, 6, 1)
        self.line, self.up = nn.Conv1d(6, 6, 1), nn.ConvTranspose1d(6, 6, 1)
        self.linear, self.norm, self.batch = nn.Linear(6, 6), nn.LayerNorm(6), nn.BatchNorm2d(6)
        self.series, self.rows = nn.LSTM(6, 6), nn.GRU(6, 3, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(6, 2)
        self.words = nn.Embedding(9, 6)
        self.weight = nn.Parameter(torch.ones(6, 6))
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (2, 3)).transpose(1, 2)


IMAGE, SERIES, VOLUME, IDS = (6, 1, 6, 6), (6, 6, 6), (6, 1, 6, 6, 6), "ids"


LAST, FIRST = ("b", "p", "u"), ("b", "u", "p")


# what the activation is given -> the shape of the input, and what lies along each dimension of what it gives
LAYOUTS: dict[str, tuple[Forward, Any, tuple[str, ...]]] = {
    "convolution": (lambda n, x: n.act(n.conv(x)), IMAGE, ("b", "u", "p", "p")),
    "3-d convolution": (lambda n, x: n.act(n.thick(x)), VOLUME, ("b", "u", "p", "p", "p")),
    "transposed convolution": (lambda n, x: n.act(n.up(x)), SERIES, FIRST),
    "two branches": (lambda n, x: n.act(torch.cat([n.conv(x), n.other(x)], 1)), IMAGE, ("b", "u", "p", "p")),
    "channels last": (lambda n, x: n.act(n.linear(n.conv(x).permute(0, 2, 3, 1))), IMAGE, ("b", "p", "p", "u")),
    "and back": (lambda n, x: n.act(n.linear(n.conv(x).movedim(1, -1)).movedim(-1, 1)), IMAGE, ("b", "u", "p", "p")),
    "pooled and padded": (
        lambda n, x: n.act(functional.pad(functional.max_pool2d(n.conv(x), 2), (1, 2))), IMAGE, ("b", "u", "p", "p"),
    ),
    "batch norm alone": (lambda n, x: n.act(n.batch(x.expand(-1, 6, -1, -1))), IMAGE, ("b", "u", "p", "p")),
    "layer norm alone": (lambda n, x: n.act(n.norm(x)), SERIES, LAST),
    "tokens": (lambda n, x: n.act(n.linear(x)), SERIES, LAST),
    "token mixing": (lambda n, x: n.act(n.linear(n.linear(x).transpose(1, 2))), SERIES, LAST),
    "mixing as a residual": (
        lambda n, x: n.act(n.norm(n.linear(x) + n.linear(n.linear(x).mT).mT)), SERIES, LAST,
    ),
    "time first": (lambda n, x: n.act(n.series(x.transpose(0, 1))[0]), SERIES, ("p", "b", "u")),
    "last state": (lambda n, x: n.act(n.rows(x)[1][-1]), SERIES, ("b", "u")),
    "attention, time first": (
        lambda n, x: n.act(n.attention(*[x.transpose(0, 1)] * 3)[0]), SERIES, ("p", "b", "u"),
    ),
    "folded": (lambda n, x: n.act(n.linear(x).reshape(-1, 6)), SERIES, ("bp", "u")),
    "folded time first": (lambda n, x: n.act(n.linear(x).transpose(0, 1).flatten(0, 1)), SERIES, ("pb", "u")),
    "flat maps": (lambda n, x: n.act(n.conv(x).flatten(1)), IMAGE, ("b", "upp")),
    "heads": (lambda n, x: n.act(heads(n.linear(x))), SERIES, ("b", "u", "p", "u")),
    "attention by hand": (
        lambda n, x: n.act((heads(n.linear(x)) @ heads(x).mT).softmax(-1) @ heads(n.linear(x))),
        SERIES, ("b", "u", "p", "u"),
    ),
    "windows": (
        lambda n, x: n.act(n.conv(x).movedim(1, -1).view(6, 2, 3, 2, 3, 6).transpose(2, 3).reshape(-1, 9, 6)),
        IMAGE, ("bpp", "pp", "u"),
    ),
    "einsum": (lambda n, x: n.act(torch.einsum("btf,fu->but", x, n.weight)), SERIES, FIRST),
    "a product with a weight": (lambda n, x: n.act(x @ n.weight), SERIES, LAST),
    "a weight in front": (lambda n, x: n.act(n.weight @ x), SERIES, FIRST),
    "chunks": (lambda n, x: n.act(n.line(x).chunk(2, 1)[0]), SERIES, FIRST),
    "gated": (lambda n, x: n.act(n.conv(x) * n.linear(n.conv(x).mean((2, 3)))[..., None, None]), IMAGE,
              ("b", "u", "p", "p")),
    "stacked steps": (lambda n, x: n.act(torch.stack([n.linear(x[:, t]) for t in range(6)])), SERIES, ("p", "b", "u")),
    "written into": (
        lambda n, x: n.act(torch.zeros(6, 6, 6).index_put_((torch.arange(6),), n.linear(x))), SERIES, LAST,
    ),
    "embedding": (lambda n, x: n.act(n.words(x)), IDS, LAST),
    "a table of weights": (lambda n, x: n.act(n.weight[x.clamp_max(5)]), IDS, LAST),
    "the length of vectors": (
        lambda n, x: n.act(torch.linalg.vector_norm(n.thick(x), dim=2)), VOLUME, ("b", "u", "p", "p"),
    ),
    "flat input": (lambda n, x: n.act(x.flatten(1)), SERIES, ("b", "pp")),
}  # fmt: skip


def layout_of(forward: Forward, shape: Any) -> Any:
    net = Net(forward)
    x = torch.randint(0, 9, (6, 6)) if shape == IDS else torch.rand(shape)
    with isolated(net):
        trace = followed(net, net, (x,))
    (layer,) = described(unit_layers(net, "act"), trace, functional_use(net, trace))
    return layer.calls[0].layout


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_operation_that_made_a_tensor_tells_where_its_units_are(name: str) -> None:
    forward, shape, expected = LAYOUTS[name]
    assert layout_of(forward, shape) == expected


UNKNOWN: dict[str, tuple[Forward, Any]] = {
    "the input itself": (lambda n, x: n.act(x), SERIES),
    "a mean over channels": (lambda n, x: n.act(n.conv(x).mean(1)), IMAGE),
    "a sum of what counts units elsewhere": (lambda n, x: n.act(n.linear(x) + n.line(x)), SERIES),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_where_nothing_tells_nothing_is_said(name: str) -> None:
    assert layout_of(*UNKNOWN[name]) is None


ORDER = torch.tensor([2, 0, 5, 1, 4, 3])
LENGTHS = torch.tensor([2, 6, 1, 4, 6, 3])


def by_length(n: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    """The steps of the samples, the longest first, and which sample each is."""
    lengths, order = LENGTHS.sort(descending=True)
    packed = pack_padded_sequence(x[order], lengths, batch_first=True)
    return n.rows(packed)[1][-1], order


def written_back(n: Net, x: Tensor, order: Tensor) -> Tensor:
    found = torch.zeros(6, 6, 6)
    found[order] = n.linear(x[ORDER])
    return found


# what the activation is given -> what lies along its first dimension
ORDERS: dict[str, tuple[Forward, str]] = {
    "indexed": (lambda n, x: n.linear(x)[ORDER], "r"),
    "indexed before": (lambda n, x: n.linear(x[ORDER]), "r"),
    "by a list": (lambda n, x: n.linear(x[ORDER.tolist()]), "r"),
    "selected": (lambda n, x: n.linear(x.index_select(0, ORDER)), "r"),
    "flipped": (lambda n, x: n.linear(x.flip(0)), "r"),
    "flipped twice": (lambda n, x: n.linear(x.flip(0)).flip(0), "b"),
    "flipped in time": (lambda n, x: n.linear(x.flip(1)), "b"),
    "rolled": (lambda n, x: n.linear(torch.roll(x, (1, 2), (0, 1))), "r"),
    "rolled back": (lambda n, x: n.linear(torch.roll(x, 1, 0)).roll(-1, 0), "b"),
    "sorted": (lambda n, x: n.linear(x.sort(0)[0]), "r"),
    "sorted in time": (lambda n, x: n.linear(x.sort(1)[0]), "b"),
    "in order again": (lambda n, x: n.linear(x[ORDER])[ORDER.argsort()], "b"),
    "in another order still": (lambda n, x: n.linear(x[ORDER])[ORDER], "r"),
    "written back": (lambda n, x: written_back(n, x, ORDER), "b"),
    "written elsewhere": (lambda n, x: written_back(n, x, ORDER.flip(0)), "r"),
    "an index that changes nothing": (lambda n, x: n.linear(x[torch.arange(6)]), "b"),
    "some": (lambda n, x: n.linear(x[:4]), "r"),
    "those of a mask": (lambda n, x: n.linear(x[torch.arange(6) % 2 == 0]), "r"),
    "halves changed": (lambda n, x: n.linear(torch.cat([x[3:], x[:3]])), "r"),
    "halves together": (lambda n, x: n.linear(torch.cat([x[:3], x[3:]])), "b"),
    "chunks changed": (lambda n, x: n.linear(torch.cat(x.chunk(2)[::-1])), "r"),
    "pieces together": (lambda n, x: n.linear(torch.cat(x.split([2, 4]))), "b"),
    "added to those in order": (lambda n, x: n.linear(0.7 * x + 0.3 * x[ORDER]), "b"),
    "tokens folded in": (lambda n, x: n.linear(x.flatten(0, 1)[torch.arange(35, -1, -1)]), "r"),
    "a constant added": (lambda n, x: n.linear(x[ORDER]) + x.new_zeros(6, 1, 1), "r"),
    "the last state of a sorted batch": (lambda n, x: by_length(n, x)[0], "r"),
    "put back behind it": (lambda n, x: by_length(n, x)[0][by_length(n, x)[1].argsort()], "b"),
    "the last state of a packed batch": (
        lambda n, x: n.rows(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))[1][-1], "b",
    ),
    "the steps of a packed batch": (
        lambda n, x: pad_packed_sequence(
            n.rows(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))[0], batch_first=True
        )[0],
        "b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_samples_in_another_order_are_told_from_those_in_order(name: str) -> None:
    forward, expected = ORDERS[name]
    layout = layout_of(lambda n, x: n.act(forward(n, x)), SERIES)
    assert layout is not None and layout[0] == expected and "b" not in "".join(layout[1:])


@pytest.mark.parametrize(("sort", "expected"), [(True, True), (False, False)])
def test_a_recurrent_layer_is_told_the_order_of_a_packed_batch(sort: bool, expected: bool) -> None:
    def forward(n: Net, x: Tensor) -> Tensor:
        if sort:
            return by_length(n, x)[0]
        return n.rows(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))[1][-1]

    net = Net(forward)
    with isolated(net):
        trace = followed(net, net, (torch.rand(SERIES),))
    (layer,) = described(unit_layers(net, "rows"), trace, functional_use(net, trace))
    assert layer.use("rows").is_reordered is expected


@pytest.mark.parametrize("flipped", [True, False])
def test_attention_is_told_the_order_of_its_samples(flipped: bool) -> None:
    def forward(n: Net, x: Tensor) -> Tensor:
        tokens = (x.flip(0) if flipped else x).transpose(0, 1)
        return n.attention(tokens, tokens, tokens)[0]

    net = Net(forward)
    with isolated(net):
        trace = followed(net, net, (torch.rand(SERIES),))
    (layer,) = described(unit_layers(net, "attention"), trace, functional_use(net, trace))
    assert layer.use("attention").is_reordered is flipped and bool(layer.calls) is flipped
