"""Options of a monitor: unknown names, values of another type and empty lists are refused with what is possible."""

import difflib
import inspect
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

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


# text has its own test; arrays and a configuration library's lists are no `Sequence`
def _is_list(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping)


_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: isinstance(value, Integral), "a whole number"),
    float: (lambda value: isinstance(value, Real), "a number"),
    bool: (lambda value: isinstance(value, bool), "True or False"),
    str: (lambda value: isinstance(value, str), "a string"),
    NoneType: (lambda value: value is None, "None"),
    abc.Sequence: (_is_list, "a list"),
    abc.Mapping: (lambda value: isinstance(value, Mapping), "a mapping"),
    dict: (lambda value: isinstance(value, Mapping), "a mapping"),
    abc.Callable: (callable, "a callable"),
}
"""What is tested of a value, and what it is called in messages, by the type that an option is annotated with."""


def _alternatives(annotation: Any) -> list[Any]:
    """Return the types of a union without what they hold: `Sequence[int] | None` is `Sequence` and `None`."""
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [get_origin(annotation) or annotation]


def _fits(value: Any, kind: Any) -> bool:
    if kind in _KINDS:
        return _KINDS[kind][0](value)
    # choices among words have messages of their own
    return isinstance(value, kind) if isinstance(kind, type) else True


def _in_words(kind: Any) -> str:
    return _KINDS[kind][1] if kind in _KINDS else f"{kind.__name__}(...)"


@cache
def _kinds_by_option(constructor: Callable[..., Any]) -> dict[str, list[Any]]:
    hints = get_type_hints(constructor)
    kinds = {
        name: _alternatives(hints[name])
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return {name: found for name, found in kinds.items() if not {Any, Literal} & set(found)}


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
    for name, kinds in _kinds_by_option(constructor).items():
        if name in given and not any(_fits(given[name], kind) for kind in kinds):
            value = repr(given[name])
            shown = value if len(value) <= SHOWN else f"a {type(given[name]).__name__}"
            expected = list(dict.fromkeys(map(_in_words, kinds)))
            listed = " or ".join(filter(None, [", ".join(expected[:-1]), expected[-1]]))
            hint = f" {HINTS[name]}" if name in HINTS else ""
            raise ConfigurationError(f"{name}={shown}; expected {listed}.{hint}")


SHOWN = 60
"""Characters of a refused value that are shown; of longer ones the type is."""


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
