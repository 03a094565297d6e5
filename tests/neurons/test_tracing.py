"""Axes followed through real forward passes: where samples, units, tokens and positions are, whatever the sizes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

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
