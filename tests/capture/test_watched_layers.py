"""Which layers are watched, and which of their dimensions counts neurons."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain.capture import CallUse, Layer, select_layers
from lightning_explain.errors import ConfigurationError
from tests.capture.nets import Functional


def names(model: nn.Module, layers: Any = None) -> list[str]:
    return [layer.name for layer in select_layers(model, layers)]


def dims(model: nn.Module) -> dict[str, int | None]:
    return {layer.name: layer.unit_dim for layer in select_layers(model, "*")}


def test_by_default_the_activation_modules_are_watched() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 3), nn.PReLU(), nn.Linear(3, 2))
    assert names(net) == ["1", "3"]


def test_without_activation_modules_all_layers_that_feed_one_but_the_last_are_watched() -> None:
    assert names(Functional()) == ["conv", "norm", "hidden"]
    assert names(nn.Sequential(nn.Flatten(), nn.Linear(2, 2))) == ["1"]


@pytest.mark.parametrize("net", [nn.Sequential(nn.Flatten()), nn.Identity(), nn.Linear(2, 2), nn.ReLU()])
def test_a_model_without_a_layer_to_watch_is_refused(net: nn.Module) -> None:
    with pytest.raises(ConfigurationError, match=f"{type(net).__name__} has no layer to watch.*layers="):
        select_layers(net)


def test_no_layers_asked_for_are_refused_too() -> None:
    with pytest.raises(ConfigurationError, match="no layer to watch"):
        select_layers(Functional(), [])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("hidden", ["hidden"]),
        ("h*", ["hidden", "head"]),
        (["head", "conv"], ["conv", "head"]),
        (["h*", "hidden", "head"], ["hidden", "head"]),
        ("*", ["conv", "norm", "hidden", "head"]),
        ("[ch]o*", ["conv"]),
    ],
)
def test_names_and_globs_give_layers_in_the_order_of_the_model(asked: Any, found: list[str]) -> None:
    assert names(Functional(), asked) == found


def test_a_glob_reaches_into_containers() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    assert names(net, "*.1") == ["0.1", "1.1"]


def test_the_layers_are_the_modules_themselves() -> None:
    net = Functional()
    assert select_layers(net, "conv") == [Layer("conv", net.conv, 1)]


@pytest.mark.parametrize(("asked", "hint"), [("hiden", "'hidden'"), ("Conv", "'conv'"), (["conv", "heads"], "'head'")])
def test_an_unknown_name_is_refused_with_the_nearest_one(asked: Any, hint: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        select_layers(Functional(), asked)
    message = str(refusal.value)
    assert f"Did you mean {hint}" in message
    assert "conv, norm, hidden, head" in message


def test_a_glob_that_matches_nothing_is_refused_without_far_fetched_hints() -> None:
    with pytest.raises(ConfigurationError, match="matches no module") as refusal:
        select_layers(Functional(), ["conv", "zzzzz*"])
    assert "Did you mean" not in str(refusal.value)


def test_a_long_list_of_modules_is_cut_off() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        select_layers(nn.Sequential(*(nn.ReLU() for _ in range(60))), "none")
    assert "39, ..." in str(refusal.value)


def test_only_layers_whose_type_says_it_are_known_to_hold_units_in_one_dimension() -> None:
    net = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.ReLU(), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(8, 4), nn.LayerNorm(4),
        nn.GroupNorm(1, 4), nn.Tanh(), nn.LSTM(4, 4),
    )  # fmt: skip
    assert list(dims(net).values()) == [1, None, 1, None, -1, -1, 1, None, -1]


def test_the_layout_of_a_call_is_that_which_was_found_out_or_that_of_the_type() -> None:
    maps, flat = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3)
    conv, relu = Layer("c", nn.Conv2d(1, 1, 1), 1), Layer("r", nn.ReLU(), None)
    assert conv.layout_of(maps, "c") == ("b", "u", "p", "p")
    assert relu.layout_of(maps, "r") is None and relu.layout_of(flat, "r") == ("b", "u")
    last, first = CallUse(("b", "p", "p", "u")), CallUse(("b", "u", "p", "p"))
    seen = replace(relu, calls=(last, first))
    assert seen.layout_of(maps, "r") == last.layout and seen.layout_of(maps, "r#1") == first.layout
    # a third call like neither: nothing tells; like both, if those are alike
    assert seen.layout_of(maps, "r#2") is None
    assert replace(relu, calls=(last, last)).layout_of(maps, "r#2") == last.layout
    # of another number of dimensions than was seen
    assert seen.layout_of(maps[..., 0], "r") is None
