"""Drift alerts: a decision from a drift's size, its error and the run's earlier drifts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from lightning_explain.drift import MEASURES
from lightning_explain.drift.alert import MASS, Alert, Excess, Reading
from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import check_fields

__all__ = [
    "EVERYTHING",
    "LEAST_DRIFT",
    "MASS",
    "Alert",
    "AlertVerdict",
    "DriftAlert",
    "Excess",
    "Past",
    "Reading",
    "expected",
    "judge",
]

DEFAULT_FACTOR = 2.5
DEFAULT_FACTORS = {MASS: 1.3}

LEAST_DRIFT = 0.01
"""Drift below it is nobody's concern, however still the network lay before."""

RECENT = 5
"""Earlier values that the next is compared with: drift falls as a network learns, and older ones would hide a rise."""

LONGEST_PAST = 20
"""Earlier values that are remembered: a network may begin to look into a mask slowly, and that shows against them."""

SLOWLY = 2.0
"""A mask is unusual, however slowly it came to that, when it holds so many times more than a sudden rise must."""

FASTEST_GROWTH = 4.0
"""Steady growth is expected to go on, but no faster than this from one figure to the next."""

GROUPS_POWER = 0.25
"""The largest of many values is far from the usual by chance. In ordinary runs that 2 of 100 exceed was the 0.22th
power of the number of classes."""

EVERYTHING = ""
"""The group of all samples; the others are class indices as words."""


@dataclass(frozen=True, kw_only=True)
class DriftAlert:
    """Rule for unusual changes of the explanations of a run.

    An alert is due when a class, or the whole probe, is more than `factor` times beyond both the figure's own error
    and what was to be expected: the second largest of the group's last 5 values (of masks, the largest), or the last
    one grown as it steadily grew before, whichever is larger. So warm-up and restarts of the learning rate are seldom
    an alarm. Classes need more than the whole probe, since one of many is always the furthest, and more so with few
    samples: `factor` is multiplied by `n_classes ** 0.25 * (1 + 1 / n_samples)`. An alert is given once for an event:
    the next one can come when everything has fallen below half of that.

    Args:
        measure: A measure of drift, against the previous explanation (`"cosine"`, `"spearman"`, ...: one that the
            monitor measures); or `"mass_in_mask"`: how much of the attribution is inside the probe's masks relative to
            outside, `share / (1 - share)`, for a mark that the network should not look at. What rises slowly is noticed
            against the median of the last 20 values, when it is twice as far beyond it.
        factor: How many times, more than 1. By default 2.5 for drift, 1.3 for masks, whose values are steadier.
        min_history: Earlier values that must be known before anything can be unusual.
        at_least: The least figure that counts as usual, so that the last digits of a network that no longer moves
            are no alarm. By default 0.01 for drift; for masks, what they would hold if the attribution lay evenly over
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
    factor: float | None = None
    min_history: int = 3
    at_least: float | None = None
    on_alert: Callable[[Alert], Any] | None = None

    def __post_init__(self) -> None:
        check_fields(self, DriftAlert)
        if self.measure not in (*MEASURES, MASS):
            raise ConfigurationError(f"measure={self.measure!r}; expected one of {[*MEASURES, MASS]}.")
        if self.factor is not None and (not self.factor > 1 or math.isinf(self.factor)):
            raise ConfigurationError(f"factor={self.factor}; expected a number above 1, such as 3, or None.")
        if self.min_history < 1:
            raise ConfigurationError(
                f"min_history={self.min_history}; expected at least 1, since unusual needs something usual."
            )
        if self.at_least is not None and not self.at_least > 0:
            raise ConfigurationError(f"at_least={self.at_least}; expected a number above 0, or None.")

    @property
    def times(self) -> float:
        """Ratio to the usual at which the whole probe is unusual: `factor`, or its default."""
        return self.factor or DEFAULT_FACTORS.get(self.measure, DEFAULT_FACTOR)

    def limit(self, reading: Reading, n_classes: int) -> float:
        """Return the ratio to the usual at which a group is unusual.

        Args:
            reading: The group's figure.
            n_classes: Among how many classes this one would be the furthest; 1 for the whole probe.
        """
        few = 0.0 if reading.n_samples is None else 1 / reading.n_samples
        return self.times * n_classes**GROUPS_POWER * (1 + few)


@dataclass(frozen=True, kw_only=True)
class Past:
    """State of the rule from explanation to explanation.

    Attributes:
        measure: Of which measure.
        figures: The last values of each group.
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
        """Restore the state that `state_dict` returned."""
        figures = {group: tuple(values) for group, values in state["figures"].items()}
        return cls(measure=state["measure"], figures=figures, lasting=state["lasting"])


