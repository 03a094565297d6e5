"""Is the stated error of integrated gradients an error: how often, and by how much, it covers the true one.

Networks with and without kinks are trained on the digits of scikit-learn; the true error is against the midpoint rule
with many points in double precision. Run it with `python -m benchmarks.stated_errors [samples] [points]`.
"""

import copy
import sys
import warnings
from collections.abc import Mapping

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lightning_explain.attribution import IntegratedGradients

METHODS = {
    "tolerance 0.05": {"tolerance": 0.05},
    "tolerance 0.01": {"tolerance": 0.01},
    "tolerance 0.05, smooth": {"tolerance": 0.05, "smooth": True},
    "tolerance 0.01, smooth": {"tolerance": 0.01, "smooth": True},
    "16 points, Gauss-Legendre": {"n_steps": 16},
    "50 points, Gauss-Legendre": {"n_steps": 50},
    "16 points, midpoints": {"n_steps": 16, "rule": "midpoint"},
    "50 points, midpoints": {"n_steps": 50, "rule": "midpoint"},
}


def _mlp(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), activation, nn.Linear(96, 48), activation, nn.Linear(48, 10))


def _convnet(activation: nn.Module, pool: nn.Module) -> nn.Module:
    convolutions = (nn.Conv2d(1, 12, 3, padding=1), activation, pool, nn.Conv2d(12, 24, 3, padding=1, bias=False))
    return nn.Sequential(*convolutions, nn.BatchNorm2d(24), activation, nn.Flatten(), nn.Linear(24 * 16, 10))


NETWORKS = {
    "MLP, ReLU": lambda: _mlp(nn.ReLU()),
    "convnet, ReLU and max pooling": lambda: _convnet(nn.ReLU(), nn.MaxPool2d(2)),
    "MLP, tanh": lambda: _mlp(nn.Tanh()),
    "convnet, GELU and mean pooling": lambda: _convnet(nn.GELU(), nn.AvgPool2d(2)),
}


def _trained(net: nn.Module, x: Tensor, y: Tensor, n_steps: int) -> nn.Module:
    net, optimizer = net.train(), torch.optim.AdamW(net.parameters(), 2e-3)
    for _ in range(n_steps):
        rows = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    return net.eval()


def _reference(net: nn.Module, x: Tensor, target: Tensor, n_points: int) -> Tensor:
    exact, found = copy.deepcopy(net).double(), []
    alpha = ((torch.arange(n_points, dtype=torch.float64) + 0.5) / n_points).reshape(-1, 1, 1, 1)
    for sample, index in zip(x.double(), target, strict=True):
        points = (alpha * sample).requires_grad_()
        (gradients,) = torch.autograd.grad(exact(points)[:, index].sum(), points)
        found.append(gradients.mean(0) * sample)
    return torch.stack(found).flatten(1)


def _errors(options: Mapping[str, object], net: nn.Module, x: Tensor, target: Tensor, reference: Tensor) -> Tensor:
    """Return true error, stated error and points of each sample [3, samples]."""
    found = IntegratedGradients(**options)(net, x, target)  # pyright: ignore[reportArgumentType]
    values = found.values.double().flatten(1)  # pyright: ignore[reportAttributeAccessIssue]
    true = (values - reference).abs().sum(1) / values.abs().sum(1)
    assert found.error is not None
    return torch.stack([true, found.error.double(), found.n_evaluations.double()])


def main(n_samples: int = 24, n_points: int = 2048) -> None:
    """Print a row for every network and method."""
    warnings.simplefilter("ignore")
    images, classes = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(classes)
    shown, labels = x[-n_samples:], y[-n_samples:]
    print("| network | points by | covered | mean stated : mean true | mean true | points |\n|---|---|---|---|---|---|")
    found: dict[str, list[Tensor]] = {}
    for name, make in NETWORKS.items():
        of_net: dict[str, list[Tensor]] = {}
        for seed, n_steps in ((0, 0), (1, 20), (2, 400)):
            torch.manual_seed(seed)
            logits = _trained(make(), x[:-n_samples], y[:-n_samples], n_steps)
            for net in (logits, nn.Sequential(logits, nn.Softmax(1))):
                reference = _reference(net, shown, labels, n_points)
                for method, options in METHODS.items():
                    of_net.setdefault(method, []).append(_errors(options, net, shown, labels, reference))
        for method, errors in of_net.items():
            found.setdefault(method, []).extend(errors)
            _print_row(name, method, torch.cat(errors, 1))
    for method, errors in found.items():
        _print_row("all", method, torch.cat(errors, 1))


def _print_row(name: str, method: str, errors: Tensor) -> None:
    true, stated, points = errors
    covered = float((true <= stated * 1.000001 + 2e-6).double().mean())  # up to rounding
    ratio = float(stated.mean() / true.mean())
    print(
        f"| {name} | {method} | {covered:.0%} | {ratio:.2f} | {float(true.mean()):.4f} | {float(points.mean()):.1f} |"
    )


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
