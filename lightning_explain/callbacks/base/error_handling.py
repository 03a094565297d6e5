"""An explanation must never kill a training run: what fails is reported once, and the run goes on."""

import errno
import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal

from lightning_explain.attribution.integrated_gradients.passes import ran_out_of_memory
from lightning_explain.errors import (
    ConfigurationError,
    ExplanationError,
    ExplanationWarning,
    LoggerError,
    doubts_reported_to,
)

OnError = Literal["warn", "raise"]

CALLING = "The model is called in eval mode with the probe: forward_fn= says how, probe= with what."
WRITING = "What comes next is given to the logger again."
DRAWING_A_PROBE = "Give probe=Probe.from_dataset(...) samples that can be read and fit the model."
MORE_INPUTS = (
    "The module's forward takes more than it was given: name all of its inputs, in its order, with "
    "input=lambda batch: (batch['x'], batch['mask']), or batch[0] and batch[1]."
)
NOT_IN_TESTS = (
    "trainer.test is not watched, so nothing is recorded. trainer.validate(model, dataloaders=...) is, and takes the "
    "same data."
)
TAKING_UP = "taking up the checkpoint"
BEGINNING_ANEW = "So its curves restart. To go on with them, resume from a whole checkpoint of this very run."

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)

BY_METHOD = "Give a smaller probe=, or the method a smaller chunk_size=: explanations need memory beside training."
BY_PROBE = "Give a smaller probe=, or fewer layers=: following paths needs memory beside training."


class Guard:
    """Turns the failures of one monitor into one warning each.

    Args:
        owner: The monitor's class and name, for messages.
        on_error: `"warn"`, or `"raise"` to let every failure through.
        memory: Advice where memory runs out.

    Raises:
        ConfigurationError: `on_error` is neither.
    """

    def __init__(self, owner: str, on_error: OnError, *, memory: str = BY_METHOD) -> None:
        if on_error not in ("warn", "raise"):
            raise ConfigurationError(f"on_error={on_error!r}; expected 'warn' or 'raise'.")
        self.owner = owner
        self.on_error = on_error
        self._speaks = True
        self._memory = memory
        self._told: set[str] = set()

    def begin(self) -> None:
        """Begin a run: what was reported in an earlier one is reported again."""
        self._told.clear()

    def begin_shared_work(self, *, speaks: bool) -> None:
        """Begin a task of several processes: warnings come from one of them."""
        self._speaks = speaks

    @contextmanager
    def doing(
        self,
        what: str,
        *,
        at_set_up: bool = False,
        cure: str = "",
        consequence: str = "",
        blame: Callable[[], str] | None = None,
    ) -> Generator[None, None, None]:
        """Run something that may fail; a failure ends the block, not the training.

        Args:
            what: The work, e.g. "explaining the probe".
            at_set_up: True before training begins, where a `ConfigurationError` is raised.
            cure: Advice on failures of which nothing better is known.
            consequence: The consequence of a failure, if more than that the result is missing.
            blame: Finds out what a failure is due to, and what to do about that; empty if it is due to something else.
        """
        try:
            with doubts_reported_to(self._doubt):
                yield
        except Exception as error:  # whatever the user's model raises must not end the run
            if at_set_up and isinstance(error, ConfigurationError) and self.owner not in str(error):
                raise ConfigurationError(f"{self.owner}: {error}") from error
            if self.on_error == "raise" or (at_set_up and isinstance(error, ConfigurationError)):
                raise
            found = "" if blame is None or ran_out_of_memory(error) else blame()
            self.tell(what, error, "" if found else cure, found or consequence)

    def _doubt(self, message: str) -> None:
        # numbers differ from time to time
        about = re.sub(r"\d+", "#", message)
        if self._speaks and about not in self._told:
            self._told.add(about)
            warnings.warn(f"{message} (Of {self.owner}; reported once per run.)", ExplanationWarning, stacklevel=4)

    def tell(self, what: str, error: BaseException, cure: str = "", consequence: str = "") -> None:
        """Warn once for each thing that failed, and once for each cause: a full disk interrupts many things."""
        cause = identity_of(error)
        known = {what, cause} & self._told
        self._told |= {what, cause}
        if known or not self._speaks:
            return
        words = [f"{type(error).__name__}: {error}", remedy_for(error, cure, self._memory), consequence]
        warnings.warn(
            f"{self.owner}: {what} failed and is skipped; training goes on. {' '.join(word for word in words if word)} "
            "(Reported once per run. To stop at such errors and see where they come from, give on_error='raise'.)",
            ExplanationWarning,
            stacklevel=3,
        )

    def note(self, message: str, *, about: str | None = None) -> None:
        """Warn once of something that is no failure but limits what the results show.

        Args:
            message: The message.
            about: The subject, if the message may differ from time to time and should still appear once.
        """
        if self._speaks and (about or message) not in self._told:
            self._told.add(about or message)
            warnings.warn(f"{self.owner}: {message}", ExplanationWarning, stacklevel=3)


def remedy_for(error: BaseException, otherwise: str = "", memory: str = BY_METHOD) -> str:
    """Return advice on a failure; empty where its own message has it.

    Args:
        error: The exception.
        otherwise: Advice on other kinds of failures.
        memory: Advice where memory runs out.

    Example:
        >>> remedy_for(OSError(errno.ENOSPC, "No space left on device"))
        'Make room on the disk: what comes next is written again as soon as there is some.'
    """
    if isinstance(error, LoggerError) and error.__cause__ is not None:
        return remedy_for(error.__cause__, otherwise, memory)
    if isinstance(error, ConfigurationError | ExplanationError):
        return ""
    if ran_out_of_memory(error):
        return memory
    if isinstance(error, OSError) and error.errno in FULL:
        return "Make room on the disk: what comes next is written again as soon as there is some."
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return "Give the logger a folder in which files and folders can be made."
    lacks_inputs = isinstance(error, TypeError) and "required positional argument" in str(error)
    return MORE_INPUTS if lacks_inputs else otherwise


def identity_of(error: BaseException) -> str:
    """Return the key that failures of one cause share, whatever they interrupted.

    Example:
        >>> full = [OSError(errno.ENOSPC, "No space left on device", name) for name in ("a.png", "b.png")]
        >>> identity_of(full[0]) == identity_of(full[1])
        True
    """
    if isinstance(error, LoggerError) and error.__cause__ is not None:
        return identity_of(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None:
        return f"OSError {error.errno}"
    # 2 of 2 samples or 8 of 8: counts differ from time to time
    return re.sub(r"\d+", "#", f"{type(error).__name__}: {error}")
