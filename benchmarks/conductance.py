"""Input integrated gradients and conductance of every layer: one walk against captum's separate calls.

    python benchmarks/conductance.py

Both get 50 steps and the same rows in one pass; runs alternate, so that a busy machine slows both alike. Shown are
medians of the ratio over the repeats and their range.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import LayerConductance as CaptumLayerConductance
from torch import Tensor, nn

from lightning_explain.attribution import integrated_gradients_and_conductance

N_STEPS = 50


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


def one_walk(model: nn.Module, inputs: Tensor, target: Tensor, layers: list[str], rows: int) -> None:
    integrated_gradients_and_conductance(model, inputs, target, layers=layers, n_steps=N_STEPS, chunk_size=rows)


def separate_calls(model: nn.Module, inputs: Tensor, target: Tensor, layers: list[str], rows: int) -> None:
    options = {"target": target, "n_steps": N_STEPS, "internal_batch_size": rows}
    CaptumIntegratedGradients(model).attribute(inputs, **options)
    for name in layers:
        CaptumLayerConductance(model, model.get_submodule(name)).attribute(inputs, **options)


def seconds(run: Callable[..., None], *args: object) -> float:
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start


def compared(model: nn.Module, inputs: Tensor, layers: list[str], repeats: int) -> tuple[list[float], list[float]]:
    """Return the ratios and the seconds of one walk, of alternating runs."""
    target = torch.arange(len(inputs)) % 10
    args = (model, inputs, target, layers, len(inputs))
    one_walk(*args)
    separate_calls(*args)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(seconds(one_walk, *args))
        theirs.append(seconds(separate_calls, *args))
    return [a / b for a, b in zip(ours, theirs, strict=True)], ours


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=7)
    repeats = options.parse_args().repeats
    torch.manual_seed(0)
    # captum raises its own batch to the two points per sample that it needs, which is in its favour
    warnings.filterwarnings("ignore", message="This method computes finite differences")
    cases = [
        ("MLP", 4, mlp(4), torch.rand(128, 1, 28, 28), 0.30),
        ("MLP", 8, mlp(8), torch.rand(128, 1, 28, 28), 0.15),
        ("CNN", 4, cnn(4), torch.rand(16, 3, 32, 32), 0.30),
        ("CNN", 8, cnn(8), torch.rand(16, 3, 32, 32), 0.15),
    ]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {N_STEPS} steps, {repeats} repeats")
    print(f"{'net':<5}{'layers':>7}{'ratio':>8}{'range':>16}{'bar':>7}{'seconds':>9}  verdict")
    for name, n_layers, model, inputs, bar in cases:
        layers = [path for path, module in model.named_modules() if isinstance(module, nn.ReLU)]
        ratios, ours = compared(model.eval(), inputs, layers, repeats)
        middle = statistics.median(ratios)
        spread = f"{min(ratios):.3f} - {max(ratios):.3f}"
        verdict = "holds" if middle <= bar else "MISSED"
        print(f"{name:<5}{n_layers:>7}{middle:>8.3f}{spread:>16}{bar:>7.2f}{statistics.median(ours):>9.2f}  {verdict}")


if __name__ == "__main__":
    main()
