"""The samples with the largest values of each unit, gathered batch by batch on the device, exactly.

A value and the number of its sample become one integer, so that the order is total: larger values first, of equal ones
the sample of the lower number. The `k` largest integers do not depend on how samples are divided into batches, loaders
or processes, nor on their order.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

EMPTY = torch.iinfo(torch.int64).min
"""The key of no sample: smaller than every other."""

LAST_NUMBER = (1 << 32) - 1
"""Samples are numbered from 0 to this."""


class TopSamples(NamedTuple):
    """The best samples of each unit, best first.

    Attributes:
        keys: Value and number of each sample as one integer: int64 [units, k]; `EMPTY` where there are fewer samples.
        labels: Class of each: int64 [units, k]; -1 for none.
        places: Position of each value, flattened: int64 [units, k].
    """

    keys: Tensor
    labels: Tensor
    places: Tensor

    @classmethod
    def none(cls, n_units: int, k: int, device: torch.device) -> "TopSamples":
        """Return no samples."""
        with torch.inference_mode(mode=False):
            keys = torch.full((n_units, k), EMPTY, device=device)
            return cls(keys, torch.full_like(keys, -1), torch.zeros_like(keys))

    @property
    def values(self) -> Tensor:
        """The values: float32 [units, k]; NaN where there are fewer samples."""
        return torch.where(self.keys == EMPTY, torch.nan, values_of(self.keys))

    @property
    def numbers(self) -> Tensor:
        """The numbers of the samples: int64 [units, k]; -1 where there are fewer."""
        return torch.where(self.keys == EMPTY, -1, LAST_NUMBER - (self.keys & LAST_NUMBER))

    def cpu(self) -> "TopSamples":
        """Return a copy on the CPU."""
        return TopSamples(*(part.cpu() for part in self))


def _swapped(bits: Tensor) -> Tensor:
    """Turn the bits of a float into an integer of the same order, or back."""
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def keys_of(values: Tensor, numbers: Tensor) -> Tensor:
    """Return keys: larger for larger values, and of equal values for the sample of the lower number.

    Args:
        values: float [...]; what is not finite gets no key.
        numbers: int64, broadcast with the values; -1 for samples to leave out.

    Returns:
        int64 [...]; `EMPTY` where there is none.

    Example:
        >>> keys_of(torch.tensor([0.0, -0.0, 2.0]), torch.tensor([5, 3, 9])).argsort(descending=True)
        tensor([2, 1, 0])
    """
    values = values.float()
    # -0.0 + 0.0 is 0.0: both are equal, and their bits must be
    bits = (values + 0.0).contiguous().view(torch.int32)
    keys = (_swapped(bits).long() << 32) | (LAST_NUMBER - numbers)
    return torch.where(values.isfinite() & (numbers >= 0), keys, EMPTY)


def values_of(keys: Tensor) -> Tensor:
    """Return the values in keys: float32."""
    return _swapped((keys >> 32).int()).view(torch.float32)


def merged(a: TopSamples, b: TopSamples) -> TopSamples:
    """Return the best of both, as many as `a` has: of the same units, [units, k] and [units, any number].

    No sample may be in both: it would count twice.
    """
    keys, labels, places = (torch.cat(pair, 1) for pair in zip(a, b, strict=True))
    found, order = keys.topk(a.keys.shape[1], 1)
    return TopSamples(found, labels.gather(1, order), places.gather(1, order))


def merged_once(a: TopSamples, b: TopSamples) -> TopSamples:
    """Return the best of both as `merged` does, each sample once: processes may have been given the same ones.

    Example:
        >>> one, other = (TopSamples(keys_of(torch.ones(1, 2), n), n, n) for n in torch.tensor([[[3, 4]], [[3, 7]]]))
        >>> merged_once(one, other).numbers, merged(one, other).numbers
        (tensor([[3, 4]]), tensor([[3, 3]]))
    """
    repeated = (b.numbers[:, :, None] == a.numbers[:, None]).any(2)
    return merged(a, b._replace(keys=b.keys.masked_fill(repeated, EMPTY)))


def merged_layers(kept: Mapping[str, TopSamples], batch: Mapping[str, TopSamples]) -> dict[str, TopSamples]:
    """Merge a batch into what is kept of the same layers, all layers in one go: an accelerator is asked once.

    Args:
        kept: By layer, [units, k].
        batch: By layer, [units, samples of the batch]; the layers are among those kept.
    """
    sizes = [len(kept[key].keys) for key in batch]
    all_kept, all_new = (
        TopSamples(*(torch.cat(parts) for parts in zip(*each, strict=True)))
        for each in ([kept[key] for key in batch], list(batch.values()))
    )
    parts = zip(*(part.split(sizes) for part in merged(all_kept, all_new)), strict=True)
    return {key: TopSamples(*part) for key, part in zip(batch, parts, strict=True)}


def of_batch(values: Tensor, places: Tensor, numbers: Tensor, labels: Tensor) -> TopSamples:
    """Return all samples of a batch, in no order: [units, batch].

    Args:
        values: [batch, units].
        places: Flat position of each value: int64 [batch, units].
        numbers: Of the samples: int64 [batch]; -1 to leave one out.
        labels: Of the samples: int64 [batch].
    """
    n_units = values.shape[1]
    return TopSamples(keys_of(values.t(), numbers), labels.expand(n_units, -1), places.t())
