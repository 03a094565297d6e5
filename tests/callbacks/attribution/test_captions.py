"""What speaks against reading an explanation is said in the log and in the words of the picture."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import TensorDataset

from lightning_explain import (
    ActiveNeuronMonitor,
    Attribution,
    AttributionMonitor,
    DecisionPathMonitor,
    InputXGradient,
    IntegratedGradients,
    Probe,
)
from lightning_explain.callbacks.attribution import images as attribution_pictures
from lightning_explain.callbacks.neurons import metrics as neuron_report
from lightning_explain.callbacks.paths import images as path_pictures
from lightning_explain.errors import ExplanationWarning
from lightning_explain.render.modality import Annotations
from tests.reliability.small import SmallNet, fit_small, loaders, zeros_and_ones
from tests.reliability.wholeness import _event_records

DRAWN = (
    (attribution_pictures, "explanation_picture"),
    (attribution_pictures, "film_picture"),
    (neuron_report, "rates_picture"),
    (path_pictures, "path_picture"),
)


class Watched:
    """A run that was watched: what it warned of, what its pictures, texts, records and tab events say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.titles: list[str] = []
        self.captions: list[str] = []

    def go(self, monitor: Any, model: Any = None, data: Any = None, max_epochs: int = 1) -> "Watched":
        logger = TensorBoardLogger(self.folder, name="run", version="")
        torch.manual_seed(2)
        fit_small(model or SmallNet(), data or loaders(), callbacks=[monitor], logger=logger, max_epochs=max_epochs)
        logger.experiment.close()
        values = [
            value
            for path in self.folder.rglob("*tfevents*")
            for event in _event_records(path.read_bytes())
            for value in event.summary.value
        ]
        kinds = [(value, value.metadata.plugin_data.plugin_name) for value in values]
        self.texts = [value.tensor.string_val[0].decode() for value, kind in kinds if kind == "text"]
        self.tab = [json.loads(value.tensor.string_val[0]) for value, kind in kinds if kind == "explain"]
        self.images = [value.tag for value, kind in kinds if kind == "images"]
        (record,) = self.folder.rglob("record.jsonl")
        self.records = [json.loads(line) for line in record.read_text().splitlines()]
        return self

    def said(self, words: str) -> bool:
        return any(words in title for title in self.titles) and any(words in text for text in self.texts)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    run = Watched(tmp_path)

    def listening(draw: Any) -> Any:
        def drawn(*args: Any, **kwargs: Any) -> Any:
            words = next((vars(part) for part in args if isinstance(part, Annotations)), kwargs)
            run.titles.append(words["title"])
            run.captions += [] if words.get("column_names") else words.get("captions", [])  # films have none
            return draw(*args, **kwargs)

        return drawn

    for owner, name in DRAWN:
        monkeypatch.setattr(owner, name, listening(getattr(owner, name)))
    notice = neuron_report.notice_picture

    def noticed(words: str) -> Any:
        run.titles.append(words)
        return notice(words)

    monkeypatch.setattr(neuron_report, "notice_picture", noticed)
    return run


def test_a_layer_that_never_fires(watched: Watched) -> None:
    class Unused(SmallNet):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(3, 3)

    with pytest.warns(ExplanationWarning, match="never fired: spare.*Watch another layer"):
        watched.go(ActiveNeuronMonitor(layers=["head.1", "spare"], feeding=0, maps=0), Unused())
    assert watched.said("never fired: spare") and "explain/neurons/spare/rates" in watched.images
    assert watched.records[0]["never_fired"] == ["spare"] and watched.tab[0]["never_fired"] == ["spare"]
    assert any("Never fired, and not shown: spare" in title for title in watched.titles)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_compiled_model_into_which_hooks_cannot_see(watched: Watched) -> None:
    model = SmallNet()
    # torch.compile looks again when hooks come; a traced module has none for ever
    model.head = torch.jit.trace(model.head, torch.rand(16, 32), check_trace=False)
    with pytest.warns(ExplanationWarning, match="head.1.*compiled or traced region, into which hooks cannot see"):
        watched.go(ActiveNeuronMonitor(layers=["frozen.2", "head.1"], feeding=0, maps=0, exemplars=0), model)
    assert watched.said("never fired: head.1") and watched.records[0]["never_fired"] == ["head.1"]


def test_saturated_activity(watched: Watched) -> None:
    class Saturated(SmallNet):
        def forward(self, x: Any) -> Any:
            return self.head[3](self.head[1](self.head[0](self.body(self.frozen(x))).abs() + 1))

    watched.go(ActiveNeuronMonitor(layers="head.1", feeding=0, maps=0), Saturated())
    assert watched.said("Saturated: nearly every neuron is active for nearly every sample")
    assert watched.records[0]["layers"]["head.1"]["saturated"] and watched.tab[0]["layers"][0]["saturated"]


