"""How much of a run's wall time may be spent: pure decisions from a clock, without a Trainer."""

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
    """Refuse what is no budget.

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
            f"min_every={min_every!r}; expected a whole number of at least 1 (of so many moments that are due, at "
            "least one is explained), or None."
        )
    if max_overhead is None:
        raise ConfigurationError(
            f"min_every={min_every} without max_overhead: every moment that is due is explained anyway. Give "
            "max_overhead=, or leave min_every out."
        )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of a run's wall time a monitor may take.

    Args:
        max_overhead: Share of the wall time, between 0 and 1; None for no limit.
        min_every: Of so many moments that are due, at least one is explained, whatever it costs; None for no such
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
    """What a process says of a moment that is due. Of several processes, the largest counts for all."""

    AFFORDABLE = 0
    TOO_DEAR = 1
    OWED = 2


class Thrift:
    """Chooses, of the moments that are due, those that a budget allows.

    The next explanation is expected to cost what the dearer of the last two did. It is made if, after it, there would
    still be room for another one: the last of the run, which is made in any case, as is the first.

    Args:
        budget: What may be spent.
        stopwatch: What was spent.

    Attributes:
        n_sharing: How many monitors share the budget evenly.
        n_skipped: Moments that were due since the last explanation, and were let pass.

    Example:
        >>> thrift = Thrift(Budget(max_overhead=0.5), Stopwatch())
        >>> thrift.verdict(is_last=False).name
        'OWED'
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

    def forget(self) -> None:
        """Begin anew."""
        self.n_skipped, self._costs = 0, []

    def verdict(self, *, is_last: bool) -> BudgetDecision:
        """Say whether to explain now."""
        limit, longest = self.limit, self._budget.min_every
        if limit is None or is_last or not self._costs or (longest is not None and self.n_skipped + 1 >= longest):
            return BudgetDecision.OWED
        both = 2 * max(self._costs)
        room = limit * (self._stopwatch.elapsed() + both) - self._stopwatch.spent
        return BudgetDecision.AFFORDABLE if both <= room else BudgetDecision.TOO_DEAR

    def skip(self) -> None:
        """Note that a moment was let pass."""
        self.n_skipped += 1

    def begin(self) -> None:
        """Note that an explanation begins."""
        self._spent_before = self._stopwatch.spent

    @contextmanager
    def once(self) -> Generator[None, None, None]:
        """Spend something that no later explanation costs again."""
        before = self._stopwatch.spent
        with self._stopwatch.spending():
            yield
        self._spent_before += self._stopwatch.spent - before

    def done(self) -> None:
        """Note what it cost."""
        self._costs = [*self._costs[-1:], self._stopwatch.spent - self._spent_before]
        self.n_skipped = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was spent so far, as plain numbers."""
        watch = self._stopwatch
        state = {"spent": watch.spent, "elapsed": watch.elapsed()}
        return {**state, "costs": list(self._costs), "n_skipped": self.n_skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._stopwatch.resume(spent=state["spent"], elapsed=state["elapsed"])
        self._costs, self.n_skipped = list(state["costs"]), state["n_skipped"]


LARGEST_STRIDE = 1 << 16


def stride_within(share: float, *, cost: float, pause: float) -> int:
    """Find how rarely to do something small, so that it takes at most a share of the time: every 1st, 2nd, 4th time.

    Args:
        share: Of the time, 0 to 1.
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
