"""The moments at which a monitor reports: its schedule in epochs and steps, and the skip rule of its time budget."""

from contextlib import AbstractContextManager
from typing import Any

import torch

from lightning_explain.budget import Budget, BudgetDecision, SkipRule
from lightning_explain.callbacks.base.early_stopping import check_listeners
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.log import Journal, current_step, tag
from lightning_explain.schedule import Schedule, Stopwatch


def largest(trainer: Any, number: int) -> int:
    """Return the largest of all processes' numbers; a collective call in a distributed run."""
    if trainer.world_size == 1:
        return number  # a device that is asked for it would be waited for
    own = torch.tensor(number, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(own, reduce_op="max"))


def _progress(trainer: Any) -> dict[str, int]:
    """Return epochs and steps done, and those planned."""
    return {
        "epoch": trainer.current_epoch,
        "max_epochs": trainer.max_epochs or -1,
        "n_steps": trainer.global_step,
        "max_steps": trainer.max_steps,
    }


class MonitorSchedule:
    """Schedule of a monitor's reports: due ones, once for each optimizer step, if the budget allows.

    Monitors of one Trainer that have a budget share it evenly, so that together they stay within it too.

    Args:
        name: The monitor's name.
        schedule: The schedule in epochs and steps.
        budget: The share of the wall time that may be spent.
        guard: The monitor's error handling.

    Attributes:
        stopwatch: Measures the time spent.
        last_step: The optimizer step of the last report; -1 before the first.
    """

    def __init__(self, name: str, *, schedule: Schedule, budget: Budget, guard: Guard) -> None:
        self.stopwatch = Stopwatch()
        self.last_step = -1
        self._last_step_report = -1
        self._name = name
        self._schedule = schedule
        self._budget = budget
        self._guard = guard
        self._rule = SkipRule(budget, self.stopwatch)

    def begin(self, trainer: Any) -> None:
        """Begin a fit: start the clock, and count the monitors that share the budget.

        Raises:
            ConfigurationError: A callback monitors a metric that some epochs do not have, and would end the run.
        """
        self.last_step = self._last_step_report = -1
        self.stopwatch.begin()
        parts = [part for callback in vars(trainer)["callbacks"] for part in vars(callback).values()]
        sharing = [part for part in parts if isinstance(part, MonitorSchedule) and part.limit is not None]
        self._rule.begin_run(n_sharing=max(1, len(sharing)))
        check_listeners(trainer, self._name, schedule=self._schedule, may_skip=self.limit is not None)

    # -- the schedule ------------------------------------------------------------------------------------------

    @property
    def reports_by_step_alone(self) -> bool:
        """True if no epoch ends with a report."""
        return self._schedule.every_n_epochs is None

    @property
    def reports_by_step(self) -> bool:
        """True if there are reports within an epoch."""
        return self._schedule.every_n_train_steps is not None

    def due_after_step(self, trainer: Any) -> bool:
        """Return True after every n-th training step, once for all batches that are accumulated in it."""
        is_new = trainer.global_step not in (self.last_step, self._last_step_report)
        return is_new and self._schedule.due_after_step(trainer.global_step)

    def due_in_validation(self, trainer: Any) -> bool:
        """Return True if the running validation ends a due epoch, or is that of `trainer.validate`.

        Validations in the middle of an epoch (`val_check_interval`) do not count: the schedule is in epochs.
        """
        if trainer.sanity_checking:
            return False
        if trainer.state.fn != "fit":
            return True
        ends_epoch = bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)
        return ends_epoch and self.due_after_epoch(trainer)

    def due_after_epoch(self, trainer: Any) -> bool:
        """Return True at the end of a due training epoch that has no report yet."""
        return trainer.global_step != self.last_step and self._schedule.due_after_epoch(trainer.current_epoch)

    def mark(self, trainer: Any) -> None:
        """Record that there is a report at this optimizer step, so that no other one is due."""
        self.last_step = trainer.global_step

    def mark_step_report(self, trainer: Any) -> None:
        """Record that there is a report after this step, which leaves the epoch's own report due."""
        self._last_step_report = trainer.global_step

    def begin_epoch(self) -> None:
        """Make the running epoch's report due, even if no optimizer step is made in it."""
        self.last_step = -1

    # -- the budget --------------------------------------------------------------------------------------------

    @property
    def limit(self) -> float | None:
        """Share of the wall time that this monitor may take; None without a budget."""
        return self._rule.limit

    @property
    def n_skipped(self) -> int:
        """Reports skipped since the last one; if not 0 at the end of the run, the last report is to be made up for."""
        return self._rule.n_skipped

    def skips(self, trainer: Any) -> bool:
        """Return True, and count it, if a report that is due must be skipped to stay within the budget.

        A collective call in a distributed run: the slowest process decides, so all must ask at the same moments.
        """
        if self.limit is None or trainer.state.fn != "fit":
            return False
        decision = self._rule.decision(is_last=self._is_last(trainer))
        if largest(trainer, int(decision)) != BudgetDecision.TOO_EXPENSIVE:
            return False
        self._rule.skip()
        return True

    def n_to_come(self, trainer: Any) -> int | None:
        """Return the number of reports of a fit that are certain to follow the one due now; None if unknown."""
        return self._schedule.n_to_come(**_progress(trainer)) if trainer.state.fn == "fit" else None

    def progress(self, trainer: Any) -> float | None:
        """Return the share of a fit that is done at the end of the running epoch; None where that is not known."""
        return self._schedule.progress(**_progress(trainer)) if trainer.state.fn == "fit" else None

    def _is_last(self, trainer: Any) -> bool:
        return trainer.should_stop or self._is_planned_last(trainer)

    def _is_planned_last(self, trainer: Any) -> bool:
        return self._schedule.is_last(**_progress(trainer))

    def start_report(self) -> None:
        """Record that the work on a report begins."""
        self._rule.begin_report()

    def one_time_cost(self) -> AbstractContextManager[None]:
        """Count the time inside as spent, but not as part of what a report costs."""
        return self._rule.one_time_cost()

    def end_report(self) -> None:
        """Record that a report was made, and what it cost."""
        self._rule.end_report()

    def close(self, trainer: Any) -> None:
        """Log the time spent in all, and warn if it exceeds the budget."""
        if self.limit is None:
            return
        share = self.stopwatch.share()
        with self._guard.doing("logging the overhead"):
            Journal(trainer, current_step(trainer)).scalars({tag(self._name, "overhead"): share})
        if share > self.limit and trainer.is_global_zero:
            seconds, shared = self.stopwatch.elapsed(), self._rule.n_sharing
            of = f", shared by {shared} monitors," if shared > 1 else ""
            self._guard.note(
                f"it took {100 * share:.3g} % of the {seconds:.0f} s, more than the {100 * self.limit:.3g} % that "
                f"max_overhead={self._budget.max_overhead}{of} allows: the first and the last explanation are always "
                "made, and so is one of every min_every; what an explanation costs is known only afterwards. A smaller "
                "probe or fewer layers cost less, and in a longer run it is a smaller share.",
                about="max_overhead",
            )

    def record(self) -> dict[str, int]:
        """Return the record's entry on the budget: the reports skipped before this one; empty without a budget."""
        return {} if self.limit is None else {"skipped": self.n_skipped}

    def state_dict(self) -> dict[str, Any] | None:
        """Return the time spent and the reports skipped, as plain numbers; None without a budget."""
        return None if self.limit is None else self._rule.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Continue from what `state_dict` returned; the state of a run without a budget changes nothing."""
        if state is not None and self.limit is not None:
            self._rule.load_state_dict(state)
