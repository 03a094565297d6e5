"""Networks trained on real digits: quadrature behaves better, and worse, on trained nets than on random ones."""

import pytest
import torch
from torch import nn

from tests.models import digits


def trained(net: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    x, y = digits(1200, 300)[0].tensors
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(12):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return net.eval()


@pytest.fixture(scope="session")
def digit_mlp() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    return trained(nn.Sequential(*layers))


@pytest.fixture(scope="session")
def digit_cnn() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)]
    return trained(nn.Sequential(*layers))
