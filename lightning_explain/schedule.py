"""Schedules in epochs and steps: pure decisions from counts, without a Trainer."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from lightning_explain.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule in epochs, in training steps, or both.

    Args:
        every_n_epochs: Due at the end of every n-th epoch; None for no schedule by epoch.
        every_n_train_steps: Due after every n-th training step; None for no schedule by step.

    Raises:
        ConfigurationError: A count below 1, or no schedule at all.

    Example:
        >>> schedule = Schedule(every_n_epochs=2)
        >>> [epoch for epoch in range(6) if schedule.due_after_epoch(epoch)]
        [1, 3, 5]
    """

    every_n_epochs: int | None = 1
    every_n_train_steps: int | None = None

    def __post_init__(self) -> None:
        for option in ("every_n_epochs", "every_n_train_steps"):
            count = getattr(self, option)
            if count is not None and count < 1:
                raise ConfigurationError(f"{option}={count}; expected at least 1, or None to switch it off.")
        if self.every_n_epochs is None and self.every_n_train_steps is None:
            raise ConfigurationError(
                "every_n_epochs and every_n_train_steps are both None, so nothing would ever be explained; give one."
            )

    def due_after_epoch(self, epoch: int) -> bool:
        """Return True at the end of every n-th epoch; epochs count from 0."""
        return self.every_n_epochs is not None and (epoch + 1) % self.every_n_epochs == 0

    def due_after_step(self, n_steps: int) -> bool:
        """Return True after every n-th step, given the number of steps done."""
        return self.every_n_train_steps is not None and n_steps > 0 and n_steps % self.every_n_train_steps == 0

    def is_last(self, *, epoch: int, max_epochs: int, n_steps: int, max_steps: int) -> bool:
        """Return True if what is due now is certainly the last of the run.

        Args:
            epoch: The running epoch, counted from 0.
            max_epochs: Epochs of the run; below 1 where no number is set.
            n_steps: Steps done.
            max_steps: Steps of the run; below 1 where no number is set.

        Example:
            >>> Schedule(every_n_epochs=3).is_last(epoch=8, max_epochs=10, n_steps=90, max_steps=-1)
            True
        """
        if 0 < max_steps <= n_steps:
            return True
        if self.every_n_epochs is None:
            assert self.every_n_train_steps is not None
            return 0 < max_steps < n_steps + self.every_n_train_steps
        return self.every_n_train_steps is None and 0 < max_epochs <= epoch + self.every_n_epochs

    def n_to_come(self, *, epoch: int, max_epochs: int, n_steps: int, max_steps: int) -> int | None:
        """Return the number of reports that are certain to follow the one due now; None where that is not known.

        Args:
            epoch: As in `is_last`, like the others.
            max_epochs: Epochs of the run.
            n_steps: Steps done.
            max_steps: Steps of the run.

        Example:
            >>> Schedule().n_to_come(epoch=3, max_epochs=5, n_steps=400, max_steps=-1)
            1
        """
        if self.is_last(epoch=epoch, max_epochs=max_epochs, n_steps=n_steps, max_steps=max_steps):
            return 0
        if self.every_n_epochs is None:
            return (max_steps - n_steps) // (self.every_n_train_steps or 1) if max_steps > 0 else None
        by_epoch = self.every_n_train_steps is None and max_steps < 1 and max_epochs > 0
        return (max_epochs - 1 - epoch) // self.every_n_epochs if by_epoch else None

    def progress(self, *, epoch: int, max_epochs: int, n_steps: int, max_steps: int) -> float | None:
        """Return the share of the run that is done at the end of an epoch, above 0 to 1; None where that is not known.

        Args:
            epoch: As in `is_last`, like the others.
            max_epochs: Epochs of the run.
            n_steps: Steps done.
            max_steps: Steps of the run.

        Example:
            >>> Schedule().progress(epoch=0, max_epochs=4, n_steps=100, max_steps=200)
            0.5
        """
        done = [(epoch + 1) / max_epochs] if max_epochs > 0 else []
        done += [n_steps / max_steps] if max_steps > 0 else []
        return min(1.0, max(done)) or None if done else None


def worth_redrawing(count: int) -> bool:
    """Return True if the count-th addition to a growing picture is worth drawing it anew.

    True for 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ...: twice per doubling, so that the pictures of a long run cost as
    many bytes as its logarithm.

    Example:
        >>> [count for count in range(1, 40) if worth_redrawing(count)]
        [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    """
    power = 1 << (max(count, 1).bit_length() - 1)
    return count in (power, power + power // 2)


def is_left_to_last(count: int, last: int | None) -> bool:
    """Return True if the last report follows the count-th one soon: within half as many reports as there were.

    Example:
        >>> is_left_to_last(4, 5), is_left_to_last(4, 7), is_left_to_last(4, None)
        (True, False, False)
    """
    return last is not None and count < last <= count + count // 2


def worth_measuring(count: int, last: int | None = None) -> bool:
    """Return True if the count-th report is worth what takes passes of its own: 1, 2, 4, 8, 16, ..., and the last one.

    One that the last follows soon, within half as many reports as there were, is left to the last.

    Args:
        count: Number of the report, from 1 on.
        last: Number of the last one, if it is known.

    Example:
        >>> [count for count in range(1, 40) if worth_measuring(count)]
        [1, 2, 4, 8, 16, 32]
        >>> [count for count in range(1, 21) if worth_measuring(count, last=20)]
        [1, 2, 4, 8, 20]
    """
    if is_left_to_last(count, last):
        return False
    return count == last or (count > 0 and count & (count - 1) == 0)


class Stopwatch:
    """Wall time spent explaining, as a share of the wall time since the run began.

    Example:
        >>> watch = Stopwatch()
        >>> watch.begin()
        >>> with watch.spending():
        ...     pass
        >>> 0 <= watch.share() <= 1
        True
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Count from now on."""
        self.spent, self._began = 0.0, time.perf_counter()

    @contextmanager
    def spending(self) -> Generator[None, None, None]:
        """Count the time inside as spent."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - start

    def add(self, seconds: float) -> None:
        """Count seconds as spent that were measured elsewhere."""
        self.spent += seconds

    def elapsed(self) -> float:
        """Return the seconds that passed since the run began."""
        return time.perf_counter() - self._began

    def share(self) -> float:
        """Return time spent over time passed, 0 to 1."""
        return self.spent / max(self.elapsed(), 1e-9)

    def resume(self, *, spent: float, elapsed: float) -> None:
        """Continue as if this much had been spent, and had passed, before now."""
        self.spent, self._began = self.spent + spent, self._began - elapsed
