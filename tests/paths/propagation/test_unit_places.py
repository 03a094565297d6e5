"""Layers of units, their names, and the elements of each unit."""

import pytest
import torch
from torch import nn

from lightning_explain.attribution import LRP, Epsilon
from lightning_explain.paths import contributions
from lightning_explain.paths.propagation.samples import sample_rows
from lightning_explain.paths.propagation.unit_places import LayerUnits, unit_places
from tests.paths.by_hand import Recurrent, Transformer, seeded
from tests.paths.propagation.cut_nets import Function, gradients_of, walked


def units_of(net: nn.Module, x: torch.Tensor) -> list[LayerUnits]:
    way = walked(net, x)
    gradients = gradients_of(way)
    return unit_places(way, gradients, sample_rows(way, gradients), keep_positions=False)


def test_layers_of_a_transformer_are_heads_and_neurons_in_blocks():
    found = units_of(seeded(Transformer()), torch.rand(2, 3, 2).double())
    assert [(u.name, u.kind, u.n_units, u.block) for u in found] == [
        ("blocks.0", "heads", 2, "blocks.0"), ("blocks.0.up", "neurons", 5, "blocks.0"),
        ("blocks.1", "heads", 2, "blocks.1"), ("blocks.1.up", "neurons", 3, "blocks.1"),
    ]  # fmt: skip


def test_states_are_numbered_by_step_from_the_beginning_of_the_sequence():
    both = nn.LSTM(2, 3, batch_first=True, bidirectional=True)
    net = Function(lambda n, x: n.a(both(x)[0].mean(1)), (6, 2))
    assert [u.name for u in units_of(net, torch.randn(2, 3, 2))] == [
        "recurrent.l0 step 0", "recurrent.l0 step 1", "recurrent.l0 step 2",
        "recurrent.l0_reverse step 2", "recurrent.l0_reverse step 1", "recurrent.l0_reverse step 0",
    ]  # fmt: skip
    assert {u.block for u in units_of(seeded(Recurrent()), torch.rand(2, 4, 2).double())} == {"lstm.l0"}


class Heads(nn.Module):
    """Attention written in several ways: [samples, heads, ...], merged, behind the tokens, as an einsum."""

    def __init__(self, form: str, n_heads: int = 2) -> None:
        super().__init__()
        self.form, self.n_heads = form, n_heads
        self.qkv, self.out, self.head = nn.Linear(4, 12), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.n_heads, -1).unbind(2)
        if self.form == "einsum":
            weights = torch.einsum("bqhd,bkhd->bhqk", q, k).softmax(-1)
            mixed = torch.einsum("bhqk,bkhd->bqhd", weights, v).reshape(b, t, 4)
        elif self.form == "merged":
            q, k, v = (part.transpose(1, 2).reshape(b * self.n_heads, t, -1) for part in (q, k, v))
            mixed = torch.bmm(torch.bmm(q, k.mT).softmax(-1), v)
            mixed = mixed.view(b, self.n_heads, t, -1).transpose(1, 2).reshape(b, t, 4)
        elif self.form == "heads first":
            q, k, v = (part.permute(2, 0, 1, 3) for part in (q, k, v))
            mixed = ((q @ k.mT).softmax(-1) @ v).permute(1, 2, 0, 3).reshape(b, t, 4)
        else:
            q, k, v = (part.transpose(1, 2) for part in (q, k, v))
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).reshape(b, t, 4)
        return self.head(self.out(mixed).mean(1))


@pytest.mark.parametrize("form", ["einsum", "merged", "heads first", "fused"])
def test_heads_are_told_by_what_they_become_however_they_are_arranged(form):
    # as many samples as heads and tokens: sizes say nothing
    net, x = seeded(Heads(form)), torch.rand(2, 2, 4).double()
    graph = contributions(net, x, 1, rules=Epsilon(0.0))[0]
    (layer,) = [layer for layer in graph.layers if layer.kind == "heads"]
    read = {}
    handle = net.out.register_forward_pre_hook(lambda m, args: read.update(x=args[0].detach()))
    relevance = LRP(Epsilon(0.0), attention="cp").layer_relevance(net, x, 1, layers=["out"])["out"]
    handle.remove()
    gradient = net.out.weight.T @ (net.head.weight[1] / 2)
    expected = (read["x"][0] * gradient).unflatten(-1, (2, 2)).sum((0, 2)).detach()
    torch.testing.assert_close(torch.tensor(layer.contribution), expected)
    assert relevance.shape == (2, 2, 4)


def test_one_head_within_windows_is_no_two():
    class Windows(Heads):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            windows = x.view(-1, 2, 4)
            q, k, v = self.qkv(windows).chunk(3, -1)
            mixed = (q @ k.mT).softmax(-1) @ v
            return self.head(self.out(mixed).view(len(x), -1, 4).mean(1))

    found = units_of(seeded(Windows("")), torch.rand(3, 6, 4).double())
    assert [u.n_units for u in found if u.kind == "heads"] == [1]


def test_sums_by_unit_and_masks_of_units_are_about_the_same_elements():
    units = next(u for u in units_of(seeded(Transformer()), torch.rand(3, 3, 2).double()) if u.kind == "heads")
    value = torch.rand(3, 2, 3, 2).double()
    torch.testing.assert_close(units.summed({units.places[0]: value}), value.sum((2, 3)))
    members = torch.tensor([[True, False], [False, False], [True, True]])
    torch.testing.assert_close(units.only(value, members), value * members[:, :, None, None])


def test_the_layer_of_scores_has_units_only_if_several_make_up_the_score():
    net = Function(lambda n, x: n.b(n.a(x).relu()), (3, 4), (4, 2))
    assert [u.name for u in units_of(net, torch.rand(2, 3) + 1)] == ["a"]
    margin = Function(lambda n, x: n.b(n.a(x).relu()) @ torch.tensor([1.0, -1.0]).to(x), (3, 4), (4, 2))
    graph = contributions(margin.double(), torch.rand(1, 3).double(), rules=Epsilon(0.0))[0]
    assert [layer.name for layer in graph.layers] == ["input", "a", "b", "output"]
    assert graph.layers[2].contribution.sum() == pytest.approx(graph.output)
