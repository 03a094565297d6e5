"""Where in its run a Trainer is, and whether it is time."""

from typing import Any

from lightning_explain.schedule import Schedule


def due_in_validation(trainer: Any, schedule: Schedule) -> bool:
    """Say whether the running validation ends a due epoch, or was asked for by `trainer.validate`.

    Validations in the middle of an epoch (`val_check_interval`) do not count: the cadence is in epochs.
    """
    if trainer.sanity_checking:
        return False
    if trainer.state.fn == "validate":
        return True
    ends_epoch = bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)
    return ends_epoch and schedule.due_after_epoch(trainer.current_epoch)


class Moments:
    """The moments at which a monitor explains: those its schedule names, but never twice at one optimizer step.

    Args:
        schedule: The cadence.

    Attributes:
        last: The optimizer step of the last moment taken; -1 before the first.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.last = -1

    def take(self, trainer: Any) -> None:
        """Note that this step's moment is used up."""
        self.last = trainer.global_step

    def after_step(self, trainer: Any) -> bool:
        """Say whether it is time after a training batch: once for a step, also if it accumulates several batches."""
        return self._schedule.due_after_step(trainer.global_step) and trainer.global_step != self.last

    def in_validation(self, trainer: Any) -> bool:
        """Say whether it is time in the running validation."""
        taken = trainer.state.fn == "fit" and trainer.global_step == self.last
        return due_in_validation(trainer, self._schedule) and not taken

    def after_epoch(self, trainer: Any) -> bool:
        """Say whether it is time at the end of a training epoch, in which no validation took its moment."""
        return self._schedule.due_after_epoch(trainer.current_epoch) and trainer.global_step != self.last
