"""When a drift is worth a warning: a decision from its size, its error and what the run had before."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from lightning_explain.drift import MEASURES
from lightning_explain.errors import ConfigurationError

MASS = "mass_in_mask"
"""Not a distance but a share; what is compared is the attribution inside the masks relative to that outside."""

LEAST_DRIFT = 0.02
"""Drift below it is nobody's concern, however still the network lay before."""

RECENT = 5
"""Earlier figures that drift is compared with: it falls as a network learns, and early ones would hide a later rise."""

LONGEST_PAST = 20
"""The same for masks, since a network may begin to look there slowly."""

EVERYTHING = ""
"""The group of all samples; the others are class indices as words."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A group's figure at one explanation.

    Attributes:
        value: How far the group moved, or how much of its attribution is inside the masks relative to outside.
        error: Numerical error of that; NaN where unknown.
    """

    value: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A figure beyond what was usual.

    Attributes:
        group: The class, or `all samples`.
        value: The figure.
        usual: Median of the group's earlier figures, or the least that counts where that is larger.
        error: The figure's numerical error; NaN where unknown.
    """

    group: str
    value: float
    usual: float
    error: float

    @property
    def times(self) -> float:
        """How many times the larger of `usual` and `error` it is."""
        return self.value / _level(self.usual, self.error)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What a monitor found unusual at one explanation; `str(alert)` says it in words.

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


MOST_NAMED = 5


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers)


def _margin(error: float) -> str:
    return "" if math.isnan(error) else f", error {error:.2g}"


@dataclass(frozen=True, kw_only=True)
class DriftAlert:
    """Says when the explanations of a run move as they did not move before.

    An alert is due when a class, or the whole probe, is more than `factor` times beyond both the figure's own error and
    the median of that group's last 5 figures (for masks: 20). It is given once for an event: the next one can come when
    everything has fallen below half of that.

    Args:
        measure: A measure of drift, against the previous explanation (`"cosine"`, `"spearman"`, ...: one that the
            monitor measures); or `"mass_in_mask"`: how much of the attribution is inside the probe's masks relative to
            outside, `share / (1 - share)`, for a mark that the network should not look at.
        factor: How many times, more than 1. Single classes of healthy runs on handwritten digits came up to 3.3 times.
        min_history: Earlier figures that must be known before anything can be unusual.
        at_least: The least figure that counts as usual, so that the last digits of a network that no longer moves
            are no alarm. By default 0.02 for drift; for masks, what they would hold if the attribution lay evenly over
            the input.
        on_alert: Called with an `Alert` when there is one, in the first process only; what it raises is a warning, or
            with the monitor's `on_error="raise"` an error.

    Raises:
        ConfigurationError: An unknown measure, or a number out of its range.

    Cost: none through the model.

    Example:
        >>> rule = DriftAlert(factor=5, min_history=3)
        >>> past = Past()
        >>> for drift in (0.5, 0.1, 0.06, 0.05, 0.7, 0.6):
        ...     verdict = judge(rule, {"": Reading(value=drift, error=0.01)}, past)
        ...     past = verdict.past
        ...     print(drift, verdict.is_new)
        0.5 False
        0.1 False
        0.06 False
        0.05 False
        0.7 True
        0.6 False
    """

    measure: str = "cosine"
    factor: float = 4.0
    min_history: int = 3
    at_least: float | None = None
    on_alert: Callable[[Alert], Any] | None = None

    def __post_init__(self) -> None:
        if self.measure not in (*MEASURES, MASS):
            raise ConfigurationError(f"measure={self.measure!r}; expected one of {[*MEASURES, MASS]}.")
        if not self.factor > 1 or math.isinf(self.factor):
            raise ConfigurationError(f"factor={self.factor}; expected a number above 1, such as 4.")
        if self.min_history < 1:
            raise ConfigurationError(
                f"min_history={self.min_history}; expected at least 1, since unusual needs something usual."
            )
        if self.at_least is not None and not self.at_least > 0:
            raise ConfigurationError(f"at_least={self.at_least}; expected a number above 0, or None.")


@dataclass(frozen=True, kw_only=True)
class Past:
    """What is remembered from explanation to explanation.

    Attributes:
        measure: Of which measure.
        figures: The last figures of each group.
        lasting: Whether an event was told of that is not over.
    """

    measure: str = ""
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    lasting: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and dicts."""
        figures = {group: list(values) for group, values in self.figures.items()}
        return {"measure": self.measure, "figures": figures, "lasting": self.lasting}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Past":
        """Rebuild what `state_dict` returned."""
        figures = {group: tuple(values) for group, values in state["figures"].items()}
        return cls(measure=state["measure"], figures=figures, lasting=state["lasting"])


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be thought of an explanation.

    Attributes:
        excesses: The groups that are beyond the factor, by name; the furthest first.
        is_new: Whether they begin an event, so that an alert is due.
        past: What is to be remembered, this explanation included.
    """

    excesses: dict[str, Excess]
    is_new: bool
    past: Past


def _level(usual: float, error: float) -> float:
    return usual if math.isnan(error) else max(usual, error)


def judge(rule: DriftAlert, readings: Mapping[str, Reading], past: Past, *, at_least: float = LEAST_DRIFT) -> Verdict:
    """Decide whether figures are unusual.

    Args:
        rule: What counts as unusual.
        readings: Each group's figure.
        past: What the groups had before; that of another measure is forgotten.
        at_least: The least figure that counts as usual, unless the rule says it.
    """
    if past.measure != rule.measure:
        past = Past(measure=rule.measure)
    least = rule.at_least or at_least
    n = LONGEST_PAST if rule.measure == MASS else RECENT
    compared = {
        group: Excess(
            group=group, value=reading.value, usual=max(median(past.figures[group][-n:]), least), error=reading.error
        )
        for group, reading in readings.items()
        if len(past.figures.get(group, ())) >= rule.min_history and not math.isnan(reading.value)
    }
    ranked = sorted(compared.items(), key=lambda item: item[1].times, reverse=True)
    beyond = {group: excess for group, excess in ranked if excess.times > rule.factor}
    still = past.lasting and any(excess.times > rule.factor / 2 for excess in compared.values())
    figures = dict(past.figures)
    for group, reading in readings.items():
        if not math.isnan(reading.value):
            figures[group] = (*figures.get(group, ()), reading.value)[-LONGEST_PAST:]
    return Verdict(
        excesses=beyond,
        is_new=bool(beyond) and not past.lasting,
        past=Past(measure=rule.measure, figures=figures, lasting=bool(beyond) or still),
    )
