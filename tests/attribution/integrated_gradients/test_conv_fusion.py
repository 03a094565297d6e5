"""Merged batch norm and channels-last: the same explanation, and nothing left behind."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from lightning_explain import IntegratedGradients
from lightning_explain.attribution.integrated_gradients.conv_fusion import fast_convolutions
from lightning_explain.capture.hooks import Hook
from lightning_explain.isolation import explaining

X = torch.rand(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))


def trained(net: nn.Module) -> nn.Module:
    """Give every batch norm weights and statistics that matter."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
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


def merged(net: nn.Module, inputs: Tensor = X) -> list[str]:
    """Return which layers are merged with which norms while they are explained."""
    with explaining(net), fast_convolutions(net, (inputs,)) as fast:
        layers = [
            name for name, module in net.named_modules() if id(getattr(module, "running_mean", None)) in fast.norms
        ]
        before = {name: module for name, module in net.named_modules() if isinstance(module, LAYERS)}
        other = [n for n, m in before.items() if not same(fast.weight_of(m.weight), m.weight)]
    return sorted([*layers, *other])


LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other)


def assert_same_explanation(net: nn.Module, x: Tensor, target: Any, **options: Any) -> None:
    """Compare with the network as a function, in which there are no layers to be found."""
    fast = IntegratedGradients(**options)(net, x, target)
    plain = IntegratedGradients(**options)(partial(net), x, target)
    for one, other in ((fast.values, plain.values), (fast.convergence_delta, plain.convergence_delta)):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
    assert fast.n_evaluations.tolist() == plain.n_evaluations.tolist()


def test_the_explanation_stays_the_same() -> None:
    for options in ({"n_steps": 5}, {"tolerance": 0.02}, {"n_steps": 6, "chunk_size": 4}):
        assert_same_explanation(trained(Residual()).double().eval(), X.double(), torch.tensor([0, 1, 2]), **options)


def test_what_is_merged() -> None:
    """Not the reused convolution, and so not its norm."""
    pairs = ["first", "norm", "inner", "inner_norm", "padded", "padded_norm", "strided", "strided_norm"]
    assert merged(trained(Residual())) == sorted(pairs)


class SamePadding(nn.Conv2d):
    """Convolutions of other libraries pad in their forward and call torch's function themselves."""

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, 1, 1, 1))
        return functional.conv2d(
            input=x, weight=self.weight, bias=self.bias, stride=self.stride, dilation=1, groups=self.groups
        )


class NormAndActivation(nn.BatchNorm2d):
    """Norms of other libraries, too."""

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        return functional.silu(functional.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.1, self.eps))


def flat(*layers: nn.Module) -> nn.Module:
    """End in two scores."""
    return nn.Sequential(*layers, nn.SiLU(), nn.Flatten(), nn.LazyLinear(2))


