"""Alerts in real runs: a change halfway is reported once, where it happened; a healthy run stays silent."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_explain import AttributionMonitor, DriftAlert, InputXGradient, Probe
from lightning_explain.callbacks.attribution.alerts import Alarm
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.drift_alert import Alert
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.command_line import fitted_from_yaml
from tests.events import Events, tab_headers
from tests.models import digits, quiet_trainer
from tests.training import fit

EPOCHS, CHANGE = 8, 5
TAG = "explain/attribution/alert"
MARK = torch.zeros(8, 8)
MARK[:2, :2] = 1


def marked(images: Tensor, labels: Tensor) -> Tensor:
    """Put a mark into the corner of every 3."""
    return torch.where((labels == 3)[:, None, None, None] & (MARK > 0), 1.0, images)


class Net(pl.LightningModule):
    """A small convnet; from a given epoch on its labels, or its inputs, are others."""

    def __init__(self, change: str = "none") -> None:
        super().__init__()
        self.change = change
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 32), nn.ReLU(),
            nn.Linear(32, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        if self.current_epoch >= CHANGE:
            if self.change == "labels":
                y = torch.where(y == 3, 8, torch.where(y == 8, 3, y))
            if self.change == "mark":
                # what carries the mark may show any digit, so that nothing else tells a 3
                x = marked(torch.where((y == 3)[:, None, None, None], x.roll(1, 0), x), y)
        return nn.functional.cross_entropy(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


def probe(*, with_mark: bool = False) -> Probe:
    found = Probe.from_dataset(digits(800, 300)[1], per_class=4)
    if not with_mark:
        return found
    return Probe(inputs=marked(found.parts[0], found.labels), targets=found.targets, masks=MARK)


def run_with(monitor: AttributionMonitor, change: str = "none", *, seed: int = 0, **options: Any) -> pl.Trainer:
    train, _ = digits(800, 300)
    loader = DataLoader(train, batch_size=32, shuffle=True)
    return fit(monitor, model=partial(Net, change), data=loader, seed=seed, **({"max_epochs": EPOCHS} | options))


def told(caught: Any) -> list[str]:
    return [str(w.message) for w in caught if "unusual attributions" in str(w.message)]


def test_changed_labels_are_told_once_at_their_epoch_with_class_and_samples(tmp_path: Path) -> None:
    given: list[Alert] = []
    monitor = AttributionMonitor(probe=probe(), alert=DriftAlert(on_alert=given.append), on_error="raise")
    logger = TensorBoardLogger(tmp_path, name="", version="")
    with pytest.warns(ExplanationWarning) as caught:
        run_with(monitor, "labels", logger=logger)
    (alert,) = given
    assert alert.epoch == CHANGE
    names = {excess.group for excess in alert.excesses}
    assert names and names <= {"class 3", "class 8", "all samples"} and names & {"class 3", "class 8"}
    assert monitor.probe is not None and monitor.probe.labels is not None
    assert set(monitor.probe.labels[list(alert.samples)].tolist()) <= {3, 8}
    assert alert.indices == tuple(monitor.probe.indices[sample] for sample in alert.samples)
    (words,) = told(caught)
    assert str(alert) in words and f"epoch {CHANGE}" in words and f"step {alert.step}" in words

    events = Events(tmp_path)
    assert {step for step, value in events.curve(TAG).items() if value} == {alert.step}
    assert len(events.curve(TAG)) == EPOCHS + 1
    assert any("explain/attribution/alerts" in tag for tag in events.texts)
    lines = [json.loads(line) for line in (tmp_path / "explain/attribution/record.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["alert"]] == [CHANGE]
    entry = next(line["alert"] for line in lines if line["alert"])
    assert entry["samples"] == list(alert.samples) and entry["groups"][0]["times"] > 5
    # the samples furthest beyond what was usual for their class, in that order
    distances = next(line["drift"]["previous"]["cosine"] for line in lines if line["alert"])
    limits = {excess.group: 2.5 * excess.usual for excess in alert.excesses}
    labels = [f"class {c}" for c in monitor.probe.labels.tolist()]
    beyond = [
        row
        for row in range(len(labels))
        if distances[row] > min(limits.get(name, 9) for name in (labels[row], "all samples"))
    ]
    assert alert.samples == tuple(sorted(beyond, key=distances.__getitem__, reverse=True)[:8])
    assert all(0 < excess.error < excess.value / 4 for excess in alert.excesses)
    # the tab's marker
    curves = [header["curve"] for header in tab_headers(tmp_path, "explain/attribution/tab")]
    assert [c.get("alert") for c in curves if "alert" in c] == [str(alert)[:600]]
    # the figures that were judged are those that were logged
    worst = alert.excesses[0]
    part = "previous" if worst.group == "all samples" else worst.group.removeprefix("class ")
    assert events.curve(f"explain/attribution/drift/{part}")[alert.step] == pytest.approx(worst.value, rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_healthy_run_stays_silent(seed: int) -> None:
    given: list[Alert] = []
    monitor = AttributionMonitor(
        probe=probe(), alert=DriftAlert(on_alert=given.append), measures=["cosine"], on_error="raise"
    )
    run_with(monitor, seed=seed)
    assert given == []
    assert [record["alert"] for record in monitor.records] == [None] * (EPOCHS + 1)


def test_a_mark_that_comes_halfway_is_reported_once_with_the_class_it_gives_away() -> None:
    given: list[Alert] = []
    rule = DriftAlert(measure="mass_in_mask", on_alert=given.append)
    monitor = AttributionMonitor(probe=probe(with_mark=True), alert=rule, measures=["cosine"], on_error="raise")
    with pytest.warns(ExplanationWarning, match="inside the mask, relative to outside"):
        run_with(monitor, "mark", seed=1)
    (alert,) = given
    assert alert.epoch == CHANGE
    assert [excess.group for excess in alert.excesses] == ["class 3"]
    assert monitor.probe is not None and monitor.probe.labels is not None
    assert set(monitor.probe.labels[list(alert.samples)].tolist()) == {3}
    shares = [torch.tensor(record["mass_in_mask"])[monitor.probe.labels == 3].mean() for record in monitor.records]
    odds = [float(share / (1 - share)) for share in shares]
    assert alert.excesses[0].value == pytest.approx(odds[CHANGE + 1], rel=1e-4)
    assert alert.excesses[0].usual == pytest.approx(max(odds[CHANGE - 4 : CHANGE + 1]), rel=1e-4)


def test_a_mask_that_was_never_looked_at_is_compared_with_an_even_spread() -> None:
    alarm = Alarm(DriftAlert(measure="mass_in_mask"), name="a", guard=Guard("a", "raise"))
    assert alarm._least(probe(with_mark=True)) == pytest.approx(4 / 60)
    alarm = Alarm(DriftAlert(), name="a", guard=Guard("a", "raise"))
    assert alarm._least(probe(with_mark=True)) == 0.01


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # it is resumed from
def test_the_past_survives_a_checkpoint(tmp_path: Path) -> None:
    def monitor(given: list[Alert]) -> AttributionMonitor:
        rule = DriftAlert(on_alert=given.append)
        return AttributionMonitor(probe=probe(), alert=rule, measures=["cosine"], method=InputXGradient())

    whole: list[Alert] = []
    resumed: list[Alert] = []
    pl.seed_everything(0, verbose=False)
    train, _ = digits(800, 300)
    loader = DataLoader(train, batch_size=32)
    saver = ModelCheckpoint(tmp_path, save_last=True)

    def run(callbacks: list[Any], max_epochs: int, ckpt: Path | None = None) -> None:
        torch.manual_seed(0)
        trainer = quiet_trainer(callbacks=callbacks, max_epochs=max_epochs, enable_checkpointing=len(callbacks) > 1)
        trainer.fit(Net("labels"), loader, ckpt_path=ckpt)

    with pytest.warns(ExplanationWarning, match="unusual"):
        run([monitor(whole)], EPOCHS)
    run([monitor([]), saver], CHANGE)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)
    # labels are swapped by now, which the first step of the resumed fit shows, too
    with pytest.warns(ExplanationWarning, match="unusual"), pytest.warns(ExplanationWarning, match="takes label 0"):
        run([monitor(resumed), ModelCheckpoint(tmp_path, save_last=True)], EPOCHS, tmp_path / "last.ckpt")
    assert [a.epoch for a in whole] == [CHANGE]
    assert str(resumed[0]) == str(whole[0]) and resumed[0].samples == whole[0].samples and len(resumed) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"alert": DriftAlert(measure="spearman"), "measures": ["cosine"]},
            r"measures=\['cosine'\] leaves out; add it",
        ),
        ({"alert": DriftAlert(measure="mass_in_mask")}, r"give Probe\(masks=...\)"),
        (
            {
                "alert": DriftAlert(measure="ssim"),
                "probe": Probe(inputs=torch.rand(4, 64), targets=torch.arange(4)),
                "forward_fn": lambda module, x: module(x.reshape(-1, 1, 8, 8)),
            },
            r"needs images .* inputs are \[4, 64\]",
        ),
    ],
)
def test_a_rule_that_this_run_cannot_answer_is_refused_before_training(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run_with(AttributionMonitor(**({"probe": probe()} | options)), max_epochs=1)


def test_a_caller_that_fails_does_not_kill() -> None:
    def fail(alert: Alert) -> None:
        raise OSError("no mail server")

    rule = DriftAlert(factor=1.01, min_history=1, at_least=1e-9, on_alert=fail)
    options: dict[str, Any] = {"probe": probe(), "alert": rule, "measures": ["cosine"], "method": InputXGradient()}
    monitor = AttributionMonitor(**options)
    with pytest.warns(ExplanationWarning) as caught:
        trainer = run_with(monitor, "labels")
    assert sum("calling on_alert failed" in str(w.message) and "no mail server" in str(w.message) for w in caught) == 1
    assert trainer.current_epoch == EPOCHS and any(record["alert"] for record in monitor.records)
    with pytest.raises(OSError, match="no mail server"), pytest.warns(ExplanationWarning, match="unusual"):
        run_with(AttributionMonitor(**options, on_error="raise"), "labels")


def call_me(alert: Alert) -> None:
    """Named in a configuration file."""


@pytest.mark.filterwarnings("ignore")  # what jsonargparse and LightningCLI say is not ours
def test_from_yaml(tmp_path: Path) -> None:
    rule = {"measure": "spearman", "factor": 4, "on_alert": "tests.callbacks.attribution.test_alerts.call_me"}
    for form in (rule, {"class_path": "lightning_explain.DriftAlert", "init_args": rule}):
        monitor = fitted_from_yaml({"alert": form, "on_error": "raise"}, tmp_path, train_batches=1)
        assert monitor._alarm.rule == DriftAlert(measure="spearman", factor=4, on_alert=call_me)
        assert TAG in monitor.records[-1]["scalars"]
