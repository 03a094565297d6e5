"""Baselines that are means of the training data: computed once, the same for the whole run."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_explain.attribution import NamedBaseline, data_mean
from lightning_explain.attribution.baselines import OF_TRAINING_DATA
from lightning_explain.attribution.result import Method, parts_of
from lightning_explain.attribution.traits import traits_of, with_baseline
from lightning_explain.batches import input_of
from lightning_explain.callbacks.attribution.methods import Methods
from lightning_explain.callbacks.base.default_probe import flat_loaders, like_the_trainer
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.errors import ConfigurationError
from lightning_explain.sampling import seeded

MOST_SAMPLES = 1000
"""Training samples that are averaged; a mean of more hardly differs and takes longer to read."""

ROWS = 100


class TrainingBaselines:
    """Finds the means that methods ask for with `baseline="train_mean"` or `"train_channel_mean"`.

    Args:
        methods: The monitor's methods; those that ask get their baseline in place, under the same name.
    """

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._kinds = {name: kind for name, method in methods.items() if (kind := mean_of_training_data(method))}
        self._found: dict[str, tuple[Tensor, ...]] = {}

    def find(self, trainer: Any, question: Question) -> None:
        """Compute the means that are not known yet, and give them to the methods.

        Args:
            trainer: The Trainer, whose training data are averaged: at most 1,000 samples, seeded.
            question: Where batches hold what.

        Raises:
            ConfigurationError: Training samples cannot be picked by index.
        """
        for name, kind in self._kinds.items():
            if kind not in self._found:
                self._found[kind] = _mean(trainer, question, per_channel=kind == "train_channel_mean")
            baseline = NamedBaseline(kind, _single(self._found[kind]))
            self._methods[name] = with_baseline(self._methods[name], baseline)

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return the means as plain tensors."""
        return {kind: list(parts) for kind, parts in self._found.items()}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take up a checkpoint's means, so that a resumed run compares with the same baseline."""
        self._found = {kind: tuple(parts) for kind, parts in state.items()}


def mean_of_training_data(method: Method) -> str:
    """Return the name of the mean of the training data that a method asks for; empty if it asks for none."""
    baseline = traits_of(method).baseline
    return baseline if isinstance(baseline, str) and baseline in OF_TRAINING_DATA else ""


def _single(parts: tuple[Tensor, ...]) -> Any:
    return parts if len(parts) != 1 else next(iter(parts))


def _mean(trainer: Any, question: Question, *, per_channel: bool) -> tuple[Tensor, ...]:
    """Average the training inputs, each part by itself: [1, ...]; what has no gradient is left out."""
    with seeded(0, *flat_loaders(trainer.train_dataloader)):
        batches: list[tuple[Tensor, ...]] = [parts_of(inputs) for inputs in _training_inputs(trainer, question)]
    explained = [i for i, part in enumerate(batches[0]) if part.is_floating_point()]
    return tuple(data_mean((batch[i] for batch in batches), per_channel=per_channel).cpu() for i in explained)


def _training_inputs(trainer: Any, question: Question) -> Iterator[Any]:
    """Read seeded training samples by index, converted as the Trainer converts its validation batches."""
    loader: Any = next(iter(flat_loaders(trainer.train_dataloader)), None)
    by_index = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if not by_index or loader.batch_sampler is None or not _length(loader):
        raise ConfigurationError(
            "A mean of the training data needs a training DataLoader whose samples can be picked by index; got "
            f"{type(loader).__name__}. Give baseline=data_mean(batches), from lightning_explain.attribution."
        )
    # a generator of our own: the choice is the same on every rank and in every run
    order = torch.randperm(_length(loader), generator=torch.Generator().manual_seed(0))[:MOST_SAMPLES].tolist()
    for first in range(0, len(order), ROWS):
        torch.manual_seed(first)  # of data sets that augment at random
        batch = loader.collate_fn([loader.dataset[i] for i in order[first : first + ROWS]])
        yield input_of(like_the_trainer(trainer, batch), question.input)


def _length(loader: Any) -> int:
    return len(loader.dataset)
