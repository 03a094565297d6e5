"""Options of a monitor: unknown names, and lists that name nothing, are refused with what is possible."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_explain.errors import ConfigurationError


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
