"""Contrasts in real runs: fixed at the first explanation, named in titles, captions, record and tab."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_explain import LRP, AttributionMonitor, InputXGradient, IntegratedGradients, Probe
from lightning_explain.attribution import as_method
from lightning_explain.attribution.contrast import with_contrast
from lightning_explain.callbacks.attribution import images
from lightning_explain.errors import ConfigurationError
from tests.command_line import fitted_from_yaml
from tests.models import DigitData
from tests.training import explanation_warnings, fit, logged_fit

NAMES = [f"digit {c}" for c in range(10)]


def probe(**options: Any) -> Probe:
    return Probe.from_dataset(DigitData().val, per_class=1, class_names=NAMES, **options)


def plain(model: Any, inputs: Any, target: Any = None) -> Any:
    return InputXGradient()(model, inputs, target)


def test_the_contrast_of_the_first_explanation_stays_and_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    said: list[dict[str, Any]] = []
    annotations = images.Annotations

    def noted(**words: Any) -> Any:
        said.append(words)
        return annotations(**words)

    monkeypatch.setattr(images, "Annotations", noted)
    methods = [InputXGradient(contrast="strongest"), LRP(), as_method(plain, contrast="strongest")]
    monitor = AttributionMonitor(method=methods, probe=probe(), faithfulness=["deletion"], on_error="raise")
    trainer, _ = logged_fit(monitor, tmp_path, max_epochs=2)
    first, last = monitor.records[0], monitor.records[-1]
    assert len(monitor.records) == 3
    assert first["contrast"] == last["contrast"] == last["methods"]["plain"]["contrast"]
    assert last["methods"]["LRP"]["contrast"] is None
    assert all(other != label for other, label in zip(first["contrast"], first["labels"], strict=True))
    assert last["method"] == "InputXGradient (minus the score of the strongest other class)"
    assert any(last["method"] in words["title"] for words in said)
    captions = next(words["captions"] for words in said if any(" vs digit " in one for one in words["captions"]))
    assert captions[0].endswith(f"vs {first['contrast'][0]}")
    # by hand, on the trained network
    others = torch.tensor([NAMES.index(name) for name in last["contrast"]])
    net: Any = trainer.lightning_module
    shown = monitor.probe
    assert shown is not None
    found = with_contrast(InputXGradient(), others)(net.eval(), shown.inputs, shown.labels)
    assert monitor.latest is not None
    torch.testing.assert_close(monitor.latest.attribution.values, found.values)
    torch.testing.assert_close(monitor.latest.attributions["plain"].values, found.values)
    # deletion is measured of the difference of scores, which starts where it is
    deleted = monitor.latest.faithfulness["InputXGradient"]["deletion_auc"]
    assert not torch.equal(deleted, monitor.latest.faithfulness["LRP"]["deletion_auc"])


def test_a_class_by_name_and_a_resumed_run(tmp_path: Path) -> None:
    def monitor() -> AttributionMonitor:
        return AttributionMonitor(method=InputXGradient(contrast="digit 3"), probe=probe(), on_error="raise")

    first, resumed = monitor(), monitor()
    with explanation_warnings() as told:
        trainer = fit(first, max_epochs=1, default_root_dir=str(tmp_path))
    itself = "1 of 10 probe samples are explained for the class of contrast='digit 3'"
    assert sum(itself in words for words in told) == 1
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    fit(resumed, max_epochs=2, ckpt=tmp_path / "run.ckpt")
    assert resumed.records[-1]["contrast"] == first.records[-1]["contrast"]
    assert resumed.records[-1]["drift"].keys() == {"previous", "first"}
    changed = AttributionMonitor(method=InputXGradient(contrast=4), probe=probe(), on_error="raise")
    with explanation_warnings() as told:
        fit(changed, max_epochs=2, ckpt=tmp_path / "run.ckpt")
    assert any("minus the score of digit 3" in words and "restarts" in words for words in told)


@pytest.mark.parametrize(
    ("contrast", "words"), [("watermark", "'watermark' names no class"), (10, "10 is beyond the model's 10 outputs")]
)
def test_a_class_that_there_is_not_is_refused_before_training(contrast: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"AttributionMonitor.*contrast={words}"):
        fit(AttributionMonitor(method=LRP(contrast=contrast), probe=probe()), max_epochs=1)


@pytest.mark.filterwarnings("ignore")  # what jsonargparse and LightningCLI say is not ours
def test_a_contrast_comes_from_a_configuration_file(tmp_path: Path) -> None:
    method = {
        "class_path": "lightning_explain.IntegratedGradients",
        "init_args": {"n_steps": 4, "contrast": "strongest"},
    }
    monitor = fitted_from_yaml({"method": method, "on_error": "raise"}, tmp_path, train_batches=1)
    assert monitor.methods == {"IntegratedGradients": IntegratedGradients(n_steps=4, contrast="strongest")}
    assert all(a != b for a, b in zip(monitor.records[-1]["contrast"], monitor.records[-1]["labels"], strict=True))
