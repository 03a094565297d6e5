"""Types of options: a value of another type than its annotation is refused, with what is expected."""

from collections import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from lightning_explain.errors import ConfigurationError


# text has its own test; arrays and a configuration library's lists are no `Sequence`
def _is_list(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping)


_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: isinstance(value, Integral), "a whole number"),
    float: (lambda value: isinstance(value, Real), "a number"),
    bool: (lambda value: isinstance(value, bool), "True or False"),
    str: (lambda value: isinstance(value, str), "a string"),
    NoneType: (lambda value: value is None, "None"),
    Tensor: (lambda value: isinstance(value, Tensor), "a tensor"),
    tuple: (lambda value: isinstance(value, tuple), "a tuple"),
    abc.Sequence: (_is_list, "a list"),
    abc.Mapping: (lambda value: isinstance(value, Mapping), "a mapping"),
    dict: (lambda value: isinstance(value, Mapping), "a mapping"),
    abc.Callable: (callable, "a callable"),
}
"""What is tested of a value, and what it is called in messages, by the type that an option is annotated with."""

BY_NAME = "Layers are given by their names in the model: see model.named_modules()."
"""Said beside the expected type of a layer."""

SHOWN = 60
"""Characters of a refused value that are shown; of longer ones the type is."""


def _alternatives(annotation: Any) -> list[Any]:
    """Return the types of a union without what they hold: `Sequence[int] | None` is `Sequence` and `None`."""
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [get_origin(annotation) or annotation]


def _fits(value: Any, kind: Any) -> bool:
    if kind in _KINDS:
        return _KINDS[kind][0](value)
    # choices among words have messages of their own; a class has its instances' attributes, which protocols ask for
    return isinstance(value, kind) and not isinstance(value, type) if isinstance(kind, type) else True


def _in_words(kind: Any) -> str:
    return _KINDS[kind][1] if kind in _KINDS else f"{kind.__name__}(...)"


def kinds_of(annotated: Any, names: Iterable[str]) -> dict[str, list[Any]]:
    """Return the types that options may have, by name; options of any type, or chosen among words, are left out.

    Args:
        annotated: A class or a function with annotations.
        names: Names of the options.
    """
    hints = get_type_hints(annotated)
    kinds = {name: _alternatives(hints[name]) for name in names}
    return {name: found for name, found in kinds.items() if not {Any, Literal} & set(found)}


@cache
def _kinds_by_field(declaring: type) -> dict[str, list[Any]]:
    return kinds_of(declaring, [field.name for field in fields(declaring) if field.init])


def check_fields(options: Any, declaring: type, hints: Mapping[str, str] | None = None) -> None:
    """Refuse fields of a dataclass whose values are of another type than they are annotated with.

    Args:
        options: An instance.
        declaring: The class that declares the fields; a subclass may declare further ones of its own.
        hints: What to say beside the expected type, by field.

    Raises:
        ConfigurationError: A value is of another type; names what is expected.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Rule:
        ...     gamma: float = 0.25
        >>> check_fields(Rule(0), Rule)
        >>> check_fields(Rule("high"), Rule)
        Traceback (most recent call last):
            ...
        lightning_explain.errors.ConfigurationError: gamma='high'; expected a number.
    """
    refuse_other_types(_kinds_by_field(declaring), vars(options), hints or {})


def refuse_other_types(kinds: Mapping[str, list[Any]], given: Mapping[str, Any], hints: Mapping[str, str]) -> None:
    """Refuse values of none of the types that an option may have.

    Args:
        kinds: The types by option.
        given: Values by option; other names are left alone.
        hints: What to say beside the expected types, by option.

    Raises:
        ConfigurationError: There is one; names what is expected.
    """
    for name, possible in kinds.items():
        if name in given and not any(_fits(given[name], kind) for kind in possible):
            value = repr(given[name])
            shown = value if len(value) <= SHOWN else f"a {type(given[name]).__name__}"
            expected = list(dict.fromkeys(map(_in_words, possible)))
            listed = " or ".join(filter(None, [", ".join(expected[:-1]), expected[-1]]))
            hint = f" {hints[name]}" if name in hints else ""
            raise ConfigurationError(f"{name}={shown}; expected {listed}.{hint}")
