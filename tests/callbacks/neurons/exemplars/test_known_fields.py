"""Receptive fields of several layers come from the same passes, and are those of each layer alone."""

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.callbacks.neurons.exemplars.known_fields import KnownFields
from lightning_explain.capture import Layer
from lightning_explain.exemplars import receptive_field
from tests.exemplars.followed_layers import followed_layers


class Counted(nn.Module):
    """Three convolutions, and how often they ran."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, stride=2), nn.ReLU()]
        self.body = nn.Sequential(*convolutions, nn.Conv2d(3, 2, 2), nn.ReLU())
        self.n_passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_passes += 1
        return self.body(x)


def watched(net: Counted, x: Tensor) -> dict[str, Layer]:
    return {layer.name: layer for layer in followed_layers(net, x)}


def boxes(known: KnownFields, net: Counted, layers: dict[str, Layer], key: str, x: Tensor) -> list[object]:
    return [*known.boxes((x,), 0, (-2, -1), net, layers, key, [0, 3])]


def test_all_layers_share_the_passes_of_one() -> None:
    torch.manual_seed(0)
    net, x = Counted().eval(), torch.rand(2, 1, 9, 9)
    layers = watched(net, x)
    assert len(layers) >= 3
    alone = {key: boxes(KnownFields(), net, {key: layers[key]}, key, x) for key in layers}
    assert len({str(found) for found in alone.values()}) == len(layers)
    known, net.n_passes = KnownFields(), 0
    first, *others = layers
    assert boxes(known, net, layers, first, x) == alone[first]
    n_passes = net.n_passes
    assert {key: boxes(known, net, layers, key, x) for key in others} == {key: alone[key] for key in others}
    assert net.n_passes == n_passes
    known.clear()
    boxes(known, net, layers, first, x)
    assert net.n_passes == 2 * n_passes


def test_layers_that_do_not_fit_are_tried_when_their_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net, x = Counted().eval(), torch.rand(2, 1, 9, 9)
    layers = watched(net, x)
    alone = {key: boxes(KnownFields(), net, {key: layers[key]}, key, x) for key in layers}
    monkeypatch.setattr(receptive_field, "MOST_TOGETHER", 1)
    known, n_passes = KnownFields(), []
    for key in layers:
        net.n_passes = 0
        assert boxes(known, net, layers, key, x) == alone[key]
        n_passes.append(net.n_passes)
    assert min(n_passes) > 4


class Demanding(nn.Module):
    """Takes a sample only if it begins with a mark."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        if not bool((x[:, 0, 0, 0] == 1).all()):
            raise ValueError("no mark")
        return self.body(x)


def test_samples_are_whole_where_the_model_takes_none_with_a_part_replaced() -> None:
    net, x = Demanding().eval(), torch.rand(2, 1, 6, 7)
    x[:, 0, 0, 0] = 1
    layers = {layer.name: layer for layer in followed_layers(net, x)}
    known = KnownFields()
    for _ in range(2):
        found = known.boxes((x,), 0, (-2, -1), net, layers, next(iter(layers)), [0, 3])
        assert found == [((0, 6), (0, 7))] * 2
        assert "shown whole" in known.refusal and "ValueError: no mark" in known.refusal
