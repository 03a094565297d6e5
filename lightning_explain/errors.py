"""What can go wrong, in two kinds: told before training starts, or told while it goes on."""


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
