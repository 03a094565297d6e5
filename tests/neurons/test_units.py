"""Which layers are watched for their units."""

import torch
from torch import Tensor, nn
from torch.nn import functional

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
