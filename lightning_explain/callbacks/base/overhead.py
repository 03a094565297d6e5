"""Staying within a budget of wall time: of every moment that is due, whether to explain; all processes alike."""

from contextlib import AbstractContextManager
from typing import Any

import torch

from lightning_explain.budget import Budget, BudgetDecision, Thrift
from lightning_explain.callbacks.base.early_stopping import check_listeners
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.log import Journal, current_step, tag
from lightning_explain.schedule import Schedule, Stopwatch


def largest(trainer: Any, number: int) -> int:
    """Return the largest of all processes' numbers; a collective call in a distributed run."""
    own = torch.tensor(number, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(own, reduce_op="max"))


class Pacing:
    """Lets moments pass that a monitor's budget does not allow. Without a budget every moment is used.

    Monitors of one Trainer that have a budget share it evenly, so that together they stay within it too.

    Args:
        name: The monitor's name.
        schedule: When an explanation is due.
        budget: What may be spent.
        guard: For saying that it was more.

    Attributes:
        stopwatch: Measures what is spent.
    """

    def __init__(self, name: str, *, schedule: Schedule, budget: Budget, guard: Guard) -> None:
        self.stopwatch = Stopwatch()
        self._name = name
        self._schedule = schedule
        self._budget = budget
        self._guard = guard
        self._thrift = Thrift(budget, self.stopwatch)

    @property
    def limit(self) -> float | None:
        """Share of the wall time that this monitor may take; None for any."""
        return self._thrift.limit

    @property
    def n_skipped(self) -> int:
        """Moments let pass since the last explanation; if not 0 at the end of the run, the last one is owed."""
        return self._thrift.n_skipped

    def begin(self, trainer: Any) -> None:
        """Begin a fit: start the clock, and see with whom the budget is shared."""
        self.stopwatch.begin()
        self._thrift.forget()
        parts = [part for callback in vars(trainer)["callbacks"] for part in vars(callback).values()]
        sharing = [part for part in parts if isinstance(part, Pacing) and part.limit is not None]
        self._thrift.n_sharing = max(1, len(sharing))
        check_listeners(trainer, self._name, schedule=self._schedule, may_skip=self.limit is not None)

    def allows(self, trainer: Any) -> bool:
        """Say whether to explain at a moment that is due, and note it if not.

        A collective call in a distributed run: the slowest process decides, so all must ask at the same moments.
        """
        if self.limit is None or trainer.state.fn != "fit":
            return True
        verdict = self._thrift.verdict(is_last=self._is_last(trainer))
        if largest(trainer, int(verdict)) != BudgetDecision.TOO_DEAR:
            return True
        self._thrift.skip()
        return False

    def _is_last(self, trainer: Any) -> bool:
        return trainer.should_stop or self._schedule.is_last(
            epoch=trainer.current_epoch,
            max_epochs=trainer.max_epochs or -1,
            n_steps=trainer.global_step,
            max_steps=trainer.max_steps,
        )

    def start(self) -> None:
        """Note that an explanation begins."""
        self._thrift.begin()

    def once(self) -> AbstractContextManager[None]:
        """Spend something that no later explanation costs again: it is no measure of what they cost."""
        return self._thrift.once()

    def done(self) -> None:
        """Note that it was made and reported."""
        self._thrift.done()

    def close(self, trainer: Any) -> None:
        """Log what was spent in all, and say if that was more than the budget."""
        if self.limit is None:
            return
        share = self.stopwatch.share()
        with self._guard.doing("logging the overhead"):
            Journal(trainer, current_step(trainer)).scalars({tag(self._name, "overhead"): share})
        if share > self.limit and trainer.is_global_zero:
            seconds, shared = self.stopwatch.elapsed(), self._thrift.n_sharing
            of = f", shared by {shared} monitors," if shared > 1 else ""
            self._guard.note(
                f"it took {100 * share:.3g} % of the {seconds:.0f} s, more than the {100 * self.limit:.3g} % that "
                f"max_overhead={self._budget.max_overhead}{of} allows: the first and the last explanation are always "
                "made, so is one of every min_every, and what one costs is only known afterwards. A smaller probe or "
                "fewer layers cost less; of a longer run it is a smaller share.",
                about="max_overhead",
            )

    def record(self) -> dict[str, int]:
        """Return what an explanation's record says of it: moments let pass before it; nothing without a budget."""
        return {} if self.limit is None else {"skipped": self.n_skipped}

    def state_dict(self) -> dict[str, Any] | None:
        """Return what was spent and skipped, as plain numbers; None without a budget."""
        return None if self.limit is None else self._thrift.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on from what `state_dict` returned; a checkpoint of a run without a budget changes nothing."""
        if state is not None and self.limit is not None:
            self._thrift.load_state_dict(state)
