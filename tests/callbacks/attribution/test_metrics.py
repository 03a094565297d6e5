"""Metrics of an explanation by tag, against the numbers that they are made of."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from lightning_explain import Display, Probe
from lightning_explain.callbacks.attribution.metrics import (
    MEASURE_MEANINGS,
    MetricValue,
    drift_metrics,
    method_prefix,
    metrics,
    quality_metrics,
)
from lightning_explain.drift import MEASURES
from tests.callbacks.attribution.small_comparisons import (
    VALUES,
    attribution,
    comparison,
    explanation,
    moved,
    small_probe,
)

REFERENCES = {"previous": "the previous one", "first": "the first one"}


def values_of(found: dict[str, MetricValue]) -> dict[str, float]:
    return {key.removeprefix("explain/m/"): metric.value for key, metric in found.items()}


def test_the_first_methods_tags_stand_under_the_monitors_name() -> None:
    assert method_prefix("m", "IG", "IG") == ("m",) and method_prefix("m", "LRP", "IG") == ("m", "LRP")


def test_drift_is_the_mean_of_the_samples_in_all_and_by_class() -> None:
    before = attribution(torch.roll(VALUES, 1, dims=1))
    drift = moved(attribution(), before, "cosine", "relative_l1")
    found = values_of(drift_metrics(("m",), {"previous": drift, "first": drift}, small_probe(), references=REFERENCES))
    distances = 1 - torch.cosine_similarity(VALUES, before.values)
    assert found["drift/previous"] == found["drift/first"] == pytest.approx(float(distances.mean()), abs=1e-6)
    assert found["drift/cat"] == pytest.approx(float(distances[:2].mean()), abs=1e-6)
    assert found["drift/dog"] == pytest.approx(float(distances[2:].mean()), abs=1e-6)
    assert found["drift_relative_l1/first"] == pytest.approx(drift.mean("relative_l1"))
    assert not any(key.startswith("drift_relative_l1/cat") for key in found)  # classes by the first measure only
    assert all(math.isnan(found[f"{key}_error"]) for key in ("drift/previous", "drift/cat"))  # no coarser rule


def test_every_figure_of_a_drift_has_its_error() -> None:
    noisy = VALUES + 0.1 * torch.tensor([[1.0, -1.0, 1.0]])
    now, before = attribution(coarse=noisy), attribution(VALUES.flip(0), coarse=noisy.flip(0))
    drift = moved(now, before)
    found = values_of(drift_metrics(("m",), {"previous": drift}, small_probe(), references=REFERENCES))
    assert set(found) == {f"drift/{of}{end}" for of in ("previous", "cat", "dog") for end in ("", "_error")}
    cats = torch.tensor([True, True, False, False])
    assert found["drift/previous_error"] == drift.error("cosine") > 0
    assert found["drift/cat_error"] == drift.error("cosine", cats) > 0


def test_classes_are_left_out_without_labels_and_without_an_explanation_before() -> None:
    drift = moved(attribution(), attribution(VALUES.flip(0)))
    regression = small_probe(targets=torch.tensor([0.1, 0.2, 0.3, 0.4]))
    first = drift_metrics(("m",), {"first": drift}, small_probe(), references=REFERENCES)
    assert set(values_of(first)) == {"drift/first", "drift/first_error"}
    without = drift_metrics(("m",), {"previous": drift}, regression, references=REFERENCES)
    assert set(values_of(without)) == {"drift/previous", "drift/previous_error"}


def test_a_class_that_is_called_as_a_reference_or_an_error_keeps_apart() -> None:
    probe = small_probe(class_names=["previous", "first_error"])
    drift = moved(attribution(), attribution(VALUES.flip(0)))
    found = drift_metrics(("m",), {"previous": drift, "first": drift}, probe, references=REFERENCES)
    assert len(found) == 8
    assert found["explain/m/drift/previous"].value == drift.mean("cosine")


def test_the_quality_of_an_explanation() -> None:
    delta = torch.tensor([0.5, -0.5, 0.0, 1.0])
    found = values_of(
        quality_metrics(
            ("m",),
            attribution(
                convergence_delta=delta,
                error=torch.tensor([0.1, 0.3, torch.nan, 0.2]),
                n_evaluations=torch.tensor([8, 8, 16, 16]),
            ),
            small_probe(),
        )
    )
    assert found == pytest.approx(
        {"total_attribution": 4.0, "n_evaluations": 12.0, "convergence_delta": 0.5, "error": 0.2}
    )


def test_what_a_method_does_not_promise_has_no_figure() -> None:
    plain = attribution(convergence_delta=None)
    assert set(values_of(quality_metrics(("m",), plain, small_probe()))) == {"total_attribution", "n_evaluations"}
    shares = torch.tensor([0.1, 0.2, torch.nan, 0.9])
    lost = values_of(
        quality_metrics(("m",), replace(plain, absorbed_share=shares, softmax_share=-shares), small_probe())
    )
    assert lost["absorbed_share"] == pytest.approx(0.2) and lost["softmax_share"] == pytest.approx(-0.2)


def test_the_share_inside_masks_is_of_absolute_attribution() -> None:
    masks = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = values_of(quality_metrics(("m",), attribution(), small_probe(masks=masks)))
    assert found["mass_in_mask"] == pytest.approx((2 / 4 + 1 / 4 + 2 / 4 + 0) / 4)


def test_inputs_share_the_attribution_under_their_names() -> None:
    halves = (VALUES, torch.full((4, 2), 1.0))
    probe = Probe(inputs=(torch.rand(4, 3), torch.rand(4, 2)), display=Display(input_names=["scan", "blood"]))
    found = values_of(quality_metrics(("m",), attribution(values=halves, convergence_delta=None), probe))
    shares = VALUES.abs().sum(1) / (VALUES.abs().sum(1) + 2)
    assert found["input_share/scan"] == pytest.approx(float(shares.mean()))
    assert found["input_share/blood"] == pytest.approx(float((1 - shares).mean()))


def described(found: Any = None, **changes: Any) -> dict[str, MetricValue]:
    return metrics(
        "m",
        comparison(found, **changes),
        small_probe(),
        descriptions={"IG": "IG (baseline: zeros)", "IxG": "IxG *alone*"},
        removal_baseline="blur",
    )


def test_methods_have_tags_of_their_own_and_pairs_their_agreement() -> None:
    both = explanation(IG=attribution(), IxG=attribution(VALUES * 2))
    found = described(both, agreement={("IG", "IxG"): torch.tensor([1.0, 0.5, torch.nan, 0.0])})
    assert found["explain/m/total_attribution"].value == 4.0
    assert found["explain/m/IxG/total_attribution"].value == 8.0
    assert found["explain/m/agreement/IG_vs_IxG"].value == 0.5
    meaning = found["explain/m/IxG/total_attribution"].meaning
    assert meaning.startswith("IxG &#42;alone&#42;: ") and meaning.endswith(".")


def test_faithfulness_names_what_stands_for_a_feature_that_is_gone() -> None:
    measured = {"deletion_auc": torch.tensor([0.2, 0.4]), "max_sensitivity": torch.tensor([1.0, torch.nan])}
    found = described(replace(explanation(), faithfulness={"IG": measured}))
    assert found["explain/m/deletion_auc"].value == pytest.approx(0.3)
    assert "baseline blur" in found["explain/m/deletion_auc"].meaning
    assert found["explain/m/max_sensitivity"].value == 1.0
    assert "blur" not in found["explain/m/max_sensitivity"].meaning


def test_every_measure_of_drift_has_a_meaning() -> None:
    assert set(MEASURE_MEANINGS) == set(MEASURES)
