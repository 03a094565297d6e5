"""Exceptions and warnings: configuration errors before training starts, others while it runs."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar


class ConfigurationError(ValueError):
    """A callback, probe or method is configured in a way that cannot work.

    Raised at set-up, before the first training step, and says what was given, what was expected and
    what to do. It is raised whatever `on_error` says.
    """


class ExplanationError(RuntimeError):
    """An explanation failed during training (a NaN gradient, a forward that raises).

    Callbacks turn it into one `ExplanationWarning` and go on, unless `on_error="raise"`.
    """


class LoggerError(ExplanationError):
    """A logger failed to log; `__cause__` is the exception it raised."""


class ExplanationWarning(UserWarning):
    """An explanation failed, or is unreliable; the message states cause and remedy."""


_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def doubts_reported_to(listener: Callable[[str], None]) -> Generator[None, None, None]:
    """Pass the warnings of `doubt` inside to a listener, which knows the monitor and earlier warnings."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def doubt(message: str, *, stacklevel: int = 2) -> None:
    """Warn of an unreliable result, or tell the monitor that requested it."""
    listener = _listener.get()
    if listener is None:
        warnings.warn(message, ExplanationWarning, stacklevel=stacklevel + 1)
    else:
        listener(message)