@dataclass(frozen=True, kw_only=True)
class AlertVerdict:
    """Decision about one explanation.

    Attributes:
        excesses: The groups that are beyond the factor, by name; the furthest first.
        is_new: Whether they begin an event, so that an alert is due.
        past: What is to be remembered, this explanation included.
    """

    excesses: dict[str, Excess]
    is_new: bool
    past: Past


def judge(
    rule: DriftAlert, readings: Mapping[str, Reading], past: Past, *, at_least: float = LEAST_DRIFT
) -> AlertVerdict:
    """Decide about the metrics of one explanation.

    Args:
        rule: What counts as unusual.
        readings: Each group's figure.
        past: What the groups had before; that of another measure is forgotten.
        at_least: The least figure that counts as usual, unless the rule says it.
    """
    if past.measure != rule.measure:
        past = Past(measure=rule.measure)
    least, n_classes = rule.at_least or at_least, max(1, len(readings.keys() - {EVERYTHING}))
    compared: dict[str, Excess] = {}
    beyond: dict[str, float] = {}
    for group, reading in readings.items():
        known = past.figures.get(group, ())
        if len(known) < rule.min_history or math.isnan(reading.value):
            continue
        usual = max(expected(known, least=least, lasts=rule.measure == MASS), least)
        compared[group] = Excess(group=group, value=reading.value, usual=usual, error=reading.error)
        limit = rule.limit(reading, 1 if group == EVERYTHING else n_classes)
        beyond[group] = compared[group].times / limit
    ranked = sorted(compared, key=beyond.__getitem__, reverse=True)
    excesses = {group: compared[group] for group in ranked if beyond[group] > 1}
    still = past.lasting and any(share > 1 / 2 for share in beyond.values())
    figures = dict(past.figures)
    for group, reading in readings.items():
        if not math.isnan(reading.value):
            figures[group] = (*figures.get(group, ()), reading.value)[-LONGEST_PAST:]
    return AlertVerdict(
        excesses=excesses,
        is_new=bool(excesses) and not past.lasting,
        past=Past(measure=rule.measure, figures=figures, lasting=bool(excesses) or still),
    )


def expected(figures: Sequence[float], *, least: float, lasts: bool = False) -> float:
    """Return the largest value of a metric that is not unusual after those before it.

    The second largest of the last 5, since one alone may have been an event itself; for masks, where an event lasts,
    the largest. Where the last two both grew, the last grown once more by the smaller of the two ratios: so do figures
    while a learning rate is warmed up.

    Args:
        figures: Earlier values, at least one.
        least: Figures below this are not distinguished from it when growth is measured.
        lasts: whether values stay where an event brings them, as those of masks do. Then twice the median of all that
            is remembered is a bound, so that a slow rise is noticed too.

    Example:
        >>> expected([0.9, 0.1, 0.05, 0.04], least=0.01)
        0.1
        >>> expected([0.01, 0.02, 0.04], least=0.01)
        0.08
    """
    # the first one is the distance to a network that had learnt nothing: others are better, once there are enough
    recent = sorted((figures[1:] if len(figures) >= RECENT else figures)[-RECENT:])[-2:]
    found = recent[-1 if lasts else 0]
    if len(figures) > 2:
        before, last, now = (max(figure, least) for figure in figures[-3:])
        growth = min(now / last, last / before, FASTEST_GROWTH)
        found = max(found, figures[-1] * growth) if growth > 1 else found
    return min(found, SLOWLY * max(median(figures), least)) if lasts else found
