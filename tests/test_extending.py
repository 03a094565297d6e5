"""A sink, a neuron metric or a picture that a contributor adds is one entry of a table, and arrives everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, IntegratedGradients
from lightning_explain.callbacks.neurons.metrics import LAYER_PICTURES
from lightning_explain.log.choice import SINKS
from lightning_explain.neurons import LayerProfile
from lightning_explain.render.colour import Picture
from lightning_explain.report.command import run
from tests.training import fit, logged_fit


@dataclass
class Shelf:
    """A sink that keeps what it is given."""

    images: dict[str, Picture] = field(default_factory=dict[str, Picture])
    records: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict[str, list[Mapping[str, Any]]])
    texts: dict[str, str] = field(default_factory=dict[str, str])

    def image(self, tag: str, picture: Picture, step: int, description: str = "") -> None:
        self.images[tag] = picture

    def text(self, tag: str, markdown: str, step: int) -> None:
        self.texts[tag] = markdown

    def record(self, tag: str, record: Mapping[str, Any], step: int) -> None:
        self.records.setdefault(tag, []).append(record)

    def layout(self, charts: Mapping[str, list[str]]) -> None: ...

    def tab(self, tag: str, header: Mapping[str, Any], sprite: Picture | None, step: int, *, once: bool) -> None: ...


class ShelfLogger(CSVLogger):
    pass


def test_a_sink_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    monkeypatch.setitem(SINKS, "ShelfLogger", lambda logger: shelf)
    attribution = AttributionMonitor(method=IntegratedGradients(n_steps=4), on_error="raise")
    monitors = [ActiveNeuronMonitor(on_error="raise"), attribution, DecisionPathMonitor(on_error="raise")]
    fit(monitors, logger=ShelfLogger(tmp_path), max_epochs=1)
    assert {"explain/attribution/heatmaps", "explain/neurons/head.1/rates", "explain/path/3"} <= set(shelf.images)
    assert {"explain/attribution/record", "explain/neurons/record", "explain/path/record"} <= set(shelf.records)
    assert "explain/neurons/head.1/features" in shelf.texts


def test_a_neuron_metric_is_an_entry_of_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scalars = LayerProfile.scalars
    monkeypatch.setattr(LayerProfile, "scalars", lambda profile: scalars(profile) | {"half_hearted": 0.625})
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise")
    _, events = logged_fit(monitor, tmp_path, max_epochs=2)
    assert set(events.curve("explain/neurons/head.1/half_hearted").values()) == {0.625}
    assert monitor.records[-1]["scalars"]["explain/neurons/head.1/half_hearted"] == 0.625
    header = events.blob("explain/neurons/tab")
    assert all(layer["metrics"]["half_hearted"] == 0.625 for layer in header["layers"])
    assert all(layer["half_hearted"] == 0.625 for layer in header["curve"]["layers"].values())
    page = tmp_path / "page.html"
    assert run([tmp_path], output=page, version="1") == 0
    assert "half hearted" in page.read_text()
    assert "62.5 %" in page.read_text()


def test_a_picture_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    green = np.zeros((3, 5, 3), np.uint8) + np.array([0, 200, 0], np.uint8)
    monkeypatch.setitem(LAYER_PICTURES, "green", lambda layer, found, report: green if layer == "head.1" else None)
    _, events = logged_fit(ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise"), tmp_path, max_epochs=1)
    assert np.array_equal(events.picture("explain/neurons/head.1/green"), green)
    assert "explain/neurons/body.2/green" not in events.images
