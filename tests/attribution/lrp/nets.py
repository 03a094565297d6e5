"""Small networks of the shapes found in the wild."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution import LRP
from lightning_explain.attribution.lrp.rules import Rule


def with_statistics(model: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and scales as after training, some of them negative."""
    generator = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.running_mean, -0.5, 0.5),
                (layer.running_var, 0.5, 2.0),
                (layer.weight.data, -1.0, 2.0),
                (layer.bias.data, -0.3, 0.3),
            ):
                tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))
    return model


class BasicBlock(nn.Module):
    """A residual block with one ReLU object for both activations and an in-place sum."""

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1, inplace: bool = True, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=inplace)
        self.inplace = inplace
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.inplace:
            out += self.shortcut(x)
        else:
            out = torch.add(out, self.shortcut(x))
        return self.relu(out)


def resnet(*, inplace: bool = True, norm: bool = True) -> nn.Module:
    stem = [nn.Conv2d(3, 6, 3, padding=1, bias=False)]
    stem += [nn.BatchNorm2d(6)] if norm else []
    blocks = [BasicBlock(6, 6, inplace=inplace, norm=norm), BasicBlock(6, 8, stride=2, inplace=inplace, norm=norm)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4, bias=False)]
    torch.manual_seed(0)
    layers = [*stem, nn.ReLU(inplace=inplace), nn.MaxPool2d(2), *blocks, *head]
    return with_statistics(nn.Sequential(*layers)).double().eval()


def vgg(*, bias: bool = True, inplace: bool = True) -> nn.Module:
    torch.manual_seed(0)
    features = [nn.Conv2d(3, 5, 3, padding=1, bias=bias), nn.ReLU(inplace), nn.Conv2d(5, 6, 3, padding=1, bias=bias)]
    features += [nn.ReLU(inplace), nn.MaxPool2d(2, 2), nn.Conv2d(6, 6, 3, padding=1, bias=bias), nn.ReLU(inplace)]
    head = [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 8, bias=bias), nn.ReLU(inplace), nn.Dropout()]
    return nn.Sequential(*features, *head, nn.Linear(8, 4, bias=bias)).double().eval()


def mlp(*, bias: bool = False) -> nn.Module:
    layers = [
        nn.Linear(5, 7, bias=bias),
        nn.ReLU(),
        nn.Linear(7, 6, bias=bias),
        nn.ReLU(),
        nn.Linear(6, 3, bias=bias),
    ]
    torch.manual_seed(0)
    return nn.Sequential(*layers).double()


class Functional(nn.Module):
    """The operations between layers, as functions and methods, in one net without biases."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.right = nn.Conv2d(2, 3, 1, bias=False)
        self.fc = nn.Linear(6 * 16, 8, bias=False)
        self.head = nn.Linear(8, 3, bias=False)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        left, right = functional.relu(self.left(x)), torch.relu_(self.right(x))
        both = torch.cat([left, right], dim=1)
        both = functional.avg_pool2d(functional.max_pool2d(both, 2), 1)
        flat = functional.dropout(both.view(len(x), -1), training=self.training)
        hidden = functional.leaky_relu(self.fc(flat))
        return self.head((hidden + hidden * 0.5).reshape(-1, 8))


class ReadBeside(nn.Module):
    """A layer whose output a ReLU reads, and something else before it; or the same with the layer called for each."""

    def __init__(self, relu: Callable[[Tensor], Tensor], *, norm: bool, twice: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.last = nn.Linear(8, 3)
        self.relu, self.twice = relu, twice

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(self.first(x))
        beside = 0.5 * (self.norm(self.first(x)) if self.twice else z)
        return self.last(self.relu(z) + beside)


def read_beside(relu: Callable[[Tensor], Tensor], *, rule: Rule, norm: bool) -> tuple[Tensor, Tensor]:
    """Return the relevance of such a network's inputs, and what it must be: rules are linear in what comes back."""
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(2)).double()
    nets = [with_statistics(ReadBeside(relu, norm=norm, twice=twice)).double().eval() for twice in (False, True)]
    once, twice = (LRP({nn.Linear: rule, nn.BatchNorm1d: rule})(net, x, 1).values for net in nets)
    return once, twice


class Lambda(nn.Module):
    """A function of the module itself and its input."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)
