"""Merged batch norm and channels-last: the same explanation, and nothing left behind."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lightning_explain import IntegratedGradients
from lightning_explain.attribution.integrated_gradients.conv_fusion import speed_up_convolutions
from lightning_explain.isolation import explaining

X = torch.rand(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))


def trained(net: nn.Module) -> nn.Module:
    """Give every batch norm weights and statistics that matter."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                if tensor.is_floating_point():
                    low = 0.5 if name in ("weight", "running_var") else -0.5
                    tensor.data.copy_(low + torch.rand(tensor.shape, generator=generator))
    return net


class Residual(nn.Module):
    """Batch norm after a convolution, before one, twice in a row, around a skip connection, reused, functional."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.inner, self.inner_norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.padded = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", groups=2)
        self.padded_norm = nn.BatchNorm2d(4, affine=False)
        self.shared, self.shared_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.strided, self.strided_norm = nn.Conv2d(4, 6, 3, stride=2, dilation=2), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(x + self.inner_norm(self.inner(x)))
        x = torch.relu(self.padded_norm(self.padded(x)))
        x = torch.relu(self.shared_norm(self.shared(x))) + self.shared(x)
        x = torch.relu(self.strided_norm(self.strided(x)))
        return self.head(x.mean((2, 3)))


def replaced(net: nn.Module, inputs: Tensor = X) -> list[str]:
    """Return which modules run another way while they are explained."""
    with explaining(net):
        speed_up_convolutions(net, (inputs,))
        found = [name for name, module in net.named_modules() if "forward" in vars(module)]
    assert not any("forward" in vars(module) for module in net.modules()), "taken away again"
    return found


def test_the_explanation_stays_the_same() -> None:
    net = trained(Residual()).double()
    x, target = X.double(), torch.tensor([0, 1, 2])
    plain = IntegratedGradients(n_steps=5, fast_convolutions=False)(net, x, target)
    fast = IntegratedGradients(n_steps=5)(net, x, target)
    torch.testing.assert_close(fast.values, plain.values, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(fast.convergence_delta, plain.convergence_delta, atol=1e-12, rtol=1e-9)


def test_what_is_replaced() -> None:
    """Not the reused convolution, and so not its norm; not the one that pads in a way of its own."""
    pairs = ["first", "norm", "inner", "inner_norm", "strided", "strided_norm"]
    assert replaced(trained(Residual())) == pairs


def test_a_norm_whose_convolution_is_read_elsewhere_is_found_out() -> None:
    class Tapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return (self.norm(y) * y).sum((2, 3))

    net = trained(Tapped())
    assert replaced(net) == []
    plain = IntegratedGradients(n_steps=5, fast_convolutions=False)(net, X, 1)
    assert torch.equal(plain.parts[0], IntegratedGradients(n_steps=5)(net, X, 1).parts[0])


class Counting(nn.Conv2d):
    """A subclass may do anything in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("kind", ["hook", "pre-hook", "subclass", "parametrized", "patched"])
def test_what_does_more_than_convolve_stays_as_it_is(kind: str) -> None:
    torch.manual_seed(0)
    conv: Any = Counting(2, 3, 3) if kind == "subclass" else nn.Conv2d(2, 3, 3)
    if kind == "hook":
        conv.register_forward_hook(lambda _m, _i, output: 3 * output)
    if kind == "pre-hook":
        conv.register_forward_pre_hook(lambda _m, args: (2 * args[0],))
    if kind == "parametrized":
        conv = parametrizations.weight_norm(conv)
    if kind == "patched":
        conv.forward = lambda x: x[:, :1, 2:, 2:].expand(-1, 3, -1, -1)
    net = trained(nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(147, 2)))
    before = copy.copy(vars(conv))
    fast = IntegratedGradients(n_steps=5)(net, X, 1)
    plain = IntegratedGradients(n_steps=5, fast_convolutions=False)(net, X, 1)
    torch.testing.assert_close(fast.values, plain.values, atol=1e-6, rtol=1e-5)
    assert vars(conv).keys() == before.keys()


def test_running_statistics_that_are_not_kept_are_left_alone() -> None:
    """Such a batch norm uses the batch's own statistics, also in eval mode."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten())
    assert replaced(net) == ["0"]


def test_nothing_is_left_behind_when_the_model_fails() -> None:
    class Failing(Residual):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            type(self).calls += 1
            if type(self).calls >= 3:
                raise OSError("gone")
            return super().forward(x)

    net = trained(Failing())
    with pytest.raises(OSError, match="gone"):
        IntegratedGradients()(net, X, 1)
    assert not any("forward" in vars(module) or module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("inputs", [X[:1], X.half().float()])
def test_weights_and_statistics_stay(inputs: Tensor) -> None:
    net = trained(Residual()).train()
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in net.state_dict().items()}
    IntegratedGradients()(net, inputs, 1)
    for name, tensor in net.state_dict().items():
        assert (tensor.data_ptr(), tensor.stride()) == (before[name][0], before[name][1].stride())
        assert torch.equal(tensor, before[name][1])
