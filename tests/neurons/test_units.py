"""Which layers are watched for their units."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.capture import watched
from lightning_explain.neurons.units import unit_layers, unobservable_attention
from tests.neurons.seeing import seen


class HomeMade(nn.Module):
    """An attention as many write it: one layer for all three, one after the heads."""

    def __init__(self, name: str = "proj") -> None:
        super().__init__()
        self.num_heads, self.qkv = 3, nn.Linear(12, 36)
        self.add_module(name, nn.Linear(12, 12))
        self.last = name

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        gathered = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        self.gathered = gathered.detach()
        return self.get_submodule(self.last)(gathered)


class MyAttention(HomeMade):
    pass


def test_heads_of_a_home_made_attention_are_read_before_its_projection() -> None:
    net, x = nn.Sequential(MyAttention(), nn.ReLU()), torch.randn(2, 5, 12)
    found = seen(net, lambda: net(x))
    assert list(found) == ["0", "1"]
    parts = net[0].gathered.split(4, dim=-1)
    for h, part in enumerate(parts):
        torch.testing.assert_close(found["0"].values[..., h].detach(), part.pow(2).sum(-1).sqrt())
    assert unobservable_attention(net) == []
    assert unobservable_attention(nn.Sequential(MyAttention("gather"))) == ["0"]


def test_layers_named_by_the_user_are_counted_as_they_are() -> None:
    net = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 12))
    assert [layer.then for layer in unit_layers(net, "*.linear1")] == [None]
    assert all(layer.then is not None for layer in unit_layers(net) if layer.name.endswith("linear1"))


class Conv1D(nn.Module):
    """A linear layer whose weight is [inputs, outputs], as that of some of transformers' models is."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class NamedAttention(nn.Module):
    """An attention whose layer after the heads has some name, and whose heads are told by it or by a configuration."""

    def __init__(self, name: str, after: nn.Module, *, configured: bool = False) -> None:
        super().__init__()
        self.name, self.qkv = name, nn.Linear(12, 36)
        self.add_module(name, after)
        if configured:
            self.config = SimpleNamespace(num_attention_heads=3)
        else:
            self.num_heads = 3

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        gathered = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.get_submodule(self.name)(gathered)


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize("name", ["out_lin", "dense", "o", "o_proj", "c_proj"])
def test_heads_are_read_before_whatever_layer_takes_them(name: str, configured: bool) -> None:
    after = Conv1D(12, 12) if name == "c_proj" else nn.Linear(12, 12)
    net = nn.Sequential(NamedAttention(name, after, configured=configured), nn.ReLU())
    layers = {layer.name: layer for layer in unit_layers(net)}
    assert layers["0"].module is after and unobservable_attention(net) == []
    with watched([layers["0"]], reduce=lambda call, layer, _key: layer.view(call).values) as recorder:
        recorder.start()
        x = torch.randn(2, 5, 12)
        net(x)
        (norms,) = recorder.stop().values()
    q, k, v = net[0].qkv(x).unflatten(2, (3, 3, 4)).permute(2, 0, 3, 1, 4)
    heads = (q @ k.mT / 2).softmax(-1) @ v
    torch.testing.assert_close(norms, heads.norm(dim=-1).transpose(1, 2).detach())


def test_a_configuration_makes_no_attention_of_a_wrapper_around_one() -> None:
    class WrappingAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config, self.self = SimpleNamespace(num_attention_heads=3), NamedAttention("o", nn.Linear(12, 12))

    block = nn.Module()
    block.attention, block.output = WrappingAttention(), nn.Module()
    block.output.dense = nn.Linear(24, 12)
    assert [layer.name for layer in unit_layers(block)] == ["attention.self"] and unobservable_attention(block) == []