def test_nothing_is_said_of_a_layer_that_is_well(watched: Watched) -> None:
    watched.go(ActiveNeuronMonitor(layers="head.1", feeding=0, maps=0))
    assert not watched.texts and not any("Saturated" in title or "NaN" in title for title in watched.titles)
    assert not watched.records[0]["layers"]["head.1"]["saturated"]


def test_a_drift_below_its_error(watched: Watched) -> None:
    class Still(SmallNet):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=1e-9)

    calls = itertools.count()

    def unsure(model: Any, inputs: Any, target: Any = None) -> Attribution:
        found = InputXGradient()(model, inputs, target)
        noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(next(calls)))
        return replace(found, coarse=found.values * (1 + 0.1 * noise))

    watched.go(AttributionMonitor(method=unsure), Still())
    assert any("below its own error: not distinguishable from no change" in title for title in watched.titles)
    assert any("below its error" in text for text in watched.texts)
    assert watched.records[-1]["drift_below_error"] == ["previous", "first"]
    value, error = watched.tab[-1]["curve"]["drift"]["previous"]["all"]
    assert value < error


def test_a_gap_above_the_tolerance(watched: Watched) -> None:
    watched.go(AttributionMonitor(method=IntegratedGradients(n_steps=1, tolerance=1e-4)))
    rows = watched.records[-1]["missed_tolerance"]
    n_samples = len(watched.records[-1]["labels"])
    assert rows and watched.said(f"{len(rows)} of {n_samples} samples miss the tolerance of 0 %")
    assert [row for row, caption in enumerate(watched.captions[-n_samples:]) if caption.startswith("? ")] == rows


def state_of(kind: Any, data: Any = None, **options: Any) -> Any:
    monitor = kind(**options)
    torch.manual_seed(2)
    fit_small(SmallNet(), data or loaders(), callbacks=[monitor], max_epochs=1)
    return monitor.state_dict()


X, Y = zeros_and_ones()[1].tensors
OWN = {
    AttributionMonitor: {"method": InputXGradient()},
    DecisionPathMonitor: {"n_units": 4, "n_paths": 2},
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probe": Probe(inputs=X[:4], targets=Y[:4])}, "Restarts: the checkpoint was written with another probe."),
        (
            {"explained": "predicted"},
            "Restarts: the checkpoint was written with explained='label' (now 'predicted').",
        ),
    ],
)
def test_another_probe_or_target(watched: Watched, kind: Any, change: dict[str, Any], words: str) -> None:
    monitor = kind(**OWN[kind] | change)
    monitor.load_state_dict(state_of(kind, **OWN[kind]))
    watched.titles.clear()
    with pytest.warns(ExplanationWarning, match="restarts"):
        watched.go(monitor)
    assert watched.said(words) and watched.records[0]["caveat"] == words
    assert any(header.get("caveat") == words for header in watched.tab)


@pytest.mark.parametrize("kind", OWN)
def test_validation_data_that_changed_since_the_checkpoint(watched: Watched, kind: Any) -> None:
    monitor = kind(**OWN[kind])
    monitor.load_state_dict(state_of(kind, **OWN[kind]))
    watched.titles.clear()
    with pytest.warns(ExplanationWarning, match="the validation data have changed since"):
        watched.go(monitor, data=loaders(val=TensorDataset(1 - X, Y)), max_epochs=2)
    assert watched.said("The probe is that of the checkpoint; the validation data have changed since")


@pytest.mark.parametrize("kind", OWN)
def test_the_same_validation_data_raise_no_doubt(watched: Watched, kind: Any) -> None:
    monitor = kind(**OWN[kind])
    monitor.load_state_dict(state_of(kind, **OWN[kind]))
    watched.go(monitor, max_epochs=2)
    assert watched.records[-1]["caveat"] == ""


@pytest.mark.parametrize("kind", OWN)
def test_a_probe_whose_samples_change(watched: Watched, kind: Any) -> None:
    class Meddling(SmallNet):
        def on_train_epoch_start(self) -> None:
            monitor.probe.inputs.mul_(0.5)

    monitor = kind(**OWN[kind])
    with pytest.warns(ExplanationWarning, match="samples of the probe have changed since the explanation before"):
        watched.go(monitor, Meddling())
    assert watched.said("Restarts: the samples of the probe have changed since the explanation before.")


def test_neurons_counted_by_another_rule(watched: Watched) -> None:
    own: dict[str, Any] = {"layers": "head.1", "feeding": 0, "maps": 0}
    monitor = ActiveNeuronMonitor(**own, min_rate=0.9)
    monitor.load_state_dict(state_of(ActiveNeuronMonitor, **own))
    watched.titles.clear()
    with pytest.warns(ExplanationWarning, match=r"min_rate=0.5 \(now 0.9\), so turnover restarts"):
        watched.go(monitor)
    assert watched.said("Restarts: the checkpoint was written with min_rate=0.5 (now 0.9).")
