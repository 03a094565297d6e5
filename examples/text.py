"""Which words tell the library that a sentence describes? A text classifier explained at its embedding.

The texts are real: sentences from the docstrings of three packages that are installed anyway, numpy, torch and
matplotlib. A small network learns, in seconds, from which package a sentence comes; the packages' own names are taken
out of them, so that it has to go by the rest. Before training and after every epoch each word of the held-out sentences
gets a number by integrated gradients at the embedding layer: how much it speaks for the right package.

It is a toy question on real text: what "speaks for numpy" means here is which words its authors like.

    python examples/text.py
    tensorboard --logdir runs/text     # Images: the coloured words; Text: the same in words; the tab Explain
"""

import argparse
import importlib
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import AttributionMonitor, Display, IntegratedGradients, Probe
from lightning_explain.attribution import AtEmbedding

PACKAGES = ("numpy", "torch", "matplotlib")
MODULES = {
    "numpy": ("numpy", "numpy.linalg", "numpy.fft", "numpy.polynomial.polynomial"),
    "torch": ("torch", "torch.nn", "torch.nn.functional", "torch.linalg", "torch.fft"),
    "matplotlib": ("matplotlib.axes", "matplotlib.figure", "matplotlib.pyplot", "matplotlib.artist"),
}
OWN_NAMES = frozenset(["numpy", "np", "torch", "pytorch", "matplotlib", "mpl", "pyplot", "plt"])
LONGEST, SHORTEST = 24, 6
"""Words of a sentence."""

RARE = 4
"""Words that occur less often are all written as one, since nothing can be learnt of them."""

PADDING, UNKNOWN = "<pad>", "<rare>"


def docstrings(package: str) -> Iterator[str]:
    """Yield the docstrings of a package's functions and classes, and of the methods of these."""
    seen: set[str] = set()
    for name in MODULES[package]:
        for value in vars(importlib.import_module(name)).values():
            if not callable(value):
                continue
            members = [value, *vars(value).values()] if inspect.isclass(value) else [value]
            for member in members:
                words = getattr(member, "__doc__", None)
                if isinstance(words, str) and words not in seen:
                    seen.add(words)
                    yield words


def sentences(package: str) -> list[list[str]]:
    """Cut a package's docstrings into sentences of lower-case words, each once, in a fixed order."""
    found: dict[tuple[str, ...], None] = {}
    for text in docstrings(package):
        # prose only: no examples, signatures, tables
        prose = " ".join(line for line in text.splitlines() if not re.search(r">>>|::|\.\. |[|=]{2}|\d\.", line))
        prose = re.sub(r":[a-z:]+:`", " ", prose)  # :attr:`x` is Sphinx's markup
        for sentence in re.split(r"(?<=[.:])\s", prose):
            words = [word for word in re.findall(r"[a-z]{2,}", sentence.lower()) if word not in OWN_NAMES]
            if SHORTEST <= len(words) <= LONGEST:
                found.setdefault(tuple(words))
    return [list(words) for words in sorted(found)]


def text_data(seed: int, per_package: int) -> tuple[TensorDataset, TensorDataset, list[str]]:
    """Return training and held-out sentences as token ids, equally many of each package, and the vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    texts: list[list[str]] = []
    labels: list[int] = []
    for label, package in enumerate(PACKAGES):
        known = sentences(package)
        chosen = torch.randperm(len(known), generator=generator)[:per_package].tolist()
        texts += [known[i] for i in chosen]
        labels += [label] * len(chosen)
    counts = Counter(word for words in texts for word in words)
    vocabulary = [PADDING, UNKNOWN, *sorted(word for word, count in counts.items() if count >= RARE)]
    number = {word: i for i, word in enumerate(vocabulary)}
    rows = [[number.get(word, 1) for word in words] + [0] * (LONGEST - len(words)) for words in texts]
    order = torch.randperm(len(rows), generator=generator)
    ids, targets = torch.tensor(rows)[order], torch.tensor(labels)[order]
    n_train = 4 * len(ids) // 5
    return TensorDataset(ids[:n_train], targets[:n_train]), TensorDataset(ids[n_train:], targets[n_train:]), vocabulary


class TextNet(pl.LightningModule):
    """Embedding, a convolution over three neighbouring words, the strongest answer anywhere, a linear layer."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(n_words, 32, padding_idx=0)
        self.phrases = nn.Conv1d(32, 48, 3, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.scores = nn.Linear(48, len(PACKAGES))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the scores of the packages."""
        answers = functional.gelu(self.phrases(self.words(ids).transpose(1, 2)))
        return self.scores(self.dropout(answers.amax(2)))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        ids, labels = batch
        return functional.cross_entropy(self(ids), labels)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy."""
        ids, labels = batch
        self.log("val_acc", (self(ids).argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def print_telling_words(monitor: AttributionMonitor) -> None:
    """Print for each package the words that spoke for it most, summed over the held-out sentences."""
    totals = {package: Counter[str]() for package in PACKAGES}
    record = monitor.records[-1]
    for package, strongest in zip(record["labels"], record["inputs"][0]["strongest"], strict=True):
        for _, word, value in strongest:
            totals[package][word] += value
    print("\nWhat speaks for each package, summed over the sentences of the probe")
    for package, words in totals.items():
        listed = ", ".join(f"{word} {value:+.2f}" for word, value in words.most_common(8) if word != UNKNOWN)
        print(f"  {package:11}{listed}")


def main(argv: Sequence[str] | None = None) -> int:
    """Train the network with the monitor and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/text"), help="where TensorBoard reads (%(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the training sentences (%(default)s)")
    parser.add_argument("--per-package", type=int, default=800, help="sentences of each package (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # a few thousand sentences need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of what the packages' docstrings belong to
    pl.seed_everything(arguments.seed, verbose=False)
    train, held_out, vocabulary = text_data(arguments.seed, arguments.per_package)
    print(f"{len(train)} sentences to learn from, {len(held_out)} held out, {len(vocabulary)} words")
    display = Display(tokens=vocabulary, padding=0)
    probe = Probe.from_dataset(held_out, per_class=20, class_names=PACKAGES, display=display)
    monitor = AttributionMonitor(method=AtEmbedding(IntegratedGradients(), baseline_token=0), probe=probe)
    tensorboard = TensorBoardLogger(arguments.logdir, name="")
    trainer = pl.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=tensorboard,
        callbacks=[monitor],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    model = TextNet(len(vocabulary))
    trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True), DataLoader(held_out, batch_size=256))

    print(f"\nheld-out accuracy {float(trainer.callback_metrics['val_acc']):.3f}")
    print_telling_words(monitor)
    print(f"\nSee the coloured words:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
