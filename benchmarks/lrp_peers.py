"""LRP beside zennit and autolrp, where rule and network are the same: `python benchmarks/lrp_peers.py`.

Needs zennit or autolrp (whichever is missing is left out). 64 bits; printed is the largest difference, relative to the
largest relevance. zennit's composites are given the layers of a ReLU convnet whose BatchNorms are merged beforehand, as
zennit's canonizers do it.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution import (
    LRP,
    AlphaBetaRule,
    ByLayer,
    EpsilonRule,
    FlatRule,
    GammaRule,
    InputRule,
    Rule,
    WSquareRule,
    ZBoxRule,
    ZPlusRule,
)

TINY = 1e-14
"""Added to denominators by zennit wherever it divides, here only in the epsilon rule."""
RULES: dict[str, tuple[Rule, tuple[Any, ...]]] = {
    "Epsilon": (EpsilonRule(TINY), (TINY,)),
    "ZPlus": (ZPlusRule(), ()),
    "Gamma": (GammaRule(0.25), (0.25,)),
    "AlphaBeta": (AlphaBetaRule(2.0, 1.0), (2.0, 1.0)),
}
INPUT_RULES: dict[str, tuple[InputRule, tuple[Any, ...]]] = {
    "Flat": (FlatRule(), ()),
    "WSquare": (WSquareRule(), ()),
    "ZBox": (ZBoxRule(-3.0, 3.0), (-3.0, 3.0)),
}


def convnet(activation: Callable[[], nn.Module]) -> nn.Module:
    """Build a small convnet with padding, strides and pooling."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), activation(), nn.Conv2d(8, 8, 3, stride=2, padding=1), activation(),
        nn.AvgPool2d(2), nn.Conv2d(8, 8, 3), activation(),
        nn.Flatten(), nn.Linear(72, 16), activation(), nn.Linear(16, 4),
    ).double().eval()  # fmt: skip


def off(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def by_zennit(net: nn.Module, x: Tensor, layers: Any, first: Any) -> Tensor:
    """Explain output 1 by zennit, with a rule for each type of layer and one for the first convolution."""
    composites: Any = importlib.import_module("zennit.composites")
    passing: Any = importlib.import_module("zennit.rules").Pass()
    others = [(nn.ReLU, passing), (nn.SiLU, passing)]
    norm: Any = importlib.import_module("zennit.rules").Norm(stabilizer=TINY)
    composite = composites.SpecialFirstLayerMapComposite(
        layer_map=[*others, (nn.AvgPool2d, norm), (nn.Conv2d, layers), (nn.Linear, layers)],
        first_map=[(nn.Conv2d, first)],
    )
    leaf = x.clone().requires_grad_()
    with composite.context(net) as modified:
        score = modified(leaf)
        start = torch.zeros_like(score)
        start[:, 1] = score[:, 1].detach()
        (found,) = torch.autograd.grad(score, leaf, start)
    return found


def beside_zennit() -> None:
    """Print a row for each rule."""
    rules: Any = importlib.import_module("zennit.rules")
    x = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(1)).double() * 2 - 0.5
    for activation in (nn.ReLU, nn.SiLU):
        net = convnet(activation)
        for name, (rule, options) in RULES.items():
            ours = LRP({nn.Conv2d: rule, nn.Linear: rule})(net, x, 1).values
            more = {} if name == "Epsilon" else {"stabilizer": TINY}
            theirs = by_zennit(net, x, *(getattr(rules, name)(*options, **more) for _ in range(2)))
            print(f"| zennit {name}, {activation.__name__} | {off(ours, theirs):.0e} |")
        for name, (first, options) in INPUT_RULES.items():
            given = ByLayer(dict.fromkeys((nn.Conv2d, nn.Linear), EpsilonRule(TINY)), {nn.Conv2d: first})
            # ours gives nothing to the bias
            more = {"zero_params": "bias"} if name == "WSquare" else {}
            given_options = tuple(torch.full_like(x, value) for value in options)
            theirs = by_zennit(
                net, x, rules.Epsilon(TINY), getattr(rules, name)(*given_options, stabilizer=TINY, **more)
            )
            print(f"| zennit {name} first, {activation.__name__} | {off(LRP(given)(net, x, 1).values, theirs):.0e} |")


class Attention(nn.Module):
    """Attention with two heads and an MLP behind it.

    There are no offsets and norms, which autolrp shares by other rules, and its residual sums go by size: they are made
    of summands that do not mix signs, or are left out.
    """

    def __init__(self, *, is_residual: bool) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(8, 8, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(8, 16, bias=False), nn.Linear(16, 8, bias=False)
        self.is_residual = is_residual
        if is_residual:
            for layer in (self.value, self.out, self.up, self.down):
                layer.weight.data.abs_()

    def forward(self, x: Tensor) -> Tensor:
        """Attend, and go through the MLP."""
        query, key, value = (
            layer(x).unflatten(2, (2, 4)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(2, 3) / 2).softmax(-1)
        found = self.out((weights @ value).transpose(1, 2).flatten(2))
        found = found + x if self.is_residual else found
        beside = self.down(nn.functional.gelu(self.up(found)))
        return beside + found if self.is_residual else beside


class Blocks(nn.Module):
    """Blocks of attention, and a head that reads the first token."""

    def __init__(self, n_blocks: int, *, is_residual: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.Sequential(*(Attention(is_residual=is_residual) for _ in range(n_blocks)))
        self.head = nn.Linear(8, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [batch, 4]."""
        return self.head(self.blocks(x)[:, 0])


def beside_autolrp(n_blocks: int, *, is_residual: bool) -> None:
    """Print a row for attention with constant weights."""
    autolrp: Any = importlib.import_module("autolrp")
    net = Blocks(n_blocks, is_residual=is_residual).double().eval()
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1)).double()
    x = x.abs() if is_residual else x
    found: list[Tensor] = []
    for sample in x.split(1):
        carried = autolrp.tensor(sample.clone())
        score = net(carried)[0, 1]
        score.lrp(config=autolrp.LRPConfig(rule={**autolrp.BASE, **autolrp.CPLRP}))
        # it begins with 1
        found.append(carried.relevance.detach() * score.detach())
    theirs = torch.cat([torch.as_tensor(part) for part in found])
    ours = LRP({nn.Linear: EpsilonRule(TINY)}, attention="cp")(net, x, 1).values
    kind = f"{n_blocks} in a row, {'residual sums of one sign' if is_residual else 'no residual sums'}"
    print(f"| autolrp, attention with constant weights, {kind} | {off(ours, theirs):.0e} |")


def main() -> None:
    """Print the table."""
    print("| peer, rule, network | largest difference |\n|---|---|")
    if importlib.util.find_spec("zennit") is not None:
        beside_zennit()
    if importlib.util.find_spec("autolrp") is not None:
        for n_blocks, is_residual in ((1, False), (3, False), (1, True), (3, True)):
            beside_autolrp(n_blocks, is_residual=is_residual)


if __name__ == "__main__":
    main()
