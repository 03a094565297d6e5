"""Where in its run a Trainer is."""

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
