"""What LRP costs, in gradient passes: `python benchmarks/lrp.py [--repeats 15]`.

Each round runs one gradient pass (forward, and backward to the input), LRP, and captum's LRP where it runs, one
after the other, so that a slow moment of the machine meets all three. What is measured is processor time, which other
programs disturb less (with OMP_NUM_THREADS=1 it is the time that the call takes on a quiet machine). Printed: median
and range of the ratios.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable
from functools import partial

import torch
from captum.attr import LRP as CaptumLRP  # noqa: N811 - told apart from our own
from captum.attr._utils.lrp_rules import EpsilonRule as CaptumEpsilon
from measuring import seconds
from torch import Tensor, nn

from lightning_explain.attribution import LRP, EpsilonGammaBox


class Block(nn.Module):
    """A basic residual block with one shared in-place ReLU and an in-place sum, as in torchvision."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's own path to the shortcut."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return self.relu(out)


def mlp() -> tuple[nn.Module, Tensor]:
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers), torch.rand(256, 784)


def vgg() -> tuple[nn.Module, Tensor]:
    layers: list[nn.Module] = []
    n_in = 3
    for n_out in (32, 32, 0, 64, 64, 0, 128, 128, 0):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()] if n_out else [nn.MaxPool2d(2)]
        n_in = n_out or n_in
    head = [nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10)]
    return nn.Sequential(*layers, *head), torch.rand(16, 3, 32, 32)


def resnet() -> tuple[nn.Module, Tensor]:
    stem = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)]
    blocks = [Block(32, 32, 1), Block(32, 64, 2), Block(64, 64, 1), Block(64, 128, 2), Block(128, 128, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)), torch.rand(
        16, 3, 32, 32
    )


def gradient_pass(model: nn.Module, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    return gradient


def captum_lrp(model: nn.Module, x: Tensor) -> Tensor:
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.Flatten):
            layer.rule = CaptumEpsilon()
    return CaptumLRP(model).attribute(x, target=0)


def ratios(
    model: nn.Module, x: Tensor, methods: dict[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(repeats + 2):
        base = seconds(lambda: gradient_pass(model, x))
        taken = {name: seconds(run) for name, run in methods.items()}
        if number >= 2:  # the first two warm up
            for name, value in taken.items():
                found[name].append(value / base)
    return found


def runs(method: Callable[[], object]) -> bool:
    try:
        method()
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        print(f"  captum does not run: {str(error).splitlines()[0][:90]}")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {repeats} rounds; gradient pass = 1")
    for build in (mlp, vgg, resnet):
        model, x = build()
        model.eval()
        methods: dict[str, Callable[[], object]] = {
            "LRP() default": partial(LRP(), model, x, 0),
            "EpsilonGammaBox": partial(LRP(EpsilonGammaBox(0.0, 1.0)), model, x, 0),
            "captum LRP": partial(captum_lrp, model, x),
        }
        print(build.__name__)
        if not runs(methods["captum LRP"]):
            del methods["captum LRP"]
        for name, values in ratios(model, x, methods, repeats).items():
            print(f"  {name:16} {statistics.median(values):5.2f}x   ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
