"""Coverage of the stated error of drift: training runs with explanations beside exact integrals in 64 bits.

    OMP_NUM_THREADS=1 python benchmarks/drift_errors.py [--networks mlp cnn] [--seeds 0 1] [--points 256]

A run of the MLP takes about a quarter of a minute, of a convnet two, of the others up to ten.
"""

import argparse
import copy
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator

import networks
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution import IntegratedGradients
from lightning_explain.drift import ComparableExplanation, distances, drift

STEPS = (0, 5, 15, 30, 60, 100, 150, 200, 300, 400, 500)
PER_CLASS = 3


def exact(net: nn.Module, x: Tensor, target: Tensor, points: int) -> Tensor:
    """Integrate by midpoints in 64 bits from the baseline zero."""
    net, values = copy.deepcopy(net).double().eval(), []
    for one, label in zip(x.double(), target, strict=True):
        alphas = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        gradients = torch.zeros_like(one)
        for some in alphas.split(64):
            along = (some.reshape(-1, *(1,) * one.ndim) * one).requires_grad_()
            gradients += torch.autograd.grad(net(along)[:, label].sum(), along)[0].sum(0)
        values.append(gradients / points * one)
    return torch.stack(values)


def compared(name: str, seed: int, points: int) -> Iterator[tuple[str, str, float, float]]:
    """Train, and yield measure, whose mean it is, the true error and the stated one."""
    x, y = networks.digits()
    rows = torch.cat([4500 + (y[4500:] == c).nonzero().flatten()[:PER_CLASS] for c in range(10)])
    torch.manual_seed(seed)
    net: nn.Module = getattr(networks, name)()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    method = IntegratedGradients()
    seen: list[tuple[ComparableExplanation, Tensor]] = []
    for before, step in zip((0, *STEPS), STEPS, strict=False):
        net.train()
        for _ in range(step - before):
            batch = torch.randint(4500, (64,))
            optimizer.zero_grad()
            functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        net.eval()
        now = ComparableExplanation.of(method(net, x[rows], y[rows]))
        truth = exact(net, x[rows], y[rows], points)
        for then, true_then in {id(seen[at][0]): seen[at] for at in ((-1, 0) if seen else ())}.values():
            moved, really = drift(now, then), distances(truth, true_then)
            for c in (None, *range(10)):
                members = None if c is None else y[rows] == c
                for measure in moved.values:
                    true = really[measure] if members is None else really[measure][members]
                    off = abs(moved.mean(measure, members) - float(true.nanmean()))
                    yield measure, "probe" if c is None else "class", off, moved.error(measure, members)
        seen.append((now, truth))


def main() -> None:
    """Print for each measure how often the error was too small, and how much too large it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--points", type=int, default=256)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for name in options.networks:
        for seed in options.seeds:
            for measure, whose, off, stated in compared(name, seed, options.points):
                if not math.isnan(off + stated):
                    found[measure, whose].append((off, stated))
    print("| drift | mean of | pairs | within the error | stated : true, means | stated : 95th percentile of true |")
    print("|---|---|---|---|---|---|")
    for (measure, whose), pairs in sorted(found.items()):
        within = sum(off <= stated for off, stated in pairs) / len(pairs)
        ratio = statistics.fmean(stated for _, stated in pairs) / statistics.fmean(off for off, _ in pairs)
        needed = statistics.quantiles((off / max(stated, 1e-12) for off, stated in pairs), n=20)[-1]
        print(f"| {measure} | {whose} | {len(pairs)} | {within:.1%} | {ratio:.1f} | {1 / needed:.2f} |")


if __name__ == "__main__":
    main()
