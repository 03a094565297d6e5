"""Where the default probe comes from: the Trainer's validation data, without touching any random stream."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_explain.batches import class_labels, input_of, target_of
from lightning_explain.callbacks.question import Question
from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe
from lightning_explain.randomness import rng_preserved
from lightning_explain.sampling import Buckets, draw

PER_CLASS = 4
MAX_SAMPLES = 64
MAX_SCAN = 2048


def flat_loaders(loaders: Any) -> list[Any]:
    """List the loaders of whatever a user gave: one, or a list or mapping of them, nested; empty for None."""
    if loaders is None:
        return []
    if isinstance(loaders, Mapping):
        loaders = list(cast(Mapping[Any, Any], loaders).values())
    if isinstance(loaders, list | tuple):
        return [loader for part in cast(list[Any], loaders) for loader in flat_loaders(part)]
    return [loaders]


def like_the_trainer(trainer: Any, batch: Any) -> Any:
    """Convert and move a batch as the Trainer does with its own, user hooks included.

    Hooks that change a batch see a validating Trainer, so that they do not augment it.
    """
    stage = trainer.state.stage
    trainer.validating = True
    try:
        batch = trainer.precision_plugin.convert_input(batch)
        batch = trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return trainer.strategy.batch_to_device(batch, dataloader_idx=0)
    finally:
        trainer.state.stage = stage


def to_device(trainer: Any, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Bring a probe's tensors to the model's device and precision; autograd takes them, wherever this is called."""
    with torch.inference_mode(mode=False):
        converted: Any = trainer.precision_plugin.convert_input(parts)
        return tuple(part.to(trainer.strategy.root_device) for part in converted)


def probe_from_loader(
    trainer: Any,
    loader: Any,
    question: Question,
    *,
    seed: int = 0,
    per_class: int = PER_CLASS,
    max_samples: int = MAX_SAMPLES,
) -> Probe | None:
    """Draw the default probe from a validation loader's data set, by index.

    Items are picked by index rather than by iterating over the loader, whose iterator would draw from the global
    random stream. Hooks that change a batch see a validating Trainer, so that they do not augment it.

    Args:
        trainer: The Trainer, for converting batches.
        loader: One validation loader.
        question: Where batches hold what.
        seed: Seed of the choice.
        per_class: Samples of each class.
        max_samples: Most samples in all.

    Returns:
        The probe; None where samples cannot be picked by index (an iterable data set, a loader that is no
        DataLoader, a data set that gives whole batches): then they must be kept as they pass.

    Raises:
        ConfigurationError: No input is recognised in a batch, or the data set is empty.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    if loader.batch_sampler is None:
        return None
    with rng_preserved():
        picked = draw(
            loader.dataset,
            per_class=per_class,
            seed=seed,
            max_samples=max_samples,
            max_scan=MAX_SCAN,
            collate_fn=loader.collate_fn,
            target=question.target,
        )
        if not picked:
            raise ConfigurationError(
                f"The validation data set ({type(loader.dataset).__name__}) is empty, so there is nothing to explain. "
                "Give probe=Probe.from_dataset(...) another data set."
            )
        torch.manual_seed(seed)
        batch = like_the_trainer(trainer, loader.collate_fn([item for _, item in picked]))
    return Probe(
        inputs=input_of(batch, question.input),
        targets=target_of(batch, question.target),
        indices=[index for index, _ in picked],
    )


class PassingProbe:
    """Collects the default probe from validation batches as they pass, where samples cannot be picked by index.

    Args:
        question: Where batches hold what.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._buckets = Buckets(PER_CLASS, MAX_SAMPLES)
        self._single = True
        self._seen = 0

    def add(self, batch: Any) -> None:
        """Keep clones of the samples of a batch that are still wanted.

        Raises:
            ConfigurationError: No input is recognised in the batch.
        """
        inputs = input_of(batch, self._question.input)
        targets = target_of(batch, self._question.target)
        labels = class_labels(targets)
        self._single = not isinstance(inputs, tuple)
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        for row in range(len(parts[0])):
            # without classes every sample is a class of its own, and the first ones are kept
            label = self._seen if labels is None else int(labels[row])
            if label < 0:
                continue  # an ignore index is no class to explain
            sample = tuple(part[row] for part in parts)
            target = None if targets is None else targets[row]
            self._buckets.add(label, self._seen, partial(_cloned, sample, target))
            self._seen += 1

    def probe(self) -> Probe | None:
        """Return the probe; None while no sample has passed."""
        picked = self._buckets.picked()
        if not picked:
            return None
        samples = [item for _, item in picked]
        parts = tuple(torch.stack(column) for column in zip(*(inputs for inputs, _ in samples), strict=True))
        targets = [target for _, target in samples if target is not None]
        return Probe(
            inputs=parts[0] if self._single else parts,
            targets=torch.stack(targets) if targets else None,
            indices=[index for index, _ in picked],
        )


def _cloned(inputs: tuple[Tensor, ...], target: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor | None]:
    with torch.inference_mode(mode=False):
        return tuple(part.detach().cpu().clone() for part in inputs), None if target is None else target.cpu().clone()
