"""Class-balanced sampling from a data set, independent of the run's random streams."""

import random
from collections.abc import Callable, Generator, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from lightning_explain.batches import Selector, class_labels, target_of
from lightning_explain.errors import ConfigurationError
from lightning_explain.randomness import rng_preserved, streams_preserved

Collate = Callable[[list[Any]], Any]
Picked = list[tuple[int, Any]]

EVEN = 40
"""Samples of a probe by default, shared out evenly among up to ten classes."""

EACH, MOST = 4, 64
"""With more than ten classes by default, samples of each and in all; without classes, in all."""

PATIENCE = 256
"""Items read without meeting a new class before the classes are taken to be complete."""


class NotPickableError(ConfigurationError):
    """Samples cannot be picked from a data set by index, or cannot be collated alone."""


class Buckets:
    """Samples by class, as even as the data allow: a class that is short of them leaves its part to the others.

    Args:
        per_class: Most samples of a class; None for as many as there is room for.
        max_samples: Most samples; with many classes each gets fewer. With None for both, 40 for up to ten classes, four
            of each and 64 in all for more.
    """

    by_class: dict[int, Picked]

    def __init__(self, per_class: int | None, max_samples: int | None) -> None:
        self.by_class = {}
        self._per_class = per_class
        self._max_samples = max_samples
        self._since_new = 0

    def _limits(self) -> tuple[int, int]:
        """Return the most samples of a class and in all, given the classes met so far."""
        if self._per_class is None and self._max_samples is None:
            return (EVEN, EVEN) if len(self.by_class) * EACH <= EVEN else (EACH, MOST)
        most = self._max_samples or MOST
        return self._per_class or most, most

    @property
    def complete(self) -> bool:
        """True if no class could get more at the cost of none, and no new one has turned up for a while."""
        each, most = self._limits()
        sizes = [len(bucket) for bucket in self.by_class.values()]
        is_even = sum(sizes) == most and max(sizes) - min(sizes) <= 1
        return self._since_new >= PATIENCE and (is_even or all(size >= each for size in sizes))

    def add(self, label: int, index: int, fetch: Callable[[], Any]) -> None:
        """Offer a sample; it is fetched only if it is needed.

        Args:
            label: Its class.
            index: Where it stands in the data.
            fetch: Returns the sample to keep.
        """
        self._since_new += 1
        if label not in self.by_class:
            if len(self.by_class) == (self._max_samples or MOST):
                return
            self.by_class[label] = []
            self._since_new = 0
            for bucket in self.by_class.values():
                del bucket[self._limits()[0] :]
        own, (each, most) = self.by_class[label], self._limits()
        if len(own) < each and self._has_room(own, most):
            own.append((index, fetch()))

    def _has_room(self, own: Picked, most: int) -> bool:
        """Make room for a sample of a class, if need be at the cost of the class that has most."""
        if sum(map(len, self.by_class.values())) < most:
            return True
        largest = max(self.by_class.values(), key=len)
        if len(largest) <= len(own) + 1:
            return False
        largest.pop()
        return True

    def picked(self) -> Picked:
        """Return the samples, class by class."""
        return [entry for label in sorted(self.by_class) for entry in self.by_class[label]]


def _given(item: Any) -> Any:
    return item


def _items(dataset: Dataset[Any] | Sequence[Any], seed: int, limit: int) -> Iterator[tuple[int, Any]]:
    """Yield items in a seeded order; those of an iterable data set in its own."""
    if isinstance(dataset, IterableDataset):
        for index, item in enumerate(dataset):
            if index == limit:
                return
            yield index, item
        return
    size = len(dataset) if isinstance(dataset, Sized) else limit
    indexed: Any = dataset  # a Dataset, or a list of items
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:limit]
    for index in order.tolist():
        try:
            item = indexed[index]
        except (AttributeError, KeyError, NotImplementedError, TypeError) as error:
            # what cannot be indexed; an item that cannot be read raises something else
            raise NotPickableError(
                f"{type(dataset).__name__} gives no sample for an index ({type(error).__name__}: {error}). Give "
                "Probe(inputs=..., targets=...) the samples themselves."
            ) from error
        yield index, item


@contextmanager
def seeded(seed: int, *owners: Any) -> Generator[None, None, None]:
    """Seed all global random streams inside; restore them at the end, and those that `owners` hold (data sets, ...)."""
    with rng_preserved(), streams_preserved(*owners):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the stream that user transforms draw from
        yield


def collated(collate_fn: Collate, items: list[Any]) -> Any:
    """Collate items to a batch.

    Raises:
        NotPickableError: The collate function cannot do it: it drops items, or they differ in size.
    """
    try:
        return collate_fn(items)
    except Exception as error:
        raise NotPickableError(
            f"The collate function failed on {len(items)} picked item{'s'[: len(items) > 1]} "
            f"({type(error).__name__}: {error}). Give Probe(inputs=..., targets=...) the samples themselves."
        ) from error


def _label_of(batch: Any, target: Selector) -> int | None:
    """Return the class of a batch of one sample; None if it has none."""
    labels = class_labels(target_of(batch, target))
    return int(labels[0]) if labels is not None and len(labels) == 1 else None


def draw(
    dataset: Dataset[Any] | Sequence[Any],
    *,
    per_class: int | None,
    seed: int,
    max_samples: int | None,
    max_scan: int,
    collate_fn: Collate,
    target: Selector,
) -> Picked:
    """Draw (index, item) pairs, evenly by class as `Buckets` does; without class labels the first `max_samples`.

    The same seed picks the same samples, also where reading an item draws random numbers; the global streams end
    as they began.
    """
    with seeded(seed, dataset, collate_fn):
        drawing = Drawing(per_class, max_samples)
        for index, item in _items(dataset, seed, max_scan):
            label = None if drawing.has_classes is False else _label_of(collated(collate_fn, [item]), target)
            drawing.offer(label, index, partial(_given, item))
            if drawing.complete:
                break
        return drawing.picked()


class Drawing:
    """Samples by class, or the first ones if there are no classes; what one sample shows counts for all.

    Args:
        per_class: Most samples of a class; None for as many as there is room for.
        max_samples: Most samples; None for the default, see `Buckets`.
    """

    def __init__(self, per_class: int | None = None, max_samples: int | None = None) -> None:
        self.has_classes = True
        """Whether every sample so far had a class."""
        self._buckets = Buckets(per_class, max_samples)
        self._first: Picked = []
        self._max_samples = max_samples or MOST

    def offer(self, label: int | None, index: int, fetch: Callable[[], Any]) -> None:
        """Offer a sample.

        Args:
            label: Its class; negative for a sample to ignore; None for none.
            index: Where it stands in the data.
            fetch: Returns the sample to keep.
        """
        refutes = self.has_classes and label is None
        # kept until all is read: real values may begin with a few that look like classes
        if len(self._first) < self._max_samples:
            self._first.append((index, fetch()))
        elif refutes:
            # among the others it shows that theirs are no classes either
            self._first[-1] = (index, fetch())
        self.has_classes = self.has_classes and label is not None
        if self.has_classes and label is not None and label >= 0:
            self._buckets.add(label, index, fetch)

    @property
    def complete(self) -> bool:
        """True if no more samples are needed."""
        return self._buckets.complete if self.has_classes else len(self._first) == self._max_samples

    def picked(self) -> Picked:
        """Return the samples."""
        return self._buckets.picked() if self.has_classes else self._first
