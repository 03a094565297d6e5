"""The share of a run's wall time, and of its passes, that may be spent: pure decisions, without a Trainer."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from lightning_explain.errors import ConfigurationError
from lightning_explain.schedule import Stopwatch


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_budget(max_overhead: Any, min_every: Any) -> None:
    """Refuse an impossible budget.

    Raises:
        ConfigurationError: `max_overhead` is no number between 0 and 1; `min_every` is no whole number from 1 on, or
            stands alone.
    """
    if max_overhead is not None and not (_is_number(max_overhead) and 0 < max_overhead < 1):
        raise ConfigurationError(
            f"max_overhead={max_overhead!r}; expected a share of the wall time between 0 and 1, e.g. 0.05 for 5 %, or "
            "None for no limit."
        )
    if min_every is None:
        return
    if isinstance(min_every, bool) or not isinstance(min_every, int) or min_every < 1:
        raise ConfigurationError(
            f"min_every={min_every!r}; expected a whole number of at least 1 (at least one of so many "
            "explanations that are due is made), or None."
        )
    if max_overhead is None:
        raise ConfigurationError(
            f"min_every={min_every} without max_overhead: every explanation that is due is made anyway. Give "
            "max_overhead=, or leave min_every out."
        )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The share of a run's wall time that a monitor may take.

    Args:
        max_overhead: Share of the wall time, between 0 and 1; None for no limit.
        min_every: At least one of so many explanations that are due is made, whatever it costs; None for no such
            promise.

    Raises:
        ConfigurationError: An impossible share or number.

    Example:
        >>> Budget(max_overhead=0.05).max_overhead
        0.05
    """

    max_overhead: float | None = None
    min_every: int | None = None

    def __post_init__(self) -> None:
        check_budget(self.max_overhead, self.min_every)


class BudgetDecision(IntEnum):
    """A process's decision on an explanation that is due. Of several processes, the largest counts for all."""

    AFFORDABLE = 0
    TOO_EXPENSIVE = 1
    REQUIRED = 2


class SkipRule:
    """Skip rule: the explanations that are due and skipped to stay within a budget.

    The next explanation is expected to cost as much as the more expensive one of the last two. It is made if the budget
    leaves room for it and for another one: the last of the run, which is always made, as is the first.

    Args:
        budget: The share of the time that may be spent.
        stopwatch: Measures the time spent.

    Attributes:
        n_sharing: Number of monitors that share the budget evenly.
        n_skipped: Explanations skipped since the last one that was made.

    Example:
        >>> rule = SkipRule(Budget(max_overhead=0.5), Stopwatch())
        >>> rule.decision(is_last=False).name
        'REQUIRED'
    """

    def __init__(self, budget: Budget, stopwatch: Stopwatch) -> None:
        self.n_sharing = 1
        self.n_skipped = 0
        self._budget = budget
        self._stopwatch = stopwatch
        self._costs: list[float] = []
        self._spent_before = 0.0

    @property
    def limit(self) -> float | None:
        """The share of the wall time that may be spent; None for any."""
        share = self._budget.max_overhead
        return None if share is None else share / self.n_sharing

    def begin_run(self, *, n_sharing: int = 1) -> None:
        """Begin a run, in which so many monitors share the budget."""
        self.n_sharing, self.n_skipped, self._costs = n_sharing, 0, []

    def decision(self, *, is_last: bool) -> BudgetDecision:
        """Decide on an explanation that is due now."""
        limit, longest = self.limit, self._budget.min_every
        if limit is None or is_last or not self._costs or (longest is not None and self.n_skipped + 1 >= longest):
            return BudgetDecision.REQUIRED
        both = 2 * max(self._costs)
        room = limit * (self._stopwatch.elapsed() + both) - self._stopwatch.spent
        return BudgetDecision.AFFORDABLE if both <= room else BudgetDecision.TOO_EXPENSIVE

    def skip(self) -> None:
        """Record that an explanation is skipped."""
        self.n_skipped += 1

    def begin_report(self) -> None:
        """Record that an explanation begins."""
        self._spent_before = self._stopwatch.spent

    @contextmanager
    def one_time_cost(self) -> Generator[None, None, None]:
        """Count the time inside as spent, but not as part of what an explanation costs."""
        before = self._stopwatch.spent
        with self._stopwatch.spending():
            yield
        self._spent_before += self._stopwatch.spent - before

    def end_report(self) -> None:
        """Record that the explanation is made, and what it cost."""
        self._costs = [*self._costs[-1:], self._stopwatch.spent - self._spent_before]
        self.n_skipped = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the time spent so far, as plain numbers."""
        watch = self._stopwatch
        state = {"spent": watch.spent, "elapsed": watch.elapsed()}
        return {**state, "costs": list(self._costs), "n_skipped": self.n_skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._stopwatch.resume(spent=state["spent"], elapsed=state["elapsed"])
        self._costs, self.n_skipped = list(state["costs"]), state["n_skipped"]


LARGEST_STRIDE = 1 << 16


def stride_within(share: float, *, cost: float, pause: float) -> int:
    """Return the smallest power of two n such that something done every n-th time takes at most a share of the time.

    Args:
        share: Share of the time, 0 to 1.
        cost: Seconds that it takes each time.
        pause: Seconds of everything else between two occasions.

    Example:
        >>> stride_within(0.01, cost=0.002, pause=0.1)
        2
    """
    stride = 1
    while cost > share * (stride * pause + cost) and stride < LARGEST_STRIDE:
        stride *= 2
    return stride


FORWARD, GRADIENT, TRAINING = 1, 2, 3
"""Cost of a pass of one sample: forward; forward and back to the input; forward and back to input and weights."""


class PassBudget:
    """The passes of samples that explanations take beside training: counted, so that a run repeated decides alike.

    Args:
        share: Largest share of the passes of training so far.

    Attributes:
        trained: Passes of training so far.
        spent: Passes of explanations so far.

    Example:
        >>> budget = PassBudget(0.05)
        >>> budget.train(1000)
        >>> budget.allows(100, at_end=100, progress=0.5, is_first=True)
        True
        >>> budget.allows(100, at_end=300, progress=0.5, is_first=True)
        False
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.trained = 0.0
        self.spent = 0.0

    def train(self, n_samples: int) -> None:
        """Count samples that training was given."""
        self.trained += TRAINING * n_samples

    def spend(self, cost: float) -> None:
        """Count passes of explanations."""
        self.spent += cost

    def allows(self, cost: float, *, at_end: float, progress: float | None, is_first: bool) -> bool:
        """Return True if an explanation fits in, and leaves room for those at the end of the run.

        Args:
            cost: Passes that it takes.
            at_end: Passes that are taken at the end of the run in any case.
            progress: Share of the run that is done, above 0 to 1; None where the length of the run is not known.
            is_first: True for the first one. It may come before its share is earned.
        """
        if progress is not None and self.spent + cost + at_end > self.share * self.trained / progress:
            return False
        return (is_first and progress is not None) or self.spent + cost <= self.share * self.trained

    def state_dict(self) -> dict[str, float]:
        """Return the passes so far."""
        return {"trained": self.trained, "spent": self.spent}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from what `state_dict` returned."""
        self.trained, self.spent = state["trained"], state["spent"]
