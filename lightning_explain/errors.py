"""What can go wrong, in two kinds: told before training starts, or told while it goes on."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar


class ConfigurationError(ValueError):
    """A callback, probe or method was asked for something impossible.

    Raised at set-up, before the first training step, and says what was given, what was expected and
    what to do. It is raised whatever `on_error` says.
    """


class ExplanationError(RuntimeError):
    """One explanation failed while training runs (a NaN gradient, a forward that raises).

    Callbacks turn it into one `ExplanationWarning` and go on, unless `on_error="raise"`.
    """


class LoggerError(ExplanationError):
    """A logger failed to take what it was given; `__cause__` is what it raised."""


class ExplanationWarning(UserWarning):
    """An explanation failed, or cannot be trusted; the message says why and what to do."""


_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def doubts_told_to(listener: Callable[[str], None]) -> Generator[None, None, None]:
    """Hand what `doubt` says inside to a listener, which knows who asked and what was said before."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def doubt(message: str, *, stacklevel: int = 2) -> None:
    """Warn of a result that cannot be trusted, or tell the monitor that asked for it."""
    listener = _listener.get()
    if listener is None:
        warnings.warn(message, ExplanationWarning, stacklevel=stacklevel + 1)
    else:
        listener(message)
