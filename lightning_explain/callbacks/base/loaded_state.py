"""A monitor's state out of a checkpoint, between being loaded and being taken up by a fit."""

from typing import Any


class LoadedState:
    """Keeps a checkpoint's state until the next fit begins.

    A search for a learning rate or a batch size inside a fit saves a checkpoint, trains a little without the callbacks,
    and restores that checkpoint. What it loads is what the monitor holds already: kept for a later fit, it would be
    written into every checkpoint of this one.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, Any] | None = None
        self._fitting = False

    def load(self, state: dict[str, Any]) -> None:
        """Keep a checkpoint's state, unless a fit is in progress."""
        if not self._fitting:
            self.waiting = state

    def begin_fit(self) -> dict[str, Any] | None:
        """Begin a fit; return the state that it goes on with, if one was loaded."""
        waiting, self.waiting, self._fitting = self.waiting, None, True
        return waiting

    def end_fit(self) -> None:
        """End a fit, or what was left of an interrupted one."""
        self._fitting = False
