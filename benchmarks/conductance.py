"""Input integrated gradients and conductance of every layer: one walk against captum's separate calls.

    python benchmarks/conductance.py [--repeats 7]

Both get 50 steps and the same rows in one pass; runs alternate, so that a busy machine slows both alike. Shown are
medians of the ratio over the repeats and their range, and the ratio of the peaks of allocated memory: what torch's
profiler counts from call to return, without the weights.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import LayerConductance as CaptumLayerConductance
from measuring import peak_megabytes, seconds
from torch import Tensor, nn

from lightning_explain.attribution import integrated_gradients_and_conductance

N_STEPS = 50
MEMORY_BAR = 0.65


def mlp(n_layers: int) -> nn.Module:
    sizes = [784, *[512] * n_layers]
    hidden = [layer for i in range(n_layers) for layer in (nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(512, 10))


def cnn(n_layers: int) -> nn.Module:
    channels = [3, *[32] * n_layers]
    hidden = [
        layer
        for i in range(n_layers)
        for layer in (nn.Conv2d(channels[i], 32, 3, padding=1, stride=2 if i == 1 else 1), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


class Residual(nn.Module):
    """Two convolutions beside a shortcut; its two activations are watched."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n))
        self.out = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.second(self.first(x)) + x)


def resnet(n_layers: int) -> nn.Module:
    stem = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)]
    blocks = [Residual(32) for _ in range(n_layers // 2)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


class Encoder(nn.Module):
    """A pre-norm transformer block; the activation of its MLP is watched."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(x)


class Patches(nn.Module):
    """Cuts an image into tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(0.02 * torch.randn(64, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.cut(x).flatten(2).mT + self.position


class Mean(nn.Module):
    """Averages the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def vit(n_layers: int) -> nn.Module:
    return nn.Sequential(Patches(64), *(Encoder(64) for _ in range(n_layers)), Mean(), nn.Linear(64, 10))


def one_walk(model: nn.Module, inputs: Tensor, target: Tensor, layers: list[str], rows: int) -> None:
    integrated_gradients_and_conductance(model, inputs, target, layers=layers, n_steps=N_STEPS, chunk_size=rows)


def separate_calls(model: nn.Module, inputs: Tensor, target: Tensor, layers: list[str], rows: int) -> list[Tensor]:
    options: dict[str, Any] = {"target": target, "n_steps": N_STEPS, "internal_batch_size": rows}
    found = [CaptumIntegratedGradients(model).attribute(inputs, **options)]
    found += [CaptumLayerConductance(model, model.get_submodule(name)).attribute(inputs, **options) for name in layers]
    return [values.detach() for values in found]


def compared(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> tuple[list[float], float]:
    """Return the ratios of alternating runs, and the median seconds of ours."""
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    return [a / b for a, b in pairs], statistics.median(a for a, _ in pairs)


CASES = [
    ("MLP", mlp, 2, (128, 1, 28, 28), 0.30),
    ("MLP", mlp, 4, (128, 1, 28, 28), 0.30),
    ("MLP", mlp, 8, (128, 1, 28, 28), 0.15),
    ("CNN", cnn, 4, (8, 3, 32, 32), 0.30),
    ("CNN", cnn, 8, (8, 3, 32, 32), 0.15),
    ("ViT", vit, 4, (8, 3, 32, 32), 0.30),
    ("ResNet", resnet, 8, (8, 3, 32, 32), 0.15),
]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=7)
    repeats = options.parse_args().repeats
    # captum raises its own batch to the two points per sample that it needs, which is in its favour
    warnings.filterwarnings("ignore", message="This method computes finite differences")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {N_STEPS} steps, {repeats} repeats")
    print(f"{'net':<7}{'layers':>6}{'time':>7}{'range':>15}{'bar':>6}{'memory':>8}{'MiB':>12}{'bar':>6}{'seconds':>9}")
    for name, build, n_layers, shape, bar in CASES:
        torch.manual_seed(0)
        model, inputs = build(n_layers).eval(), torch.rand(shape)
        layers = [path for path, module in model.named_modules() if isinstance(module, nn.ReLU | nn.GELU)]
        args = (model, inputs, torch.arange(len(inputs)) % 10, layers, len(inputs))
        ours, theirs = partial(one_walk, *args), partial(separate_calls, *args)
        ratios, taken = compared(ours, theirs, repeats)
        memory = peak_megabytes(ours), peak_megabytes(theirs)
        middle, share = statistics.median(ratios), memory[0] / memory[1]
        print(
            f"{name:<7}{len(layers):>6}{middle:>7.3f}{f'{min(ratios):.3f}-{max(ratios):.3f}':>15}{bar:>6.2f}{share:>8.2f}"
            f"{f'{memory[0]:.0f}:{memory[1]:.0f}':>12}{MEMORY_BAR:>6.2f}{taken:>9.2f}"
            f"  {'holds' if middle <= bar and share <= MEMORY_BAR else 'OVER'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
