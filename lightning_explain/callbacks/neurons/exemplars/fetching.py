"""Samples of the validation data, fetched by their numbers as the Trainer would give them to the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.batches import input_of
from lightning_explain.callbacks.base.default_probe import flat_loaders, like_the_trainer
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.neurons.exemplars.sample_numbers import DataNumbers
from lightning_explain.errors import ExplanationError
from lightning_explain.sampling import collated, seeded

SEED = 0

Kept = Mapping[int, tuple[Tensor, ...]]
"""Inputs of samples by number."""


class NotFetchedError(ExplanationError):
    """Samples of the validation data cannot be had again by their numbers."""


def fetched(
    trainer: Any,
    question: Question,
    numbers: DataNumbers,
    samples: Sequence[int],
    kept: Mapping[int, tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """Return samples by their numbers: each input [samples, ...].

    They are read from the data set, collated and moved as the loader and the Trainer do it. The global random streams
    end as they began. Samples of loaders that show no index are among those kept as they passed.

    Args:
        trainer: The Trainer.
        question: Where batches hold the input.
        numbers: What the numbers stand for.
        samples: The numbers.
        kept: Samples that were kept, by number.

    Raises:
        NotFetchedError: A sample was not kept, or items come out as another number of rows.
    """
    loaders = flat_loaders(trainer.val_dataloaders)
    rows: dict[int, tuple[Tensor, ...]] = {}
    by_loader: dict[int, list[int]] = {}
    for sample in dict.fromkeys(samples):
        by_loader.setdefault(numbers.place(sample)[0], []).append(sample)
    for loader, own in by_loader.items():
        rows |= (
            _kept(own, kept) if not numbers.indexed[loader] else _read(trainer, question, numbers, loaders[loader], own)
        )
    with torch.inference_mode(mode=False):
        columns = zip(*(rows[sample] for sample in samples), strict=True)
        return tuple(torch.stack([part.cpu() for part in column]).clone() for column in columns)


def _kept(samples: Sequence[int], kept: Kept) -> dict[int, tuple[Tensor, ...]]:
    if any(sample not in kept for sample in samples):
        raise NotFetchedError(
            "the validation loader does not show which sample of its data set it gives (it shuffles, or its data have "
            "no index), and not all were kept as they passed. Give a validation loader that does not shuffle."
        )
    return {sample: kept[sample] for sample in samples}


def _read(
    trainer: Any, question: Question, numbers: DataNumbers, loader: Any, samples: Sequence[int]
) -> dict[int, tuple[Tensor, ...]]:
    with seeded(SEED, loader.dataset, loader.collate_fn):
        batch = collated(loader.collate_fn, [loader.dataset[numbers.place(sample)[1]] for sample in samples])
        inputs = input_of(like_the_trainer(trainer, batch), question.input)
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    if any(len(part) != len(samples) for part in parts):
        raise NotFetchedError(f"{len(samples)} items of the validation data make {len(parts[0])} samples.")
    return {sample: tuple(part[row] for part in parts) for row, sample in enumerate(samples)}
