"""Metrics, notes and tables of a neuron report, against values computed by hand."""

import dataclasses
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain.callbacks.neurons import metrics
from lightning_explain.callbacks.neurons.layer_report import LayerReport
from lightning_explain.callbacks.neurons.metrics import (
    MOST_CURVES,
    doubts,
    feeding_table,
    gap_scalars,
    layer_doubts,
    layer_scalars,
    log_feeding,
    log_pictures,
    log_silent,
    report_scalars,
)
from lightning_explain.log import Journal
from lightning_explain.neurons import LayerHistory
from tests.callbacks.neurons.small_reports import RATES, feeding, layer, profile, report
from tests.events import Events
from tests.log.loggers import FakeTrainer


def test_shares_of_neurons_go_by_layer_and_prefix() -> None:
    found = layer_scalars("neurons", {"body.0": profile()}, "train")
    assert found == {
        "explain/neurons/train/body.0/dead": 0.25,
        "explain/neurons/train/body.0/dormant": 0.25,
        "explain/neurons/train/body.0/always_on": 0.25,
        "explain/neurons/train/body.0/exclusive": 0.5,
        "explain/neurons/train/body.0/selectivity": pytest.approx((0 + 0.5 + 0.8) / 3),
        "explain/neurons/train/body.0/overlap": pytest.approx(1 / 3),
    }


def test_turnover_is_logged_once_there_is_a_report_before() -> None:
    assert "explain/n/fc/turnover" not in report_scalars("n", report())
    before = LayerHistory.begin(profile(), 2)
    now = profile(torch.tensor([[1.0, 0.0, 0.0, 0.9], [1.0, 0.2, 0.0, 0.9]]))
    found = report_scalars("n", report(layers={"fc": LayerReport(now, before.after(now, 3))}))
    # of class 0 one of three stays, class 1 is as it was
    assert found["explain/n/fc/turnover"] == pytest.approx((2 / 3 + 0) / 2)


def test_the_first_classes_get_curves_of_their_scores() -> None:
    names = [f"class/{c}" for c in range(MOST_CURVES + 2)]
    found = report_scalars("n", report(class_names=names, scores={"f1": [c / 1000 for c in range(len(names))]}))
    curves = {key: value for key, value in found.items() if key.startswith("explain/n/f1/")}
    assert len(curves) == MOST_CURVES
    assert curves["explain/n/f1/class_7"] == 0.007


def test_gaps_are_mean_absolute_differences_of_layers_that_both_stages_have() -> None:
    found = gap_scalars("n", {"fc": profile(RATES / 2)}, {"fc": profile(), "other": profile()})
    assert found == {"explain/n/fc/gap": pytest.approx(float(RATES.mean()) / 2)}


def test_doubts_name_the_layers_and_what_to_do() -> None:
    saturated = profile(torch.ones(2, 4))
    odd = profile(magnitude=torch.tensor([1.0, float("nan"), 0.0, float("inf")]))
    assert layer_doubts(profile()) == ""
    assert "threshold= or min_fraction=" in layer_doubts(saturated)
    assert layer_doubts(odd).startswith("2 of 4 neurons gave NaN or infinity")
    assert doubts(report()) == ""
    lines = doubts(
        report(layers={"fc": layer(), "act": layer(saturated)}, silent=["gone"], caveat="It restarts.")
    ).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["- act", "- these watched layers never fired", "- Turnover"]
    assert "gone (in validation)" in lines[1] and lines[2].endswith("It restarts.")


def test_the_table_of_features_tells_signs_rates_and_names() -> None:
    found = report(feature_names=["age", "dose|x", "sex"], layers={"fc": layer(feeding=feeding())})
    table = feeding_table(found, "fc").splitlines()
    assert "Layer fc after epoch 3" in table[0] and "2 of 4 pairs" in table[0] and "its weights" in table[0]
    assert table[4] == "| cat | 1 | 60 % of its samples | -2 sex, +0.5 age |"
    assert table[5].startswith("| dog | 3 | 90 % of its samples | +1.25 ") and table[5].count(" | ") == 3
    assert "age" not in table[5]  # of value 0
    assert feeding_table(report(), "fc") == ""


def test_pictures_are_drawn_of_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = TensorBoardLogger(tmp_path)
    journal = Journal(FakeTrainer([logger]), 3)
    log_pictures(journal, "n", report(layers={"two": layer(), "one": layer(profile(n_samples=(10, 0)))}))
    log_silent(journal, "n", ["gone"], "val")
    log_feeding(journal, "n", report(layers={"two": layer(feeding=feeding()), "one": layer()}), ["two", "one"])
    logger.experiment.flush()
    events = Events(logger.log_dir)
    assert sorted(events.images) == [
        f"explain/n/{part}" for part in ("gone/rates", "one/rates", "two/features", "two/overlaps", "two/rates")
    ]
    assert events.text("explain/n/two/features").count("\n") == 5
    monkeypatch.setattr(metrics, "rates_picture", pytest.fail)
    log_pictures(Journal(FakeTrainer([]), 3), "n", report())


def test_other_layers_of_a_single_class_tell_of_the_most_active() -> None:
    shared = dataclasses.replace(
        feeding(method="IntegratedGradients"), classes=torch.tensor([0, 0]), n_active=torch.tensor([3])
    )
    found = report(class_names=["all samples"], layers={"fc": layer(profile(RATES[:1], (10,)), feeding=shared)})
    head = feeding_table(found, "fc").splitlines()[0]
    assert "that are most active (2 of 3)" in head and "shared out over the input features" in head
