"""One output for two classes: pictures, tab and report say that red raises it, whatever a sample's class."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lightning_explain.render.modalities.table as features
import lightning_explain.render.page_layout as page
from lightning_explain import AttributionMonitor, DecisionPathMonitor
from lightning_explain.callbacks.attribution.captions import captions
from lightning_explain.callbacks.paths.images import _output_lines, _title
from lightning_explain.report.layouts import _scale
from tests.events import tab_headers
from tests.modalities import fit_kind

CLASSES = ["malignant", "benign"]


def loss(scores: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(scores[:, 0], y.float())


def data(*shape: int) -> TensorDataset:
    x = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x.flatten(1)[:, 0] > 0).long())


def net(n_inputs: int, n_outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, n_outputs))


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pictures say of their colours."""
    said: list[str] = []

    def told(unit: str, _say: Any = page.sign_words) -> tuple[str, str]:
        said.append(unit)
        return _say(unit)

    monkeypatch.setattr(page, "sign_words", told)
    monkeypatch.setattr(features, "sign_words", told)
    return said


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8), (2, 40)])
@pytest.mark.parametrize(("n_outputs", "unit"), [(1, "output"), (2, "logits")])
def test_every_picture_says_what_its_colours_mean(
    shape: tuple[int, ...], n_outputs: int, unit: str, words: list[str], tmp_path: Path
) -> None:
    monitor = AttributionMonitor(class_names=CLASSES, on_error="raise")
    n_inputs = int(torch.tensor(shape).prod())
    how = loss if n_outputs == 1 else functional.cross_entropy
    events = fit_kind(net(n_inputs, n_outputs), data(*shape), monitor, tmp_path, epochs=1, loss=how)
    assert {"explain/attribution/heatmaps", "explain/attribution/filmstrip"} <= set(events.images)
    assert set(words) == {unit}
    headers = tab_headers(tmp_path / "run" / "version_0", "explain/attribution/tab")
    assert {header["unit"] for header in headers} == {unit}


def test_captions_name_the_class_and_the_output(tmp_path: Path) -> None:
    monitor = AttributionMonitor(class_names=CLASSES, on_error="raise")
    fit_kind(net(6), data(6), monitor, tmp_path, epochs=1, loss=loss)
    assert monitor.latest is not None and monitor.probe is not None
    said = captions(monitor.probe, monitor.latest)
    value = float(monitor.latest.scores[0, 0])
    assert said[0] == f"malignant: {value:.3g}" and said[-1].startswith("benign: ")


def test_paths_of_a_class_lead_to_the_output(tmp_path: Path) -> None:
    monitor = DecisionPathMonitor(class_names=CLASSES, on_error="raise")
    fit_kind(net(6), data(6), monitor, tmp_path, epochs=1, loss=loss)
    assert monitor.latest is not None
    found = monitor.latest.classes[0]
    assert not found.group.has_output and [c.group.name for c in monitor.latest.classes] == CLASSES
    title = _title(found.graph, found.group, (0, 1), ", now", "LRP")
    assert title.startswith("What makes the output for samples of class malignant, now")
    assert "Red raises the output, blue lowers it" in title and "speaks for" not in title
    assert _output_lines(monitor.latest, found.group, found.graph, (0,))[0] == "output"
    assert found.graph.of_layer(found.graph.layers[-1])[0].label == "output"


@pytest.mark.parametrize(("unit", "said"), [("output", "raises it"), ("logits", "for the class")])
def test_the_report_says_so_too(unit: str, said: str) -> None:
    from lightning_explain.report.filmstrip import ReportFilm

    assert said in str(_scale(ReportFilm("IG", [], 1.0, unit)))
