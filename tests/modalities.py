"""Small networks for every kind of input, on real data that come with the packages of the test extra."""

import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import matplotlib
import numpy as np
import sklearn.datasets
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from scipy.io import wavfile
from sklearn.datasets import load_diabetes, load_sample_image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.events import Events
from tests.models import digits, quiet_trainer

PAD = "<pad>"


class Learner(pl.LightningModule):
    """Any network with any loss."""

    def __init__(self, net: nn.Module, loss: Any = nn.functional.cross_entropy, lr: float = 1e-2) -> None:
        super().__init__()
        self.net, self.loss, self.lr = net, loss, lr

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.net(*inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        *inputs, y = batch
        # a batch is (input, target) or ((input, input), target)
        scores = self(*(inputs[0] if isinstance(inputs[0], list | tuple) else inputs))
        return self.loss(scores, y)

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


class Grouped(TensorDataset):
    """Several inputs and a target: ((input, input), target)."""

    def __getitem__(self, index: int) -> Any:
        *inputs, target = super().__getitem__(index)
        return tuple(inputs), target


def fit_kind(net: nn.Module, data: Any, monitor: Any, folder: Path, *, epochs: int = 2, **options: Any) -> Events:
    """Train on three quarters of the data with the monitor, as a user would, and read the event file."""
    pl.seed_everything(0, verbose=False)
    n = 3 * len(data) // 4
    kind = type(data)
    train, val = kind(*(part[:n] for part in data.tensors)), kind(*(part[n:] for part in data.tensors))
    logger = TensorBoardLogger(folder, "run", version=0)
    trainer = quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=epochs)
    trainer.fit(Learner(net, **options), DataLoader(train, 16, shuffle=True), DataLoader(val, 64))
    return Events(logger.log_dir)


def photographs(size: int = 16, n: int = 96) -> TensorDataset:
    """Squares of two photographs, [n, 3, size, size] in 0 to 1: a temple (0) or a flower (1)."""
    generator = torch.Generator().manual_seed(0)
    squares, labels = [], torch.arange(n) % 2
    for label in labels.tolist():
        photo = torch.tensor(load_sample_image(("china.jpg", "flower.jpg")[label])[::4, ::4]).permute(2, 0, 1) / 255
        top, left = (int(torch.randint(0, side - size, (), generator=generator)) for side in photo.shape[1:])
        squares.append(photo[:, top : top + size, left : left + size])
    return TensorDataset(torch.stack(squares), labels)


def image_net(channels: int, size: int, classes: int = 2) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * (size // 2) ** 2, classes),
    )  # fmt: skip


def sentences(n_words: int = 20) -> tuple[Tensor, Tensor, list[str]]:
    """Real sentences: what scikit-learn says of its iris (0) and breast cancer (1) data; ids, labels, vocabulary."""
    folder = Path(sklearn.datasets.__file__).parent / "descr"
    texts: list[list[str]] = []
    labels: list[int] = []
    for label, name in enumerate(("iris.rst", "breast_cancer.rst")):
        words = re.findall(r"[a-z]+", (folder / name).read_text(encoding="utf-8").lower())
        # of different lengths, so that some are filled up
        starts = range(0, len(words) - n_words, 7)
        texts += [words[start : start + n_words - start % 8] for start in starts]
        labels += [label] * len(starts)
    vocabulary = [PAD, *sorted({word for words in texts for word in words})]
    place = {word: i for i, word in enumerate(vocabulary)}
    ids = torch.tensor([[place[w] for w in words] + [0] * (n_words - len(words)) for words in texts])
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))
    return ids[order], torch.tensor(labels)[order], vocabulary


class Reader(nn.Module):
    """A bag of words with a mask; `forward(ids, mask)` or `forward(ids)`."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        self.words, self.scores = nn.Embedding(n_tokens, 12), nn.Linear(12, 2)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        weight = torch.ones_like(ids, dtype=torch.float32) if mask is None else mask.float()
        return self.scores(torch.tanh((self.words(ids) * weight[..., None]).sum(1)))


EEG_CHANNEL, EEG_STEPS = 2, slice(48, 80)


def brainwaves(length: int = 96) -> TensorDataset:
    """Windows of an electroencephalogram, [n, 4, length], standardised; whether one channel is high in its middle."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "eeg.dat"
    recorded = torch.tensor(np.fromfile(path, dtype=float).reshape(800, 4).T.copy(), dtype=torch.float32)
    recorded = (recorded - recorded.mean(1, keepdim=True)) / recorded.std(1, keepdim=True)
    windows = recorded.unfold(1, length, 4).transpose(0, 1).contiguous()
    level = windows[:, EEG_CHANNEL, EEG_STEPS].mean(1)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(1))
    return TensorDataset(windows[order], (level > level.median()).long()[order])


def sounds(length: int = 9000, n: int = 64) -> tuple[TensorDataset, Tensor]:
    """A recorded tone (scipy's) somewhere in noise, [n, 1, length], as it is (0) or an octave up (1); and where."""
    path = Path(wavfile.__file__).parent / "tests" / "data" / "test-44100Hz-le-1ch-4bytes.wav"
    _, tone = wavfile.read(path)
    tone = torch.tensor(tone[:3000] / np.abs(tone).max(), dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    waves, inside = 0.05 * torch.randn(n, 1, length, generator=generator), torch.zeros(n, 1, length)
    labels = torch.arange(n) % 2
    for row, label in enumerate(labels.tolist()):
        # twice as often when it is twice as fast, so that both last as long
        played = torch.cat([tone[::2], tone[::2]]) if label else tone
        start = int(torch.randint(0, length - 3000, (), generator=generator))
        waves[row, 0, start : start + 3000] += played
        inside[row, 0, start : start + 3000] = 1
    return TensorDataset(waves, labels), inside


class Sides(nn.Module):
    """An image and a table: a digit, and ten measurements of somebody else that mean nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.table = image_net(1, 8, 4), nn.Linear(10, 4)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        return self.image(image) + 0.1 * self.table(table)


def pairs(n: int = 96) -> Grouped:
    """Digits from 0 to 3 beside the measurements of patients."""
    images, labels = digits()[0].tensors
    images, labels = (part[labels < 4][:n] for part in (images, labels))
    table = torch.tensor(load_diabetes().data[:n], dtype=torch.float32) * 10
    return Grouped(images, table, labels)


__all__ = [
    "EEG_CHANNEL", "EEG_STEPS", "PAD", "Grouped", "Learner", "Reader", "Sides", "brainwaves", "fit_kind", "image_net",
    "pairs", "photographs", "sentences", "sounds",
]  # fmt: skip
