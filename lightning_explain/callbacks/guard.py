"""An explanation must never kill a training run: what fails is told once, and the run goes on."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from lightning_explain.errors import ConfigurationError, ExplanationWarning

OnError = Literal["warn", "raise"]


class Guard:
    """Turns the failures of one monitor into one warning each.

    Args:
        owner: The monitor's class and name, for messages.
        on_error: `"warn"`, or `"raise"` to let every failure through.

    Attributes:
        quiet: Say nothing: what several processes do together is told by the first of them.

    Raises:
        ConfigurationError: `on_error` is neither.
    """

    def __init__(self, owner: str, on_error: OnError) -> None:
        if on_error not in ("warn", "raise"):
            raise ConfigurationError(f"on_error={on_error!r}; expected 'warn' or 'raise'.")
        self.owner = owner
        self.on_error = on_error
        self.quiet = False
        self._told: set[str] = set()

    @contextmanager
    def doing(self, what: str, *, at_set_up: bool = False) -> Generator[None, None, None]:
        """Run something that may fail; a failure ends the block, not the training.

        Args:
            what: What is being done, e.g. "explaining the probe".
            at_set_up: Whether training has not begun, so that a `ConfigurationError` must be raised.
        """
        try:
            yield
        except Exception as error:  # whatever the user's model raises must not end the run
            if self.on_error == "raise" or (at_set_up and isinstance(error, ConfigurationError)):
                raise
            self.tell(what, f"{type(error).__name__}: {error}")

    def tell(self, what: str, cause: str) -> None:
        """Warn once for each thing that failed."""
        if self.quiet or what in self._told:
            return
        self._told.add(what)
        warnings.warn(
            f"{self.owner}: {what} failed and is skipped; training goes on. {cause} "
            "(Told once a run. To stop at such errors and see where they come from, give on_error='raise'.)",
            ExplanationWarning,
            stacklevel=3,
        )

    def note(self, message: str, *, about: str | None = None) -> None:
        """Say something once that is no failure but limits what can be read off the results.

        Args:
            message: What to say.
            about: What it is about, if the words may differ from time to time and should still be said once.
        """
        if not self.quiet and (about or message) not in self._told:
            self._told.add(about or message)
            warnings.warn(f"{self.owner}: {message}", ExplanationWarning, stacklevel=3)
