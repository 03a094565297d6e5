"""The number of classes to make room for, where labels are on an accelerator and cannot be looked at in a step."""

from collections.abc import Iterable, Sized
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.default_probe import flat_loaders
from lightning_explain.callbacks.neurons.counting.labels import without_wait

MOST_CLASSES = 10_000
"""Integer labels beyond this are no classes, unless class_names says so: counts would fill the memory."""

LEAST_ROOM = 64
"""Classes that room is made for where nothing says how many there are."""

WIDEST_HEAD = 1024
"""Outputs of a last layer that may be as many classes; wider ones are more likely an embedding or a picture."""


class HighestLabel:
    """The highest label of the batches so far, on their device."""

    def __init__(self) -> None:
        self._highest: Tensor | None = None

    def add(self, labels: Tensor) -> None:
        """Add the labels of a batch [batch], at least one; does not wait for the device."""
        highest = labels.amax()
        self._highest = highest if self._highest is None else torch.maximum(self._highest, highest)

    def take(self) -> int | None:
        """Return the highest label and forget it; None if no batch was added. Waits for the device."""
        highest, self._highest = self._highest, None
        return None if highest is None else int(highest)


def _of_targets(targets: Any) -> int:
    """Return the number of classes of a data set's targets, one for each sample; 0 if they do not tell."""
    if isinstance(targets, Tensor):
        values = without_wait(targets) if targets.ndim == 1 and not targets.is_floating_point() else None
        return int(cast(int, values.max())) + 1 if values is not None and values.size else 0
    if (
        isinstance(targets, list | tuple)
        and targets
        and all(isinstance(each, int) for each in cast(list[Any], targets))
    ):
        return int(max(cast(list[int], targets))) + 1
    return 0


def _of_data(dataset: Any) -> Iterable[int]:
    # attributes by which torchvision and others say it; a subset says it of the whole
    for each in (dataset, getattr(dataset, "dataset", None)):
        classes = getattr(each, "classes", None)
        yield len(cast(Sized, classes)) if isinstance(classes, list | tuple) else 0
        yield _of_targets(getattr(each, "targets", None))
        for part in getattr(each, "tensors", ())[1:]:
            yield _of_targets(part)


def _of_module(module: nn.Module) -> Iterable[int]:
    holders = [module, getattr(module, "hparams", None)]
    for each in holders:
        for name in ("num_classes", "n_classes"):
            number = getattr(each, name, None)
            yield number if isinstance(number, int) else 0
    widths = [getattr(part, "out_features", None) for part in module.modules()]
    last = next((width for width in reversed(widths) if isinstance(width, int)), 0)
    yield last if last <= WIDEST_HEAD else 0


def expected_classes(module: nn.Module, trainer: Any, met: int) -> int:
    """Return the number of classes to make room for: at least as many as data, module and probe name.

    Args:
        module: The module.
        trainer: Its Trainer, whose loaders' data sets are asked.
        met: Classes of the probe.
    """
    loaders = [*flat_loaders(trainer.train_dataloader), *flat_loaders(trainer.val_dataloaders)]
    found = [met, *_of_module(module)]
    for loader in loaders:
        found += _of_data(getattr(loader, "dataset", None))
    return min(max(LEAST_ROOM, *found), MOST_CLASSES)
