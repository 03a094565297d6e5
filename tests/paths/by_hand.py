"""Messages between units from plain autograd, on networks written out by hand in which gates, weights of attentions,
spreads and slopes of activations are constants: independent of the package."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.paths.contribution_graph import ContributionGraph
from tests.paths.graphs import flowing

Note = Callable[[str, Tensor], Tensor]
"""Takes the values of units [1, ..., units] (heads in the second dimension) by name, and returns what to go on with."""


def passed(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return z * (function(z) / z).detach()


def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    spread = (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt().detach()
    return centred / spread * norm.weight + norm.bias


class LayerBlock(nn.Module):
    """A block of a transformer, normalised first."""

    def __init__(self, d: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, hidden), nn.Linear(hidden, d)

    def apart(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        q, k, v = (self.apart(layer(h)) for layer in (self.q, self.k, self.v))
        heads = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(heads.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))

    def by_hand(self, x: Tensor, note: Note, name: str) -> Tensor:
        h = normed(self.norm1, x)
        q, k, v = (self.apart(layer(h)) for layer in (self.q, self.k, self.v))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).detach()
        heads = note(name, weights @ v)
        x = x + self.out(heads.transpose(1, 2).flatten(2))
        return x + self.down(passed(functional.gelu, note(f"{name}.up", self.up(normed(self.norm2, x)))))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Linear(2, 4), nn.ModuleList([LayerBlock(4, 2, 5), LayerBlock(4, 2, 3)])
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))

    def by_hand(self, x: Tensor, note: Note) -> Tensor:
        x = self.stem(note("input", x))
        for place, block in enumerate(self.blocks):
            x = block.by_hand(x, note, f"blocks.{place}")
        return self.head(normed(self.norm, x).mean(1))


class Gated(nn.Module):
    """A GLU, then a squeeze-and-excitation of features with a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.glu, self.fc, self.gate, self.head = nn.Linear(3, 8), nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.silu(self.fc(functional.glu(self.glu(x))))
        return self.head(h * torch.sigmoid(self.gate(h)))

    def by_hand(self, x: Tensor, note: Note) -> Tensor:
        signal, gate = note("glu", self.glu(note("input", x))).chunk(2, -1)
        h = passed(functional.silu, note("fc", self.fc(signal * torch.sigmoid(gate).detach())))
        return self.head(h * torch.sigmoid(self.gate(h)).detach())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])

    def by_hand(self, x: Tensor, note: Note) -> Tensor:
        x, net = note("input", x), self.lstm
        h = c = x.new_zeros(1, 3)
        for step in range(x.shape[1]):
            z = x[:, step] @ net.weight_ih_l0.T + net.bias_ih_l0 + h @ net.weight_hh_l0.T + net.bias_hh_l0
            i, f, g, o = z.chunk(4, -1)
            c = f.sigmoid().detach() * c + i.sigmoid().detach() * passed(torch.tanh, g)
            h = note(f"lstm.l0 step {step}", o.sigmoid().detach() * passed(torch.tanh, c))
        return self.head(h)


def seeded(net: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for parameter in net.parameters():
        parameter.data.uniform_(-1, 1)
    return net.double().eval()


def by_unit(name: str, values: Tensor) -> Tensor:
    """Sum the values of one sample by unit: patches of one feature, heads, neurons, hidden units."""
    if name == "input":
        return values.flatten()
    if name.startswith("blocks") and not name.endswith("up"):
        return values.sum((0, 2, 3))
    return values.flatten(0, -2).sum(0)


def graph_by_hand(net: nn.Module, x: Tensor, target: int) -> ContributionGraph:
    """The graph of one sample [1, ...], one message after the other."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        seen[name] = value if value.requires_grad else value.clone().requires_grad_()
        return seen[name]

    score = net.by_hand(x, keep)[0, target]
    gradients = dict(zip(seen, torch.autograd.grad(score, list(seen.values()), allow_unused=True), strict=True))
    before: dict[str, Tensor] = {}
    leaves: dict[str, Tensor] = {}

    def cut(name: str, value: Tensor) -> Tensor:
        before[name], leaves[name] = value, value.detach().clone().requires_grad_()
        return leaves[name]

    score = net.by_hand(x, cut)[0, target]
    names = list(leaves)
    messages: dict[tuple[int, int], np.ndarray] = {}
    for end, name in enumerate([*names[1:], "output"], 1):
        rows = []
        for unit in range(1 if name == "output" else len(by_unit(name, leaves[name]))):
            sent = score if name == "output" else by_unit(name, before[name] * gradients[name].detach())[unit]
            found = torch.autograd.grad(sent, [leaves[n] for n in names], retain_graph=True, materialize_grads=True)
            rows.append([by_unit(n, (leaves[n] * g).detach()).numpy() for n, g in zip(names, found, strict=True)])
        for source in range(end):
            messages[source, end] = np.stack([row[source] for row in rows])
    output = float(score.detach())
    values = [by_unit(name, (seen[name] * gradients[name]).detach()).numpy() for name in names]
    reached = {pair: found for pair, found in messages.items() if np.abs(found).max() > 0}
    return flowing([*names, "output"], [*values, np.array([output])], reached, output)
