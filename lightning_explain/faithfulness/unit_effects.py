"""The effects of single units on each class: change of accuracy and probability, with their errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def paired_standard_error(lost: Tensor, gained: Tensor, n_samples: Tensor) -> Tensor:
    """Return the standard error of a change of accuracy that was measured on the same samples before and after.

    Half a sample is added to each of the four outcomes, so that where no sample changed there still is an error: of 4
    samples that all stay right nobody knows that all samples would.

    Source: Agresti, Min (2005), Simple improved confidence intervals for comparing matched proportions, Sec. 2
    (adjusted Wald interval).

    Args:
        lost: Samples that were right and are wrong.
        gained: Samples that were wrong and are right.
        n_samples: Samples.

    Returns:
        Standard error of `(gained - lost) / n_samples`; NaN where there are no samples.

    Example:
        >>> paired_standard_error(torch.tensor([0, 2]), torch.tensor([0, 0]), torch.tensor([4, 4]))
        tensor([0.1667, 0.2546])
    """
    difference, total = (gained - lost).double(), n_samples.double() + 2
    variance = (lost + gained + 1 - difference.square() / total) / total.square()
    return torch.where(n_samples > 0, variance.sqrt(), torch.nan).float()


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitEffects:
    """The change of each class's accuracy and probability without single units of a layer.

    Attributes:
        units: The units: [units].
        n_samples: Samples of each class in the probe: [classes].
        n_correct: How many of them are classified correctly with all units: [classes].
        lost: How many are right with the unit and wrong without it: [units, classes].
        gained: How many are wrong with it and right without it: [units, classes].
        probability: Mean change of the probability of the samples' own class: [units, classes]; NaN without samples.
        probability_error: Standard error of that mean: [units, classes]; NaN with fewer than two samples.
    """

    units: Tensor
    n_samples: Tensor
    n_correct: Tensor
    lost: Tensor
    gained: Tensor
    probability: Tensor
    probability_error: Tensor

    @property
    def accuracy(self) -> Tensor:
        """Accuracy of each class with all units: [classes]; NaN without samples."""
        return self.n_correct / self.n_samples

    @property
    def change(self) -> Tensor:
        """Accuracy without the unit minus accuracy with it: [units, classes]; NaN without samples."""
        return (self.gained - self.lost) / self.n_samples

    @property
    def standard_error(self) -> Tensor:
        """Standard error of `change`, from the samples that changed; never 0: see `paired_standard_error`."""
        return paired_standard_error(self.lost, self.gained, self.n_samples.expand_as(self.lost))

    @property
    def overall_error(self) -> Tensor:
        """Standard error of the change of the accuracy over all classes: [units]."""
        return paired_standard_error(self.lost.sum(1), self.gained.sum(1), self.n_samples.sum().expand(len(self.units)))

    def place_of(self, unit: int) -> int | None:
        """Return the place of a unit in the arrays; None if it was not measured."""
        places = (self.units == unit).nonzero().flatten().tolist()
        return places[0] if places else None

    def to_rows(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Return a row for each unit and class that has samples in the probe.

        Args:
            class_names: Name of each class.
        """
        columns = {
            "accuracy_change": self.change.tolist(),
            "standard_error": self.standard_error.tolist(),
            "n_lost": self.lost.tolist(),
            "n_gained": self.gained.tolist(),
            "probability_change": self.probability.tolist(),
            "probability_standard_error": self.probability_error.tolist(),
        }
        accuracy, n_samples = self.accuracy.tolist(), self.n_samples.tolist()
        return [
            {
                "class": class_names[c] if c < len(class_names) else str(c),
                "neuron": unit,
                "accuracy": accuracy[c],
                "n_samples": n_samples[c],
                **{name: values[place][c] for name, values in columns.items()},
            }
            for place, unit in enumerate(self.units.tolist())
            for c in self.n_samples.nonzero().flatten().tolist()
        ]

    def record(self) -> dict[str, Any]:
        """Return them as plain lists, a row for each unit and class of the probe, for a machine-readable record."""
        columns = ["unit", "class", "accuracy_change", "standard_error", "n_lost", "n_gained", "probability_change"]
        change, error, moved = self.change.tolist(), self.standard_error.tolist(), self.probability.tolist()
        lost, gained = self.lost.tolist(), self.gained.tolist()
        seen = self.n_samples.nonzero().flatten().tolist()
        rows: list[list[float]] = [
            [unit, c, round(change[u][c], 4), round(error[u][c], 4), lost[u][c], gained[u][c], round(moved[u][c], 4)]
            for u, unit in enumerate(self.units.tolist())
            for c in seen
        ]
        n_samples, n_correct = self.n_samples.tolist(), self.n_correct.tolist()
        return {
            "columns": columns,
            "rows": rows,
            "n_samples": {str(c): n_samples[c] for c in seen},
            "n_correct": {str(c): n_correct[c] for c in seen},
        }


@dataclass(frozen=True, kw_only=True)
class AblationResult:
    """The effects of units, layer by layer.

    Attributes:
        effects: By layer.
        n_passes: Forward passes that were made.
        n_rows: Rows that were sent forward in them.
        not_measured: Layers whose units cannot be set alone, or do not take part in the explained forward.
    """

    effects: Mapping[str, UnitEffects]
    n_passes: int
    n_rows: int
    not_measured: tuple[str, ...] = ()
