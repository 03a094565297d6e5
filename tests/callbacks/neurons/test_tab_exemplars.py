"""Exemplars in the event for the Explain tab: tiles of one sprite, few bytes, what is no picture as numbers."""

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from lightning_explain.callbacks.neurons import tab_exemplars
from lightning_explain.callbacks.neurons.tab import neuron_tab
from lightning_explain.callbacks.neurons.tab_exemplars import TabUnits, exemplar_tab
from lightning_explain.exemplars import LayerExemplars
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.log.png import png_bytes
from lightning_explain.render.sprites import STEPS, ZERO
from tests.callbacks.neurons.small_reports import layer, profile, report
from tests.tensorboard_explain.unit_logs import card, cards, drawn, exemplar, picture_card


def test_tiles_lie_where_the_header_says() -> None:
    found = {"a": {unit: picture_card(unit, 20) for unit in range(5)}, "b": {7: picture_card(7, 0)}}
    fields, sprite = exemplar_tab(found, drawn)
    assert sprite is not None
    json.dumps(fields, allow_nan=False)
    a, b = fields["a"], fields["b"]
    assert a["tile"] == b["tile"] == [2, 3] and (a["top"], b["top"], a["heat_top"], b["heat_top"]) == (0, 4, 6, 10)
    shown = a["units"][4]["shown"]
    assert [one["tile"] for one in shown] == [8, 9] and a["units"][4]["unit"] == 4
    # tile 8 is the first of the second row of 8
    assert sprite[2, 0].tolist() == [255] * 3 and sprite[2, 1].tolist() == [0] * 3
    assert sprite[a["heat_top"] + 2, :3, 0].tolist() == [ZERO + STEPS, ZERO, ZERO]
    assert shown[0]["heat_scale"] == 2.0 and shown[0]["label"] == 0 and shown[1]["value"] == 2.0
    assert sprite[b["top"], 0].tolist() == [128] * 3


def test_words_windows_and_features_are_numbers() -> None:
    fields, _ = exemplar_tab(cards(0), drawn)
    (text,), (wave,), (table,) = (fields[name]["units"][0]["shown"] for name in ("text", "wave", "table"))
    assert text["words"][0] == "good" and text["values"] == [2.0, -2.0, 0.0]
    assert len(wave["inputs"]) == tab_exemplars.MOST_NUMBERS and len(wave["values"]) == tab_exemplars.MOST_NUMBERS
    assert wave["inputs"][0] == pytest.approx(torch.sin(torch.arange(3.0)).mean().item(), abs=1e-3)
    assert (table["words"][0], table["words"][2], table["values"]) == ("age = 0.1", "dose", [2.0, -2.0, 0.0])


def test_crops_are_written_once_and_later_events_refer_to_them() -> None:
    units, made = TabUnits(), {"fc": {3: picture_card(3, 0)}}
    found = layer_exemplars()
    assert units.fields(report(), step=0) == ({}, {}, None)
    units.know({}, pytest.fail)
    units.know(made, lambda: {"fc": ("conv", "bn"), "other": ("linear",)})
    units.know(made, pytest.fail)
    fields, header, picture = units.fields(report(cards=made, layers={"fc": layer(exemplars=found)}), step=3)
    assert fields["fc"]["of"] == ["conv", "bn"] and fields["other"] == {"of": ["linear"]}
    (unit,) = fields["fc"]["exemplars"]["units"]
    assert (unit["unit"], unit["purity"], unit["stayed"], unit["settled"]) == (3, 1.0, 0.5, 2)
    assert header == {} and picture is not None
    fields, header, picture = units.fields(report(cards=made), step=4)
    assert "exemplars" not in fields["fc"] and header == {"exemplars_step": 3} and picture is None
    assert units.fields(report(cards={"fc": {3: picture_card(3, 0)}}), step=5)[2] is not None


def layer_exemplars() -> LayerExemplars:
    numbers = torch.arange(8).reshape(4, 2)
    return LayerExemplars(
        samples=numbers,
        values=numbers.float(),
        labels=torch.tensor([[0, 1], [1, 1], [-1, -1], [1, 1]]),
        positions=torch.zeros(4, 2, 0, dtype=torch.long),
        shape=(),
        by="activation",
        epoch=3,
        stayed=torch.full((4,), 0.5),
        settled=torch.full((4,), 2),
    )


def test_the_event_tells_the_classes_of_all_exemplars_and_names_them() -> None:
    found = report(layers={"fc": layer(exemplars=layer_exemplars())})
    header = neuron_tab({"fc": profile()}, {}, ["cat", "dog"], turnover={}, feeding={}, reports=found.layers)
    assert header["layers"][0]["exemplar_labels"] == [[0, 1], [1, 1], [-1, -1], [1, 1]]
    rare = {"fc": {"exemplars": {"units": [{"shown": [{"label": 7}, {"label": -1}]}]}}}
    header = neuron_tab({"fc": profile()}, {}, ["cat", "dog"], turnover={}, feeding={}, more=rare)
    assert header["class_names"] == {"0": "cat", "1": "dog", "7": "7"}


def test_units_are_chosen_layer_by_layer_in_turn_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"a": {unit: picture_card(unit, 0) for unit in range(5)}, "b": {7: picture_card(7, 0)}, "c": {}}

    def chosen() -> dict[str, list[int]]:
        return {name: [u["unit"] for u in field["units"]] for name, field in exemplar_tab(found, drawn)[0].items()}

    monkeypatch.setattr(tab_exemplars, "MOST_UNITS", 4)
    assert chosen() == {"a": [0, 1, 2], "b": [7]}
    monkeypatch.setattr(tab_exemplars, "MOST_PIXELS", 2 * 2 * (6 + 6))
    assert chosen() == {"a": [0], "b": [7]}
    assert exemplar_tab({}, drawn) == ({}, None)


def test_photographs_of_many_units_take_few_bytes() -> None:
    photographs = [torch.tensor(image).permute(2, 0, 1) for image in load_sample_images().images]
    generator = torch.Generator().manual_seed(0)

    def one(i: int) -> Exemplar:
        top, left = (int(torch.randint(0, size, (1,), generator=generator)) for size in (360, 570))
        noise = torch.randn(8, 8, generator=generator)
        heat = torch.nn.functional.interpolate(noise[None, None], size=(64, 64), mode="bilinear")[0, 0]
        return exemplar(i, 0, 1.0, photographs[i % 2][:, top : top + 64, left : left + 64], heat)

    def crops(of: UnitCard) -> list[np.ndarray]:
        return [one.crop.permute(1, 2, 0).numpy() for one in of.exemplars]

    cards_of = {unit: card(unit, *(one(i) for i in range(4))) for unit in range(16)}
    fields, sprite = exemplar_tab({f"layer{i}": cards_of for i in range(3)}, crops)
    assert sprite is not None and len(np.unique(sprite.reshape(-1, 3), axis=0)) <= 256
    n_units = sum(len(field["units"]) for field in fields.values())
    n_bytes = len(png_bytes(sprite)) + len(json.dumps(fields))
    assert n_units == 11 and n_bytes < 40_000, n_bytes
