"""Networks that the tests of decision paths share."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional


def seeded(seed: int = 0) -> None:
    torch.manual_seed(seed)


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


class LeNet(nn.Module):
    """Everything a small convnet has: BatchNorm, both poolings, in-place and functional ReLU, dropout, flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3, groups=2)
        self.fc1 = nn.Linear(6 * 3 * 3, 10)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(10, 3)
        self.norm.running_mean.uniform_(-0.2, 0.2)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.conv1(x))))
        x = functional.avg_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc2(self.drop(self.relu(self.fc1(x.flatten(1)))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer, self.head = (nn.Linear(a, b) for a, b in ((4, 5), (5, 6), (6, 5), (5, 2)))

    def forward(self, x):
        h = self.stem(x).relu()
        h = h + self.outer(self.inner(h).relu())
        return self.head(h.relu())


def lenet() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    seeded()
    return LeNet().double(), torch.rand(5, 1, 16, 16, dtype=torch.double), torch.tensor([0, 1, 2, 0, 1])


def assert_conserved(graph, tolerance=1e-9):
    """Units of a layer, and what biases above it absorbed, make up the output."""
    absorbed = 0.0
    for layer in reversed(graph.layers):
        assert layer.contribution.sum() + absorbed == pytest.approx(graph.output, abs=tolerance)
        absorbed += layer.absorbed.sum()
