"""Record, summary and sentences of an explanation, against hand-made attributions and drifts."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from lightning_explain import IntegratedGradients
from lightning_explain.callbacks.attribution.record import (
    agreement_words,
    alert_record,
    alert_summary,
    below_error,
    charts,
    completeness_gaps,
    missed,
    missed_words,
    record,
    summary,
    trust,
    unexplained_words,
)
from lightning_explain.drift import Drift
from lightning_explain.drift_alert import Alert, Excess
from tests.callbacks.attribution.small_comparisons import (
    METHODS,
    VALUES,
    attribution,
    comparison,
    explanation,
    moved,
    small_probe,
)

STRICT = IntegratedGradients(tolerance=0.1)


class Unsure(Drift):
    """A drift whose error is given."""

    def error(self, measure: str, samples: Any = None) -> float:
        del measure, samples
        return 0.25


def drifted(value: float, kind: type[Drift] = Unsure) -> Drift:
    return kind(values={"cosine": torch.tensor([value, value])}, errors=None)


def test_a_record_is_json_with_the_first_method_on_top() -> None:
    both = explanation(IG=attribution(error=torch.tensor([0.01, 0.02, 0.03, 0.04])), IxG=attribution(2 * VALUES))
    drifts = {"IG": {"previous": moved(both.attributions["IG"], attribution(VALUES.flip(0)))}}
    found = comparison(both, drifts=drifts, agreement={("IG", "IxG"): torch.ones(4)})
    entry = record(found, small_probe(), methods=METHODS, epoch=3)
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["epoch"], entry["labels"]) == (3, ["cat", "cat", "dog", "dog"])
    assert entry["predicted"] == [0, 1, 1, 1] and entry["target"] == [0, 0, 1, 1]
    assert entry["method"] == "IG: IntegratedGradients (baseline: zeros)" and entry["baseline"] == "zeros"
    assert entry["total_attribution"] == [4.0] * 4 and entry["n_evaluations"] == [8] * 4
    assert entry["error"] == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert len(entry["drift"]["previous"]["cosine"]) == 4
    assert entry["agreement"] == {"IG_vs_IxG": [1.0] * 4}
    assert list(entry["methods"]) == ["IxG"] and entry["methods"]["IxG"]["total_attribution"] == [8.0] * 4
    assert entry["inputs"][0]["strongest"][0][0] == ["c", 2.0]


def test_a_first_method_that_failed_is_named_and_the_others_are_recorded() -> None:
    entry = record(comparison(explanation(IxG=attribution())), small_probe(), methods=METHODS, epoch=0)
    assert entry["failed"] and entry["method"].startswith("IG") and list(entry["methods"]) == ["IxG"]
    assert "total_attribution" not in entry


def test_a_single_output_predicts_no_class_and_real_targets_are_no_labels() -> None:
    found = explanation(scores=torch.tensor([0.1, 0.2, 0.3, 0.4]), IG=attribution(target=None))
    entry = record(comparison(found), small_probe(targets=torch.rand(4)), methods=METHODS, epoch=0)
    assert entry["predicted"] is None and entry["labels"] is None and entry["target"] is None


def test_masks_are_recorded_where_there_are_some() -> None:
    masks = torch.tensor([[1.0, 1.0, 0.0]] * 4)
    entry = record(comparison(), small_probe(masks=masks), methods=METHODS, epoch=0)
    assert entry["mass_in_mask"] == pytest.approx([0.5, 0.75, 0.5, 1.0])
    assert "mass_in_mask" not in record(comparison(), small_probe(), methods=METHODS, epoch=0)


def test_gaps_are_relative_to_the_outputs_change() -> None:
    # sums are 2, 4, 0 and 4; without the gap the output changed by 1, 4, 2 and 3
    delta = torch.tensor([1.0, 0.0, -2.0, 1.0])
    gaps = completeness_gaps(attribution(convergence_delta=delta))
    assert gaps is not None and gaps.tolist() == pytest.approx([1.0, 0.0, 1.0, 1 / 3])
    assert completeness_gaps(attribution(convergence_delta=None)) is None


def test_samples_beyond_the_tolerance_are_those_of_a_wide_gap_or_a_large_error() -> None:
    found = attribution(
        convergence_delta=torch.tensor([1.0, 0.0, 0.0, 0.01]), error=torch.tensor([0.0, 0.2, 0.1, torch.nan])
    )
    assert missed(found, STRICT) == [0, 1]
    assert missed_words(found, STRICT) == (
        "2 of 4 samples miss the tolerance of 10 % (worst completeness gap 100.0 %); ? marks them where they have "
        "names."
    )
    assert missed(found, IntegratedGradients(n_steps=8, tolerance=2.0)) == []
    # the third sample's attributions add up to its gap: there was no change that the gap could be a part of
    nothing = attribution(convergence_delta=torch.tensor([torch.nan, 0.0, 0.0, 4.0]))
    assert missed(nothing, STRICT) == [3] and "worst completeness gap over 1,000 %" in missed_words(nothing, STRICT)
    assert missed_words(attribution(), STRICT) == ""
    assert missed(replace(found, convergence_delta=None), STRICT) == []  # nothing was promised


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (None, ""),
        ([0.001, 0.002, 0.5, 0.001], ""),  # the median counts
        ([0.2, 0.3, 0.25, torch.nan], "took 25.0 % of the output"),
        ([-0.2, -0.3, -0.25, 0.0], "took -25.0 % of the output"),
        ([torch.nan] * 4, ""),
    ],
)
def test_what_offsets_took_is_said_where_it_is_much(shares: Any, words: str) -> None:
    found = unexplained_words(attribution(absorbed_share=None if shares is None else torch.tensor(shares)))
    assert (words in found) if words else found == ""


def test_what_softmaxes_lost_is_said_beside_what_offsets_took() -> None:
    half, tenth = torch.tensor([0.5, 0.4, 0.6, 0.5]), torch.tensor([0.1] * 4)
    both = unexplained_words(attribution(absorbed_share=tenth, softmax_share=half))
    assert both.startswith("Offsets (biases, positions, class tokens) took 10.0 % of the output (median). Softmaxes ")
    assert both.endswith("lost 50.0 % of the output (median).")
    assert unexplained_words(attribution(softmax_share=half)).startswith("Softmaxes lost")


def test_a_drift_below_its_error_cannot_be_told_from_no_change() -> None:
    assert below_error(drifted(0.2)) and not below_error(drifted(0.3))
    assert not below_error(drifted(0.0, Drift))  # its error is not known


def test_a_title_tells_error_and_drift() -> None:
    sure = attribution(error=torch.tensor([0.01, 0.03, torch.nan, 0.02]))
    words = trust(sure, {"previous": drifted(0.2), "first": drifted(0.5)}, STRICT)
    assert words == (
        "Estimated error 2.0 % of the attribution (worst 3.0 %). "
        "Drift to previous: 0.200 ± 0.250 (below its own error: not distinguishable from no change). "
        "Drift to first: 0.500 ± 0.250."
    )
    assert trust(attribution(), {"first": drifted(0.5, Drift)}, STRICT) == "Drift to first: 0.500."
    assert trust(attribution(), {}, STRICT) == ""
    assert trust(attribution(error=torch.full((4,), torch.nan)), {}, STRICT) == ""


def test_agreement_is_named_by_pair() -> None:
    agreement = {("IG", "IxG"): torch.tensor([0.5, torch.nan]), ("IG", "LRP"): torch.tensor([-0.25, 0.25])}
    assert agreement_words(comparison(agreement=agreement)) == (
        "Agreement (rank correlation): IG and IxG 0.50, IG and LRP 0.00."
    )
    assert agreement_words(comparison()) == ""


def test_a_summary_has_a_table_for_what_there_is() -> None:
    assert summary(comparison(), METHODS) == ""
    both = explanation(IG=attribution(), IxG=attribution())
    both = replace(both, faithfulness={"IG": {"deletion_auc": torch.tensor([0.25, 0.75])}, "IxG": {}})
    found = comparison(
        both,
        drifts={"IG": {"previous": drifted(0.2), "first": drifted(0.5)}, "IxG": {}},
        agreement={("IG", "IxG"): torch.tensor([0.5, 1.0])},
    )
    words = summary(found, METHODS, "It begins *anew*.")
    assert words.startswith("It begins &#42;anew&#42;.")
    assert "| distance | to previous (error) | to first (error) |\n|---|---|---|" in words
    assert "| cosine | 0.2000 (0.2500, below its error) | 0.5000 (0.2500) |" in words
    assert "| IG and IxG | 0.7500 |" in words and "| deletion_auc | 0.5 |" in words
    assert words.count("| distance |") == words.count("| faithfulness of ") == 1  # of IxG nothing was measured


def test_a_summary_names_the_samples_that_miss_the_tolerance() -> None:
    missing = attribution(convergence_delta=torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert summary(comparison(explanation(IG=missing)), METHODS).startswith("IG: 1 of 4 samples miss the tolerance")


def test_charts_take_the_tags_that_they_name_and_no_others() -> None:
    found = charts("m", METHODS, ["epoch 3"])
    assert found["m: drift against the first explanation, and its error"] == [
        "explain/m/drift/first", "explain/m/drift/first_error",
    ]  # fmt: skip
    assert found["m: drift against epoch 3, and its error"][0] == "explain/m/drift/epoch_3"
    (pattern,) = found["m: drift by class and in all"]
    taken = {"previous", "cat", "firstborn"}
    left = {"first", "previous_error", "cat_error", "epoch_3"}
    for part in taken | left:
        assert bool(re.fullmatch(pattern, f"explain/m/drift/{part}")) == (part in taken), part
    assert found["m: drift against the previous explanation, by method"][1] == "explain/m/IxG/drift/previous"
    assert not any("by method" in title for title in charts("m", {"IG": METHODS["IG"]}))


def test_an_alert_is_recorded_and_written_with_a_row_for_each_group() -> None:
    excess = Excess(group="a|b", value=0.5, usual=0.1, error=0.01)
    alert = Alert(
        monitor="m",
        method="IG",
        measure="cosine",
        excesses=(excess,),
        samples=(1, 3),
        indices=(10, 30),
        epoch=2,
        step=20,
    )
    entry = alert_record(alert)
    assert json.loads(json.dumps(entry)) == entry
    assert entry["groups"] == [{"group": "a|b", "value": 0.5, "usual": 0.1, "error": 0.01, "times": 5.0}]
    assert (entry["samples"], entry["indices"], entry["words"]) == ([1, 3], [10, 30], str(alert))
    last = alert_summary(alert).splitlines()[-1]
    assert last.endswith("| 0.5 | 0.1 | 0.01 | 5.0 |") and "a|b" not in last