VOLUME = X[:, None, :, ::2].repeat(1, 2, 1, 1, 1)[..., 0]
KINDS: dict[str, tuple[Any, Tensor]] = {
    "depthwise": (lambda: (nn.Conv2d(2, 6, 3, groups=2), nn.BatchNorm2d(6)), X),
    "grouped": (lambda: (nn.Conv2d(2, 4, 1), nn.SiLU(), nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), X),
    "dilated": (lambda: (nn.Conv2d(2, 4, 3, dilation=2, padding=(0, 2)), nn.BatchNorm2d(4)), X),
    "strided": (lambda: (nn.Conv2d(2, 4, (3, 2), stride=(2, 3), bias=False), nn.BatchNorm2d(4)), X),
    "same": (lambda: (nn.Conv2d(2, 4, 3, padding="same"), nn.BatchNorm2d(4)), X),
    "circular": (lambda: (nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4)), X),
    "not affine": (lambda: (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=False)), X),
    "transposed": (lambda: (nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1), nn.BatchNorm2d(4)), X),
    "transposed, grouped": (lambda: (nn.ConvTranspose2d(2, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)), X),
    "subclasses": (lambda: (SamePadding(2, 4, 3, stride=2), NormAndActivation(4), nn.Conv2d(4, 2, 2)), X),
    "one dimension": (lambda: (nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)), X[..., 0]),
    "three dimensions": (
        lambda: (nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4)),
        VOLUME[..., None].expand(-1, -1, -1, -1, 3),
    ),
    "linear": (lambda: (nn.Flatten(), nn.Linear(162, 5), nn.BatchNorm1d(5)), X),
    "channels last": (lambda: (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), X.to(memory_format=torch.channels_last)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_every_kind_are_merged_to_the_same_explanation(kind: str) -> None:
    layers, x = KINDS[kind]
    torch.manual_seed(0)
    net = flat(*layers())
    net(x)
    net = trained(net).double().eval()
    names = merged(net, x.double())
    assert (
        sum(
            "BatchNorm" in type(net.get_submodule(n)).__name__ or "Norm" in type(net.get_submodule(n)).__name__
            for n in names
        )
        == 1
    )
    assert len(names) == 2
    for options in ({"n_steps": 5}, {"tolerance": 0.01}):
        assert_same_explanation(net, x.double(), 1, **options)


def test_a_dense_layer_over_tokens_keeps_its_norm() -> None:
    """There the norm's channels are tokens, also where there are as many of them as features."""
    torch.manual_seed(0)
    net = trained(flat(nn.Linear(9, 5), nn.BatchNorm1d(5)))
    x = X[:, :1, :5, :].flatten(1, 2)
    net(x)
    net = net.double().eval()
    assert merged(net, x.double()) == []
    assert_same_explanation(net, x.double(), 1, n_steps=5)


def test_a_norm_whose_convolution_is_read_elsewhere_is_found_out() -> None:
    class Tapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return (self.norm(y) * y).sum((2, 3))

    net = trained(Tapped())
    assert merged(net) == []
    assert_same_explanation(net.double().eval(), X.double(), 1, n_steps=5)


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


def small() -> nn.Module:
    torch.manual_seed(0)
    return trained(nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3)), nn.BatchNorm2d(3), nn.SiLU(), nn.Flatten()))


@pytest.mark.parametrize("name", ["0.0", "0", "1"])
def test_what_a_hook_sees_is_not_merged(name: str) -> None:
    """Whether it looks at the layer, at what holds it, or at the norm's input."""
    net, seen, expected = small(), list[Tensor](), list[Tensor]()
    net.get_submodule(name).register_forward_hook(lambda _m, args, output: seen.append(output.detach()))
    assert merged(net) == []
    with torch.no_grad():
        expected.append(net.eval().get_submodule(name)(net[0](X) if name == "1" else X))
    seen.clear()
    IntegratedGradients(n_steps=2)(net, X, 1)
    assert any(same(one, expected[0]) for one in seen if one.shape == expected[0].shape)


def test_recorders_are_paused_and_so_in_nobodys_way() -> None:
    net = small()
    net[0][0].register_forward_hook(Hook(lambda output: None))
    assert merged(net) == ["0.0", "1"]
    net[0][0].register_forward_hook(Hook(lambda output: None, in_explanations=True))
    assert merged(net) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
def test_coarse_numbers_are_not_merged(dtype: torch.dtype) -> None:
    net = small().to(dtype)
    assert merged(net, X.to(dtype)) == []


def test_norms_in_other_numbers_than_their_layer_are_not_merged() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 3).double(), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(x.double()).float()).mean((2, 3))

    net = trained(Mixed())
    assert merged(net) == []


def test_a_layer_that_is_run_again_in_the_backward_pass() -> None:
    class Checkpointed(Residual):
        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(super().forward, x, use_reentrant=False)

    net = trained(Checkpointed()).double().eval()
    assert "norm" in merged(net, X.double())
    assert_same_explanation(net, X.double(), 1, n_steps=4)


def test_a_layer_that_another_module_calls() -> None:
    class Borrowing(Residual):
        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(functional.conv2d(x, self.first.weight, padding=1))
            return self.head(self.strided_norm(self.strided(functional.silu(x))).mean((2, 3)))

    net = trained(Borrowing()).double().eval()
    assert merged(net, X.double()) == ["first", "norm", "strided", "strided_norm"]
    assert_same_explanation(net, X.double(), 1, n_steps=4)


def test_a_model_that_differentiates_by_transforms_of_functions_stays_as_it_is() -> None:
    """They refuse functions with a gradient of their own."""

    class Transformed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.func.vmap(lambda one: self.conv(one[None])[0].square().mean((1, 2)))(x)

    net = Transformed().double().eval()
    assert_same_explanation(net, X.double(), 1, n_steps=3)


def test_running_statistics_that_are_not_kept_are_left_alone() -> None:
    """Such a batch norm uses the batch's own statistics, also in eval mode."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten())
    assert merged(net) == []


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
