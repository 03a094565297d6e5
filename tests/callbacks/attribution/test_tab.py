"""What an attribution monitor writes for the Explain tab, against the probe and the explanation that it is of."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch

from lightning_explain import Display, Probe
from lightning_explain.callbacks.attribution.tab import (
    MOST_LETTERS,
    MOST_SAMPLES,
    attribution_tab,
    log_attribution_tab,
    probe_tab,
    shown_samples,
)
from lightning_explain.render.shown_inputs import shown_inputs
from tests.callbacks.attribution.small_comparisons import (
    SCORES,
    VALUES,
    NotingJournal,
    attribution,
    explanation,
    moved,
    small_probe,
)
from tests.render.pictures import tiles_of

IMAGES = torch.rand(4, 1, 6, 5, generator=torch.Generator().manual_seed(0))


def images(**changes: Any) -> Probe:
    return small_probe(inputs=IMAGES, feature_names=(), **changes)


@pytest.mark.parametrize("n_samples", [1, MOST_SAMPLES, MOST_SAMPLES + 1, 5000])
def test_samples_are_spread_over_a_large_probe(n_samples: int) -> None:
    rows = shown_samples(n_samples)
    assert len(rows) == min(n_samples, MOST_SAMPLES) and len(set(rows)) == len(rows) and rows == sorted(rows)
    assert (rows[0], rows[-1]) == (0, n_samples - 1)
    gaps = {b - a for a, b in itertools.pairwise(rows)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_a_probe_of_a_table_gives_its_numbers_and_names() -> None:
    probe = small_probe()
    header, sprite = probe_tab(probe)
    assert json.loads(json.dumps(header)) == header and sprite is None
    assert (header["form"], header["layout"], header["n_samples"]) == ("table", "bars", 4)
    assert header["features"] == ["a", "b", "c"]
    torch.testing.assert_close(torch.tensor(header["inputs"]), probe.parts[0], rtol=0.01, atol=0)
    assert header["labels"] == [0, 0, 1, 1] and header["class_names"] == {"0": "cat", "1": "dog"}
    assert header["probe"] == probe.fingerprint


def test_a_probe_of_images_gives_a_tile_for_each_sample() -> None:
    header, sprite = probe_tab(images())
    assert sprite is not None and header["tile"] == sprite.tile and header["size"] == [6, 5]
    height, width = sprite.tile
    tiles = tiles_of(sprite.picture, 4, height, width)
    greys = (IMAGES[:, 0] - IMAGES.min()) / (IMAGES.max() - IMAGES.min())
    np.testing.assert_allclose(tiles[..., 0] / 255, greys, atol=8 / 255)  # 18 levels


def test_a_probe_that_has_no_picture_is_described_all_the_same() -> None:
    header, sprite = probe_tab(small_probe(inputs=torch.rand(4, 2, 3, 3, 3), feature_names=(), targets=None))
    assert sprite is None and header["form"] is None and header["layout"] is None
    assert header["labels"] is None and header["class_names"] == {} and header["samples"] == [0, 1, 2, 3]


def test_an_explanation_gives_a_tile_for_each_method_and_sample() -> None:
    first, second = torch.zeros(4, 1, 6, 5), torch.zeros(4, 1, 6, 5)
    for row in range(4):
        first[row, 0, row, 0], second[row, 0, row, 4] = 2.0, -5.0
    methods = {"IG": attribution(first, error=torch.tensor([0.1, 0.2, 0.3, 0.4])), "IxG": attribution(second)}
    header, sprite = attribution_tab(images(), explanation(**methods), {}, methods)
    assert sprite is not None
    height, width = sprite.tile
    tiles = tiles_of(sprite.picture, 8, height, width)
    names = [(entry["name"], entry["first_tile"], entry["error"]) for entry in header["methods"]]
    assert names == [("IG", 0, pytest.approx([0.1, 0.2, 0.3, 0.4])), ("IxG", 4, None)]
    assert [list(entry["scales"]) for entry in header["methods"]] == [[2.0] * 4, [5.0] * 4]
    for number, tile in enumerate(tiles):
        rows, columns = (tile != tile[5, 2]).any(-1).nonzero()
        assert (rows.tolist(), columns.tolist()) == ([number % 4], [0 if number < 4 else 4])
    assert header["curve"]["full_colour"].keys() == {"IG", "IxG"} and header["curve"]["method"] == "IG"


def test_predictions_are_classes_with_their_confidence_or_outputs() -> None:
    header, _ = attribution_tab(small_probe(), explanation(), {}, {"IG": attribution()})
    assert header["predicted"] == [0, 1, 1, 1]
    expected = torch.softmax(SCORES, 1).amax(1).tolist()
    assert header["confidence"] == pytest.approx(expected, abs=1e-3)
    assert header["unit"] == "logits" and header["class_names"] == {"0": "cat", "1": "dog"}
    single = explanation(scores=torch.tensor([[0.5], [1.5], [-2.0], [0.25]]), IG=attribution(target=None))
    header, _ = attribution_tab(small_probe(), single, {}, single.attributions)
    assert header["outputs"] == [0.5, 1.5, -2.0, 0.25] and header["unit"] == "output" and "predicted" not in header


def test_of_classes_that_do_not_exclude_each_other_each_has_its_own_probability() -> None:
    targets = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    header, _ = attribution_tab(small_probe(targets=targets), explanation(), {}, {"IG": attribution()})
    explained = SCORES.gather(1, torch.tensor([[0], [0], [1], [1]]))[:, 0]
    assert header["outputs"] == pytest.approx(torch.sigmoid(explained).tolist(), abs=1e-3)


def test_the_curve_has_the_drift_in_all_and_by_class() -> None:
    now = attribution(coarse=VALUES + 0.1)
    drift = moved(now, attribution(VALUES.flip(0), coarse=VALUES.flip(0) - 0.1))
    header, _ = attribution_tab(small_probe(), explanation(IG=now), {"previous": drift}, {"IG": now})
    assert "method" not in header["curve"]  # there is only one
    curve = header["curve"]["drift"]["previous"]
    assert curve["measure"] == "cosine" and curve["all"] == [drift.mean("cosine"), drift.error("cosine")]
    dogs = torch.tensor([False, False, True, True])
    assert curve["classes"]["1"] == [drift.mean("cosine", dogs), drift.error("cosine", dogs)]
    without, _ = attribution_tab(small_probe(targets=None), explanation(IG=now), {"previous": drift}, {"IG": now})
    assert without["curve"]["drift"]["previous"]["classes"] == {}


def test_units_of_a_layer_stand_beside_no_image() -> None:
    units, maps = attribution(torch.rand(4, 7)), attribution(torch.rand(4, 1, 6, 5))
    header, sprite = attribution_tab(images(), explanation(IG=maps), {}, {"units": units, "IG": maps})
    assert [entry["name"] for entry in header["methods"]] == ["IG"] and sprite is not None
    alone, sprite = attribution_tab(images(), explanation(IG=units), {}, {"units": units})
    assert sprite is None and alone["form"] is None and alone["methods"][0]["scales"] == []


def write(journal: NotingJournal, probe: Probe, **changes: Any) -> None:
    found = explanation(IG=attribution())
    given: dict[str, Any] = {
        "epoch": 2,
        "count": 5,
        "methods": {"IG in full": found.attributions["IG"]},
        "inputs": shown_inputs(probe),
        "caveat": "It restarts.",
    }
    log_attribution_tab(journal, "m", probe, found, {}, **given | changes)


def test_the_probe_and_the_explanation_are_written_at_their_step() -> None:
    journal = NotingJournal(step=20)
    write(journal, small_probe(), alert="x" * 10_000)
    assert list(journal.events) == [("probe", ""), ("tab", "")]
    header, sprite = journal.events["tab", ""]
    assert sprite is None  # a table's attributions are read, so they travel as numbers
    assert header["methods"][0]["values"]
    assert [header[key] for key in ("name", "step", "epoch", "count", "caveat")] == ["m", 20, 2, 5, "It restarts."]
    assert header["curve"]["alert"] == "x" * MOST_LETTERS
    assert header["probe"] == journal.events["probe", ""][0]["probe"]
    quiet = NotingJournal(step=20)
    write(quiet, small_probe())
    assert "alert" not in quiet.events["tab", ""][0]["curve"]


def test_each_of_several_inputs_is_written_for_itself() -> None:
    probe = Probe(inputs=(torch.rand(4, 3), torch.rand(4, 2)), display=Display(input_names=["blood", "scan"]))
    found = explanation(IG=attribution((VALUES, torch.ones(4, 2))))
    journal = NotingJournal()
    write(journal, probe, methods=found.attributions)
    assert set(journal.events) == {(kind, part) for kind in ("probe", "tab") for part in ("blood", "scan")}
    assert journal.events["tab", "scan"][0]["methods"][0]["scales"] == [1.0] * 4
    assert journal.events["tab", "blood"][0]["methods"][0]["scales"] == [2.0, 3.0, 2.0, 4.0]


def test_nothing_is_written_where_no_viewer_has_the_tab() -> None:
    journal = NotingJournal(draws=False)
    write(journal, small_probe())
    assert journal.events == {}
