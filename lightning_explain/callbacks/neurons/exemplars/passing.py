"""Samples kept as they pass, where the validation data have no index to fetch them by."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from lightning_explain.exemplars.top_samples import TopSamples

MOST_BYTES = 64 << 20
"""Of samples kept, about; so many units are followed that theirs fit."""

MOST_UNITS = 16
"""Units of a layer that are followed."""

Sample = tuple[Tensor, ...]


def followed_units(n_units: int, most: int) -> list[int]:
    """Return the units whose samples are kept: evenly spread ones, since nothing is known of them yet.

    Example:
        >>> followed_units(3, 5), followed_units(10, 4)
        ([0, 1, 2], [0, 3, 6, 9])
    """
    if n_units <= most:
        return list(range(n_units))
    return sorted({round(i * (n_units - 1) / max(1, most - 1)) for i in range(most)})


class PassingSamples:
    """Keeps the best samples of some units while a validation passes.

    To know which they are it looks at every batch, which waits for an accelerator.

    Args:
        shown: Samples of each unit.
    """

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self._most = MOST_UNITS
        self._kept: dict[int, Sample] = {}

    def units(self, n_units: int) -> list[int]:
        """Return those of a layer's units that are followed."""
        return followed_units(n_units, self._most)

    def add(self, tops: Mapping[str, TopSamples], numbers: Sequence[int], parts: Sample) -> None:
        """Keep of a batch what is among the best samples now, and forget what is not any more.

        Args:
            tops: By layer, this batch included.
            numbers: Of the samples of the batch; -1 for those left out.
            parts: Inputs of the batch, each [batch, ...].
        """
        size = sum(part[0].numel() * part.element_size() for part in parts)
        self._most = max(1, min(MOST_UNITS, MOST_BYTES // max(1, size * self._shown * max(1, len(tops)))))
        wanted = self._best(tops)
        self._kept = {number: sample for number, sample in self._kept.items() if number in wanted}
        with torch.inference_mode(mode=False):
            for row, number in enumerate(numbers):
                if number in wanted and number not in self._kept:
                    self._kept[number] = tuple(part[row].detach().cpu().clone() for part in parts)

    def _best(self, tops: Mapping[str, TopSamples]) -> set[int]:
        found = (top.numbers[self.units(len(top.keys)), : self._shown].flatten().tolist() for top in tops.values())
        return {number for numbers in found for number in numbers if number >= 0}

    def of(self, numbers: Iterable[int]) -> dict[int, Sample]:
        """Return those samples of some numbers that are kept."""
        return {number: self._kept[number] for number in numbers if number in self._kept}
