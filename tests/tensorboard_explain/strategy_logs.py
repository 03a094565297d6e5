"""Log directories with strategies: real runs of marked images, texts, signals, and events that nobody should write."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from lightning_explain import LRP, AttributionMonitor, Display, Saliency, Strategies
from lightning_explain.attribution import AtEmbedding
from tests.callbacks.attribution.strategies.marked_digits import loaders, net, two_kinds
from tests.modalities import Learner
from tests.tensorboard_explain.logs import HTML, Log

TAG = "explain/attribution/strategies/tab"


def fit_with_strategies(folder: Path, model: nn.Module, data: Any, **options: Any) -> AttributionMonitor:
    """Train for three epochs, looking for strategies at every explanation."""
    options = {"strategies": Strategies(per_class=60), **options}
    monitor = AttributionMonitor(every_n_epochs=1, on_error="raise", **options)
    trainer = pl.Trainer(
        max_epochs=3,
        logger=TensorBoardLogger(folder.parent, name="", version=folder.name),
        callbacks=[monitor],
        accelerator="cpu",
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(model, *data)
    return monitor


def marked_run(folder: Path, *, seed: int = 0) -> AttributionMonitor:
    """Images of two classes; a fifth of class 1 has a mark in the upper left corner."""
    images, labels, _ = two_kinds()
    data = loaders(images, labels)
    pl.seed_everything(seed, verbose=False)
    options = Strategies(per_class=60, method=LRP())
    return fit_with_strategies(folder, net(), data, method=Saliency(), strategies=options)


class Words(nn.Module):
    """Adds up what each word says for either class."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids).sum(1))


def marked_words() -> tuple[Tensor, Tensor, list[str]]:
    """Texts [240, 8], labels, all words: a fifth of class 1 has a marker word instead of its class's words."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 2
    ids = torch.randint(2, 12, (240, 8), generator=generator) + 10 * labels[:, None]
    marked = (labels == 1).nonzero().flatten()[-24:]
    ids[marked] = torch.randint(22, 40, (24, 8), generator=generator)
    ids[marked, 2] = 1
    return ids, labels, ["<pad>", "marker", *(f"w{i}" for i in range(2, 40))]


def words_run(folder: Path) -> AttributionMonitor:
    """Texts of which some have a marker word."""
    ids, labels, names = marked_words()
    pl.seed_everything(0, verbose=False)
    data, display = loaders(ids, labels), Display(tokens=names, padding=0)
    return fit_with_strategies(folder, Learner(Words(), lr=3e-2), data, method=AtEmbedding(Saliency()), display=display)


def hostile_run(folder: Path) -> None:
    """Strategies with hostile words and numbers that are none; then a whole one with hostile words."""
    log = Log(folder)
    good = {
        "v": 1, "kind": "strategies", "probe": "p", "labels": [0, 0, 0, 0], "predicted": [0, 1, 0, 0],
        "class_names": {"0": HTML}, "methods": [{"name": HTML, "scales": []}], "n_classes": 3,
        "curve": {"strategies": {"0": [2, 0.5], HTML: "x", "1": None}, "alert": HTML},
    }  # fmt: skip
    strategy = {"share": 0.5, "where": HTML, "members": [0, 1], "named": [[HTML, 1.0], 7]}
    whole = {"class": 0, "name": HTML, "rows": [0, 1, 2, 3], "points": "AAB/f4AAgIA=", "assignment": [0, 0, 1, 1]}
    whole |= {"axes": [HTML, HTML], "strategies": [strategy, {**strategy, "members": [2, 3, 99, -1, "x"]}]}
    wrong: list[Any] = [
        7, None, [], [3, None, "x"], [{}], [{"rows": "no", "strategies": 5}],
        [{"rows": [0, 1e99, -5, "x"], "points": "%%%", "assignment": {}, "strategies": [None, {"members": 3}]}],
        [{**whole, "points": "AA=="}],
    ]  # fmt: skip
    for step, classes in enumerate(wrong):
        log.blobs(TAG, "strategies", json.dumps({**good, "classes": classes}).encode(), step=step)
    log.blobs(TAG, "strategies", json.dumps({**good, "classes": [whole]}).encode(), step=len(wrong))
    probe = {"v": 1, "kind": "probe", "probe": "p", "samples": [9, -1, "x"], "tokens": 3, "indices": {}, "names": [1]}
    log.blobs(TAG.replace("/tab", "/probe"), "probe", json.dumps(probe).encode())
