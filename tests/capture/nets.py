"""Networks and a recorder that the tests of capturing share."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.capture import Recorder, select_layers


class Functional(nn.Module):
    """No activation module anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.hidden, self.head = nn.Linear(8, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu_(self.norm(self.conv(x))).flatten(1)
        return self.head(nn.functional.relu_(self.hidden(x)))


class Shared(nn.Module):
    """One ReLU object for three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Linear(2, 3), nn.Linear(3, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(self.two(self.relu(self.one(x)))) - 1)


def attached(net: nn.Module, layers: Any = None, **options: Any) -> Recorder:
    recorder = Recorder(select_layers(net, layers), **options)
    recorder.attach()
    return recorder


X = torch.rand(5, 2, generator=torch.Generator().manual_seed(0))
