"""Alerts: the unusual metrics of one explanation, and their words."""

import math
from dataclasses import dataclass

MASS = "mass_in_mask"
"""Not a distance but a share; what is compared is the attribution inside the masks relative to that outside."""

MOST_NAMED = 5
"""Classes that are named in words."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A group's figure at one explanation.

    Attributes:
        value: How far the group moved, or how much of its attribution is inside the masks relative to outside.
        error: Numerical error of that; NaN where unknown.
        n_samples: How many samples it is the mean of; None for a number that need not be considered.
    """

    value: float
    error: float
    n_samples: int | None = None


def _level(usual: float, error: float) -> float:
    return usual if math.isnan(error) else max(usual, error)


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A figure beyond what was usual.

    Attributes:
        group: The class, or `all samples`.
        value: The figure.
        usual: What was to be expected after the group's earlier values, or the least that counts where that is larger.
        error: The figure's numerical error; NaN where unknown.
    """

    group: str
    value: float
    usual: float
    error: float

    @property
    def times(self) -> float:
        """Ratio to the larger of `usual` and `error`."""
        return self.value / _level(self.usual, self.error)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Unusual metrics of one explanation; `str(alert)` describes them.

    Attributes:
        monitor: The monitor's name.
        method: Full name of the attribution method, baseline included.
        measure: The measure.
        step: Step of the explanation.
        epoch: Its epoch, counted from 0.
        excesses: The classes, and `all samples`, that are beyond what was usual; the furthest first.
        samples: Places in the probe of the samples that are furthest beyond it; the furthest first.
        indices: The same samples' places in the data set that the probe was drawn from; empty where that is not known.
    """

    monitor: str
    method: str
    measure: str
    step: int
    epoch: int
    excesses: tuple[Excess, ...]
    samples: tuple[int, ...]
    indices: tuple[int, ...] = ()

    def __str__(self) -> str:
        what = "inside the mask, relative to outside" if self.measure == MASS else f"{self.measure} distance to before"
        found = ", ".join(
            f"{each.group} {each.value:.3g} ({each.times:.1f} times the usual {each.usual:.2g}{_margin(each.error)})"
            for each in self.excesses[:MOST_NAMED]
        )
        more = f", and {len(self.excesses) - MOST_NAMED} more" if len(self.excesses) > MOST_NAMED else ""
        places = f" (in its data set {_listed(self.indices)})" if self.indices else ""
        return (
            f"unusual attributions at step {self.step}, in epoch {self.epoch}, by {self.method}: {what}: "
            f"{found}{more}. Furthest: samples {_listed(self.samples)} of the probe{places}."
        )


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers)


def _margin(error: float) -> str:
    return "" if math.isnan(error) else f", error {error:.2g}"
