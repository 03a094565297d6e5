"""The event of a neuron report for the Explain tab: shares as bytes, and what is left out of large layers."""

import base64
import json
import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from lightning_explain.callbacks.neurons import tab
from lightning_explain.callbacks.neurons.tab import log_neuron_tab, neuron_tab, share_bytes
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.log import Journal
from tests.callbacks.neurons.small_reports import RATES, feeding, layer, profile, report
from tests.events import Events
from tests.log.loggers import FakeTrainer


def levels(encoded: str) -> list[int]:
    return list(base64.b64decode(encoded))


@pytest.mark.parametrize("shares", [torch.linspace(0, 1, 101), torch.tensor([-0.2, 1.7, float("nan")])])
def test_a_byte_holds_a_share_to_half_a_step(shares: Tensor) -> None:
    for share, level in zip(shares.tolist(), levels(share_bytes(shares)), strict=True):
        if share != share:
            assert level == tab.UNDEFINED
        else:
            assert abs(level / tab.FULL - min(1, max(0, share))) <= 0.5 / tab.FULL + 1e-6


def test_a_layer_holds_rates_of_the_classes_seen_and_kinds_of_neurons() -> None:
    three = torch.cat([RATES[:1], torch.zeros(1, 4), RATES[1:]])
    header = neuron_tab(
        {"fc": profile(three, (10, 0, 7))},
        {"f1": [0.5, 0.25, 0.123456]},
        ["cat", "cow"],
        turnover={"fc": 0.5},
        feeding={},
    )
    (fc,) = header["layers"]
    assert header["classes"] == [0, 2] and header["n_classes"] == 2 and header["n_samples"] == [10, 7]
    assert header["class_names"] == {"0": "cat", "2": "2"}
    assert header["curve"]["f1"] == {"0": 0.5, "2": 0.1235}
    assert levels(fc["rates"]) == [250, 150, 0, 25, 250, 50, 0, 225]
    assert (fc["dead"], fc["always_on"], fc["exclusive"]) == ([2], [0], [[1, 0], [3, 2]])
    assert fc["overlap"] == pytest.approx(1 / 3) and fc["turnover"] == 0.5 and fc["neurons"] is None
    assert header["curve"]["layers"]["fc"]["dead"] == 0.25
    json.dumps(header, allow_nan=False)


def test_of_a_large_layer_the_neurons_stay_whose_rates_differ_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tab, "MOST_CELLS", 4)
    header = neuron_tab({"fc": profile()}, {}, ["cat", "dog"], turnover={}, feeding={})
    (fc,) = header["layers"]
    assert fc["neurons"] == [1, 3] and levels(fc["rates"]) == [150, 25, 50, 225]
    assert fc["dead"] == [] and fc["n_dead"] == 1 and fc["n_neurons"] == 4


def test_feeding_features_are_grouped_by_neuron_and_class_up_to_a_number() -> None:
    rows = [
        {"class": "cat", "neuron": neuron, "feature": f"x{rank}", "value": 1.23456 / (rank + 1)}
        for neuron in (1, 9)
        for rank in range(tab.MOST_FED + 2)
    ]
    header = neuron_tab({"fc": profile()}, {}, ["cat", "dog"], turnover={}, feeding={"fc": rows})
    ((neuron, name, fed),) = header["layers"][0]["feeding"]  # neuron 9 is not shown
    assert (neuron, name, len(fed)) == (1, "cat", tab.MOST_FED)
    assert fed[:2] == [["x0", 1.23], ["x1", 0.617]]


def test_the_ablation_of_units_is_reported_by_class_with_its_error() -> None:
    effects = UnitEffects(
        units=torch.tensor([3]),
        n_samples=torch.tensor([4, 0]),
        n_correct=torch.tensor([3, 0]),
        lost=torch.tensor([[2, 0]]),
        gained=torch.tensor([[1, 0]]),
        probability=torch.zeros(1, 2),
        probability_error=torch.zeros(1, 2),
    )
    reports = {"fc": layer(effects=effects, effects_epoch=7)}
    header = neuron_tab({"fc": profile()}, {}, ["cat", "dog"], turnover={}, feeding={}, reports=reports)
    assert header["layers"][0]["effects"] == {
        "epoch": 7,
        "classes": [0, 1],
        "n_samples": [4, 0],
        "n_correct": [3, 0],
        "units": [
            [
                3,
                [2, 0],
                [1, 0],
                [pytest.approx(((3 + 1) - 1 / 6) ** 0.5 / 6, abs=1e-3), pytest.approx(math.nan, nan_ok=True)],
            ]
        ],
    }
    assert "effects" not in neuron_tab({"fc": profile()}, {}, [], turnover={}, feeding={})["layers"][0]


def test_the_event_is_written_where_a_tab_reads_it(tmp_path: Path) -> None:
    board, csv = TensorBoardLogger(tmp_path), CSVLogger(tmp_path / "csv")
    found = report(
        feature_names=["age", "dose", "sex"],
        layers={"fc": layer(feeding=feeding())},
        silent=["gone"],
        caveat="It restarts.",
    )
    for logger in (board, csv):
        log_neuron_tab(Journal(FakeTrainer([logger]), 20), "n", found, {"explain/n/fc/turnover": 0.25}, count=2)
    board.experiment.flush()
    header = Events(board.log_dir).blob("explain/n/tab")
    assert (header["name"], header["step"], header["epoch"], header["stage"], header["count"]) == ("n", 20, 3, "val", 2)
    assert header["never_fired"] == ["gone"] and header["caveat"] == "It restarts."
    assert header["layers"][0]["turnover"] == 0.25
    assert header["layers"][0]["feeding"][0] == [1, "cat", [["sex", -2.0], ["age", 0.5]]]
    assert not (tmp_path / "csv").exists()
