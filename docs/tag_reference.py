"""The page of every tag, written from what a real run logs: `python -m docs.tag_reference`.

A small convnet learns scikit-learn's digits for two epochs with all three monitors and every option that adds tags.
What its event file holds is listed with the descriptions in it, names of layers and classes made general.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from docs.generated import ROOT, with_generated
from lightning_explain import (
    LRP,
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    DriftAlert,
    IntegratedGradients,
    Probe,
    Strategies,
)
from lightning_explain.faithfulness import FAITHFULNESS

PAGE = ROOT / "docs" / "tags.md"
LAYERS = ("body.0", "body.1", "body.2", "body.3", "head")
CLASSES = ("alder", "aspen", "beech", "birch", "cedar", "elder", "hazel", "larch", "maple", "rowan")
KINDS = {"scalars": "scalar", "images": "image", "text": "text"}
OWN = "explain/"


class _Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def training_step(self, batch: Any, _: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-3)


def _run(folder: Path, detail: str) -> None:
    """Train with the options that add tags, or with none where the default level of detail is asked for."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    digits, labels = torch.tensor(images[:320]).float().reshape(-1, 1, 8, 8) / 16, torch.tensor(labels[:320])
    # a mark on every third larch, so that there is a second strategy to be drawn
    digits[(labels == 7).nonzero().flatten()[::3], :, :2, :2] = 4
    data = TensorDataset(digits, labels)
    masks = torch.zeros(8, 8)
    masks[2:6, 2:6] = 1
    probe = replace(Probe.from_dataset(data, per_class=1), masks=masks.expand(10, 8, 8), class_names=CLASSES)
    every: dict[str, Any] = {"class_names": CLASSES, "detail": detail}
    options: dict[str, Any] = {}
    if detail == "full":
        methods = [IntegratedGradients(n_steps=4), LRP()]
        options = {"method": methods, "faithfulness": tuple(FAITHFULNESS), "alert": DriftAlert(), "probe": probe}
        options["strategies"] = Strategies(per_class=16)
    pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=TensorBoardLogger(folder, "", version=""),
        callbacks=[
            ActiveNeuronMonitor(**every),
            AttributionMonitor(**every, **options),
            DecisionPathMonitor(ablation=True, **every),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(_Net(), DataLoader(data, batch_size=64), DataLoader(data, batch_size=64))


def _logged(folder: Path) -> dict[str, tuple[str, str]]:
    """Read the tags of the event files in a folder: the kind of each, and its description."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.rglob("events.out.tfevents*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                kind = KINDS.get(value.metadata.plugin_data.plugin_name)
                if value.tag.startswith(OWN) and (kind is not None or value.tag not in found):
                    known = found.get(value.tag, ("", ""))[1]
                    found[value.tag] = (kind or "data of the tab", known or value.metadata.summary_description)
    return found


def general(tag: str, layers: Sequence[str] = LAYERS, classes: Sequence[str] = CLASSES) -> str:
    """Return a tag with its layer and class made general, and that of a further method as the first one's.

    Example:
        >>> general("explain/neurons/body.1/dead"), general("explain/attribution/LRP/drift/birch")
        ('explain/neurons/{layer}/dead', 'explain/attribution/drift/{class}')
    """
    parts = tag.removesuffix("/text_summary").replace("/LRP/", "/").split("/")
    for name, among in (("{layer}", layers), ("{class}", classes)):
        general_names = {own + end: name + end for own in among for end in ("", "_error")}
        parts = [general_names.get(part, part) for part in parts]
    return "/".join(parts)


def reference() -> str:
    """Return the table of every tag as Markdown. Cost: two runs of a few seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for detail in ("terse", "full"):
            _run(Path(folder, detail), detail)
        full, terse = _logged(Path(folder, "full")), {general(tag) for tag in _logged(Path(folder, "terse"))}
    rows: dict[str, tuple[tuple[str, ...], str]] = {}
    for tag in sorted(full, key=lambda tag: "/LRP/" in tag):
        kind, description = full[tag]
        words = re.sub(r"^\w+ \([^)]*\): ", "", " ".join(description.split()))
        words = words[:1].upper() + words[1:]
        words = re.sub(rf"(of class |decides for |samples of |/)({'|'.join(CLASSES)})\b", r"\1{class}", words)
        kinds, known = rows.get(general(tag), ((), ""))
        rows[general(tag)] = (tuple(dict.fromkeys((*kinds, kind))), known or words)
    lines = ["| tag | kind | by default | what it is |", "|---|---|---|---|"]
    for tag in sorted(rows, key=lambda tag: (tag.split("/")[1], rows[tag][0], tag)):
        kinds, words = rows[tag]
        lines.append(
            f"| `{tag}` | {', '.join(kinds)} | {'yes' if tag in terse else ''} | {words.replace('|', '&#124;')} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(with_generated(PAGE.read_text(), "tags", reference()))
    print(f"wrote {PAGE.relative_to(ROOT)}")
