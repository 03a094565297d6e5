"""Options of a monitor: unknown names, values of another type and empty lists are refused with what is possible."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import kinds_of, refuse_other_types


def option_names(monitor: type) -> list[str]:
    """Return the names of a monitor's options, its own and those of its base classes.

    Example:
        >>> class Base:
        ...     def __init__(self, *, probe=None, **unknown): ...
        >>> class Own(Base):
        ...     def __init__(self, *, layers=None, **options): ...
        >>> option_names(Own)
        ['layers', 'probe']
    """
    constructors = [
        vars(base)["__init__"] for base in monitor.__mro__ if "__init__" in vars(base) and base is not object
    ]
    return sorted(
        {
            name
            for constructor in constructors
            for name, parameter in inspect.signature(constructor).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
    )


def refuse_unknown(monitor: type, given: Mapping[str, Any]) -> None:
    """Refuse options that a monitor does not have.

    Raises:
        ConfigurationError: There is one; names the options that were probably meant, or all of them.
    """
    if not given:
        return
    known = option_names(monitor)
    name = next(iter(given))
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"its options are {', '.join(known)}."
    raise ConfigurationError(f"{monitor.__name__} has no option {name!r}; {hint}")


@cache
def _kinds_by_option(constructor: Callable[..., Any]) -> dict[str, list[Any]]:
    parameters = inspect.signature(constructor).parameters.items()
    return kinds_of(constructor, [name for name, each in parameters if each.kind is each.KEYWORD_ONLY])


HINTS = {
    "probe": "Probe.from_dataset(dataset) draws one, and Probe(inputs=..., targets=...) holds given tensors.",
    "display": "Display(form=..., mean=..., tokens=...) says how samples are shown.",
    "strategies": "Strategies() looks for them with its defaults.",
    "alert": "DriftAlert() watches with its defaults.",
}
"""What is said beside the expected type, by option."""


def check_types(constructor: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse options whose values are of another type than they are annotated with.

    Args:
        constructor: The `__init__` of a monitor, or of one of its base classes.
        given: Its options by name; other names are left alone.

    Raises:
        ConfigurationError: A value is of another type; names what is expected.

    Example:
        >>> class Monitor:
        ...     def __init__(self, *, every_n_epochs: int | None = 1): ...
        >>> check_types(Monitor.__init__, {"every_n_epochs": "2"})
        Traceback (most recent call last):
            ...
        lightning_explain.errors.ConfigurationError: every_n_epochs='2'; expected a whole number or None.
    """
    refuse_other_types(_kinds_by_option(constructor), given, HINTS)


def checked_layers(layers: str | Sequence[str] | None) -> str | list[str] | None:
    """Return the option `layers` as it is kept.

    Raises:
        ConfigurationError: It is an empty list.

    Example:
        >>> checked_layers(("conv*", "head")), checked_layers("fc"), checked_layers(None)
        (['conv*', 'head'], 'fc', None)
    """
    if layers is None or isinstance(layers, str):
        return layers
    if not layers:
        raise ConfigurationError(f"layers={layers!r} names no layer; give names or globs, or None for the default.")
    return list(layers)


def check_choice(option: str, given: Sequence[str], known: Sequence[str], *, at_least: int) -> None:
    """Refuse names that an option does not know.

    Raises:
        ConfigurationError: As said.
    """
    if isinstance(given, str) or len(given) < at_least or set(given) - set(known):
        raise ConfigurationError(f"{option}={given!r}; expected a list of some of {list(known)}.")
