"""Which word decides between "is" and "are", and through which attention head? A small transformer on real sentences.

The sentences are real: from the docstrings of packages that are installed anyway, those with one "is" or "are" in them.
That word is hidden, and a transformer of two blocks learns in half a minute to tell which of both stood there. What
decides it in English is the subject: "the *values* ___ computed" and "the *value* ___ computed". So the way of the
decision can be judged by everyone: it should begin at the noun that the verb agrees with, and reach the hidden place
through a head that looks there. Decision paths follow the score from the answer through heads and neurons back to the
words, whose ids the network's own embedding looks up.

    python examples/sentences.py
    tensorboard --logdir runs/sentences     # Images: the way to each answer; the tab Explain
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

from lightning_explain import DecisionPathMonitor, Display, Probe

VERBS = ("is", "are")
MODULES = (
    "numpy", "numpy.linalg", "numpy.fft", "torch", "torch.nn", "torch.nn.functional", "torch.linalg", "matplotlib.axes",
    "matplotlib.figure", "matplotlib.pyplot", "matplotlib.artist", "matplotlib.colors", "matplotlib.lines",
    "matplotlib.text", "matplotlib.ticker", "argparse", "asyncio", "collections", "csv", "datetime", "decimal",
    "email.message", "functools", "http.client", "inspect", "json", "logging", "multiprocessing", "pathlib", "random",
    "shutil", "socket", "statistics", "string", "subprocess", "tarfile", "textwrap", "threading", "typing", "unittest",
    "zipfile",
)  # fmt: skip
LONGEST, SHORTEST = 12, 4
"""Words of a sentence."""

RARE = 3
"""Words that occur less often are all written as one, since nothing can be learnt of them."""

PADDING, UNKNOWN, HIDDEN = "<pad>", "<rare>", "___"


def docstrings() -> Iterator[str]:
    """Yield the docstrings of the modules' functions and classes, and of the methods of these."""
    seen: set[str] = set()
    for name in MODULES:
        for value in vars(importlib.import_module(name)).values():
            members = [value, *vars(value).values()] if inspect.isclass(value) else [value]
            for member in members if callable(value) else ():
                words = getattr(member, "__doc__", None)
                if isinstance(words, str) and words not in seen:
                    seen.add(words)
                    yield words


def sentences() -> list[tuple[list[str], int]]:
    """Return sentences with one of both verbs, which is hidden, and which it was; each once, in a fixed order."""
    found: dict[tuple[str, ...], int] = {}
    for text in docstrings():
        # prose only: no examples, signatures, tables
        prose = " ".join(line for line in text.splitlines() if not re.search(r">>>|::|\.\. |[|=]{2}|\d\.", line))
        for sentence in re.split(r"(?<=[.:])\s", prose):
            words = re.findall(r"[a-z]+", sentence.lower())
            verbs = [word for word in words if word in VERBS]
            if SHORTEST <= len(words) <= LONGEST and len(verbs) == 1:
                hidden = tuple(HIDDEN if word in VERBS else word for word in words)
                found.setdefault(hidden, VERBS.index(verbs[0]))
    return [(list(words), label) for words, label in sorted(found.items())]


def sentence_data(seed: int) -> tuple[TensorDataset, TensorDataset, list[str]]:
    """Return training and held-out sentences as token ids, equally many of each verb, and the vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    known = sentences()
    by_verb = [[words for words, label in known if label == verb] for verb in range(len(VERBS))]
    n_each = min(map(len, by_verb))
    chosen = [
        (some[place], verb)
        for verb, some in enumerate(by_verb)
        for place in torch.randperm(len(some), generator=generator)[:n_each].tolist()
    ]
    counts = Counter(word for words, _ in chosen for word in words)
    common = sorted(word for word, count in counts.items() if count >= RARE and word != HIDDEN)
    vocabulary = [PADDING, UNKNOWN, HIDDEN, *common]
    number = {word: place for place, word in enumerate(vocabulary)}
    rows = [[number.get(word, 1) for word in words] + [0] * (LONGEST - len(words)) for words, _ in chosen]
    order = torch.randperm(len(rows), generator=generator)
    ids, verbs = torch.tensor(rows)[order], torch.tensor([verb for _, verb in chosen])[order]
    n_train = 5 * len(ids) // 6
    return TensorDataset(ids[:n_train], verbs[:n_train]), TensorDataset(ids[n_train:], verbs[n_train:]), vocabulary


class SentenceNet(pl.LightningModule):
    """Words and their positions, two blocks of a transformer, and the answer from the hidden place."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(n_words, 32, padding_idx=0), nn.Embedding(LONGEST, 32)
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.3, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.scores = nn.Linear(32, len(VERBS))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the scores of both verbs."""
        h = self.words(ids) + self.positions(torch.arange(LONGEST, device=ids.device))
        h = self.blocks(h, src_key_padding_mask=ids == 0)
        return self.scores((h * (ids == 2)[:, :, None]).sum(1))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        ids, verbs = batch
        return functional.cross_entropy(self(ids), verbs)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy."""
        ids, verbs = batch
        self.log("val_acc", (self(ids).argmax(1) == verbs).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=0.05)


def print_ways(monitor: DecisionPathMonitor, ids: Tensor, vocabulary: list[str]) -> None:
    """Print for each sentence of the probe the words and the heads that most of the decision comes from."""
    assert monitor.latest is not None
    print("\nWhere the answer comes from: words and heads, with the share of the decision that passes each")
    for found in monitor.latest.classes:
        for row in found.group.members:
            graph = monitor.latest.samples[row]
            words: list[str] = [vocabulary[token] for token in ids[row].tolist()]
            nodes = sorted(graph.nodes, key=lambda node: -node.share)
            of_words = [(words[n.unit], n.share) for n in nodes if n.layer == "input" and n.unit is not None]
            of_heads = [(n.label, n.share) for n in nodes if "self_attn" in n.layer and n.unit is not None]
            told, by = (", ".join(f"{name} {share:.0%}" for name, share in of[:3]) for of in (of_words, of_heads))
            sentence = " ".join(word for word in words if word != PADDING)
            print(f"  {sentence}\n      {found.group.name}: {told}; through {by}")


def main(argv: Sequence[str] | None = None) -> int:
    """Train the network with the monitor and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/sentences"), help="for TensorBoard (%(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training sentences (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # a few thousand sentences need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of what the docstrings belong to
    pl.seed_everything(arguments.seed, verbose=False)
    train, held_out, vocabulary = sentence_data(arguments.seed)
    print(f"{len(train)} sentences to learn from, {len(held_out)} held out, {len(vocabulary)} words")
    display = Display(tokens=vocabulary, padding=0)
    probe = Probe.from_dataset(held_out, per_class=6, class_names=VERBS, display=display)
    monitor = DecisionPathMonitor(probe=probe, show="sample", every_sample=True)
    trainer = pl.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=TensorBoardLogger(arguments.logdir, name=""),
        callbacks=[monitor],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    model = SentenceNet(len(vocabulary))
    trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True), DataLoader(held_out, batch_size=256))

    print(f"\nheld-out accuracy {float(trainer.callback_metrics['val_acc']):.3f}")
    print_ways(monitor, probe.parts[0], vocabulary)
    print(f"\nSee the ways:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
