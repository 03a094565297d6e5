"""Modules whose units a watched layer's are: chains count, sums, shared tensors and what was overwritten do not."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.feeding.unit_producers import unit_producers
from lightning_explain.neurons import unit_layers


class Block(nn.Module):
    """A residual block whose one ReLU runs twice: after a norm, and after the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.drop, self.late = nn.Dropout(), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = self.relu(out + x)
        return self.late(self.drop(out))


def found(net: nn.Module, x: Tensor, layers: list[str] | None = None) -> dict[str, tuple[str, ...]]:
    return unit_producers(net.eval(), lambda: net(x), unit_layers(net, layers))


def test_chains_are_followed_and_sums_end_them() -> None:
    block = Block()
    names = found(block, torch.randn(2, 3, 4, 4))
    assert names["relu"] == ("conv1", "bn1") and "relu#1" not in names
    assert names["late"] == ("relu", "drop")
    assert found(block, torch.randn(2, 3, 4, 4), ["bn2"]) == {"bn2": ("conv2",)}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in block.modules())


def test_what_was_written_into_or_rearranged_is_another_tensor() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.GELU()

        def forward(self, x: Tensor) -> Tensor:
            first = self.a(x)
            first.add_(1)
            second = self.b(self.act(first))
            return functional.relu(self.act(second.flip(1)))

    assert found(Written(), torch.randn(2, 4)) == {}
    net = nn.Sequential(nn.LSTM(4, 3), nn.Identity())
    assert found(net, torch.randn(2, 5, 4), ["0"]) == {}
