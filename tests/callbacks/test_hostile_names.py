"""Names from data stay names: no path, no HTML, no link, no pickle, whichever logger they go to."""

import json
import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard import plugin_util
from torch import nn

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, InputXGradient, Probe
from lightning_explain.log.tags import class_parts, tag_part
from lightning_explain.render.words import markdown_safe
from tests.events import Events
from tests.reliability.small import SmallNet, fit_small, loaders, zeros_and_ones
from tests.reliability.wholeness import _event_records, broken_files

CLASSES = ["../../../etc/passwd\0", "<img src=x onerror=alert(1)> | ![](http://evil.example/x.png) [a](javascript:1)"]
NAMES = ["../up", "/abs/olute", "nul", "x" * 10_000, "\ud800<script>", "a\0b|c`d`", "con.txt", "𠀀" * 300]
MARKUP = re.compile(r"<(?!br)[a-z!/]|\]\(|!\[|https?://", re.IGNORECASE)


class Odd(SmallNet):
    """Layers whose names are anything that a ModuleDict takes."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.ModuleDict({"<b>|[/x": nn.Linear(4, 4), "x" * 5_000: nn.Linear(4, 4), "x" * 5_001: nn.ReLU()})
        self.head = nn.Sequential(nn.Linear(32, 4), nn.ReLU(), *inner.values(), nn.Linear(4, 2))
        self.odd = inner


def monitors(name: str) -> list[Any]:
    x = zeros_and_ones()[1].tensors[0][:4]
    probe = Probe(inputs=x, targets=torch.tensor([0, 1, 0, 1]), class_names=CLASSES)
    own: dict[str, Any] = {"class_names": CLASSES, "on_error": "raise", "probe": probe}
    return [
        ActiveNeuronMonitor(name=name, feeding=1, **own),
        AttributionMonitor(
            name=f"{name}a", method={f"m{name[:60]}<b>": InputXGradient(), "n": InputXGradient()}, **own
        ),
        DecisionPathMonitor(name=f"{name}p", **own),
    ]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    part = tag_part(name)
    assert (Path("/run") / part).resolve().parent == Path("/run") and tag_part(part) == part


def test_different_classes_have_different_parts() -> None:
    names = ["<5_2", "<5", ">5", "Cat", "cat", "x" * 100, "x" * 101, "a/b", "a b", "a_b", "a_b_8"]
    parts = class_parts(names, taken=["CAT"])
    assert len({part.lower() for part in [*parts, "cat"]}) == len(names) + 1


@pytest.mark.parametrize("name", [*NAMES, *CLASSES])
def test_a_name_in_markdown_is_no_markup(name: str) -> None:
    words = markdown_safe(name, longest=120)
    assert len(words) < 1000 and "\n" not in words and "|" not in words
    assert not MARKUP.search(words)
    shown = plugin_util.markdown_to_safe_html(f"| {words} | b |\n|---|---|\n| {words} | c |")
    assert not re.search(r"<(img|a|script|b|code)\b", shown)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize("kind", [TensorBoardLogger, CSVLogger])
def test_hostile_names_go_through_every_sink_and_come_back_without_pickle(kind: Any, tmp_path: Path) -> None:
    pl.seed_everything(2, verbose=False)
    logger = kind(tmp_path / "logs", name="run", version="")
    saver = ModelCheckpoint(tmp_path / "ckpt", save_last=True, filename="x")
    watching = monitors("../../<i>x\0")
    trainer = fit_small(
        Odd(), loaders(), callbacks=[*watching, saver], logger=logger, max_epochs=1, enable_checkpointing=True
    )
    if kind is TensorBoardLogger:
        logger.experiment.close()
    assert trainer.current_epoch == 1 and all(monitor.records for monitor in watching)
    assert {path.parts[len(tmp_path.parts)] for path in tmp_path.rglob("*")} == {"logs", "ckpt"}
    n_files, wrong = broken_files(tmp_path / "logs")
    assert n_files >= 4 and not wrong
    _check_words(tmp_path / "logs", kind)
    state = torch.load(tmp_path / "ckpt" / "last.ckpt", weights_only=True)
    restored = monitors("../../<i>x\0")
    for monitor in restored:
        monitor.load_state_dict(state["callbacks"][monitor.state_key])
    fit_small(Odd(), loaders(), callbacks=restored, max_epochs=1)


def _check_words(folder: Path, kind: Any) -> None:
    for path in folder.rglob("*.md"):
        assert not MARKUP.search(path.read_text(encoding="utf-8")), path
    for path in folder.rglob("*.jsonl"):
        assert all("step" in json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    if kind is not TensorBoardLogger:
        return
    (path,) = (path for path in folder.rglob("*tfevents*"))
    for event in _event_records(path.read_bytes()):
        for value in event.summary.value:
            assert re.fullmatch(r"[\w.\-/]+", value.tag) and ".." not in value.tag.split("/"), value.tag
            assert len(value.tag) < 400
            assert not MARKUP.search(value.metadata.summary_description)
            if value.metadata.plugin_data.plugin_name == "text":
                assert not MARKUP.search(b"".join(value.tensor.string_val).decode())
    assert Events(path.parent).images


def test_names_of_numpy_kind_come_back_without_pickle(tmp_path: Path) -> None:
    names = np.array(["a", "b"])
    monitor = AttributionMonitor(class_names=list(names), feature_names=[], method=InputXGradient())
    fit_small(SmallNet(), loaders(), callbacks=[monitor], max_epochs=1)
    torch.save(monitor.state_dict(), tmp_path / "state")
    assert torch.load(tmp_path / "state", weights_only=True)["probe"]["class_names"] == ["a", "b"]
