"""Small networks for the tests of attribution methods."""

import torch
from torch import Tensor, nn


def seeded(net: nn.Module, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Fill every parameter from a seed, in eval mode and double precision, so that comparisons can be tight."""
    generator = torch.Generator().manual_seed(seed)
    net = net.to(dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype) / fan**0.5)
    return net.eval()


def mlp(*, smooth: bool = False) -> nn.Module:
    """4 features, hidden layers of 6 and 5 (named 1 and 3), 3 classes."""
    act = nn.Tanh if smooth else nn.ReLU
    return seeded(nn.Sequential(nn.Linear(4, 6), act(), nn.Linear(6, 5), act(), nn.Linear(5, 3)))


def convnet(*, in_place: bool = False) -> nn.Module:
    """Images 2 x 8 x 8, 3 classes."""
    return seeded(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(inplace=in_place),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 3),
            nn.ReLU(inplace=in_place),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 3),
        )
    )


def drawn(*shape: int, seed: int = 1) -> Tensor:
    """Normal numbers from a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
