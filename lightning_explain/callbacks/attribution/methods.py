"""The methods of an attribution monitor and their names: in tags, in titles and records, in descriptions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_explain.attribution import IntegratedGradients, Method, traits_of
from lightning_explain.attribution.baselines import baseline_name, is_tensors
from lightning_explain.attribution.contrast import contrast_words
from lightning_explain.attribution.traits import method_name, options_of
from lightning_explain.errors import ConfigurationError
from lightning_explain.log.tags import tag_part

Methods = dict[str, Method]
"""Methods by display name; the first is the primary one."""

VERSUS = "_vs_"
"""Between the names of two methods in the tag of their agreement."""

TAKEN = (
    "absorbed_share", "agreement", "convergence_delta", "deletion_auc", "error", "filmstrip", "heatmaps", "infidelity",
    "insertion_auc",
    "mass_in_mask", "max_sensitivity", "n_evaluations", "overhead", "randomisation", "randomisation_absolute", "record",
    "softmax_share", "strategies", "summary", "total_attribution",
)  # fmt: skip
"""Parts of tags in the place of a further method's name; so is everything that begins with `drift`."""

EXPECTED = "expected a method such as IntegratedGradients(), a list of them, or a mapping from names to methods"


def named_methods(method: Method | Sequence[Method] | Mapping[str, Method] | None) -> Methods:
    """Give every method a name.

    A method is called by its class, or by its own name where it is a function. Methods of one class get the options
    in which they differ added, unless these are at their default.

    Raises:
        ConfigurationError: There is no method, something is none, a trait is declared with a value of another type, or
            names are equal or stand for something else.

    Example:
        >>> list(named_methods([IntegratedGradients(), IntegratedGradients(baseline="blur")]))
        ['IntegratedGradients', 'IntegratedGradients baseline=blur']
    """
    if method is None:
        return {"IntegratedGradients": IntegratedGradients()}
    if isinstance(method, Mapping):
        named = dict(method)
        _check_methods(named.values())
    else:
        listed = list(method) if isinstance(method, Sequence) else [method]
        _check_methods(listed)
        named = _distinct_names(listed)
    _check_names(list(named))
    return named


def _check_methods(methods: Iterable[Any]) -> None:
    listed = list(methods)
    if not listed:
        raise ConfigurationError(f"method= is empty; {EXPECTED}.")
    for method in listed:
        if isinstance(method, type):
            raise ConfigurationError(f"method={method.__name__} is a class; write {method.__name__}(...).")
        if not callable(method):
            raise ConfigurationError(f"method={method!r} cannot be called; {EXPECTED}.")
        traits_of(method)


def _check_names(names: list[str]) -> None:
    for name in names:
        # only the further methods' names stand in tags beside the metrics, but the order of a list is soon changed
        if tag_part(name) in TAKEN or tag_part(name).startswith("drift") or VERSUS in tag_part(name):
            raise ConfigurationError(
                f"A method cannot be called {name!r}, since tags would be confused with others of the monitor. "
                "Choose another name."
            )
    if len({tag_part(name) for name in names}) < len(names):
        raise ConfigurationError(f"The names of the methods, {names}, look the same in tags. Choose other names.")


def versus(a: str, b: str) -> str:
    """Name a pair of methods in tags and records.

    Example:
        >>> versus("IntegratedGradients", "LRP")
        'IntegratedGradients_vs_LRP'
    """
    return f"{tag_part(a)}{VERSUS}{tag_part(b)}"


def _distinct_names(methods: list[Method]) -> Methods:
    names = [method_name(method) for method in methods]
    options = [_options(method) for method in methods]
    for index, (name, own) in enumerate(zip(list(names), options, strict=True)):
        others = [options[i] for i in range(len(methods)) if method_name(methods[i]) == name]
        differing = [key for key, option in own.items() if any(other.get(key) != option for other in others)]
        names[index] = " ".join([name, *(f"{key}={own[key]}" for key in differing if own[key] != _DEFAULT)])
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(
            f"method= holds {names.count(twice)} methods that would both be called {twice!r}. Give a mapping with "
            f"names of your own, e.g. method={{'first': ..., 'second': ...}}."
        )
    return dict(zip(names, methods, strict=True))


_DEFAULT = ""


def _options(method: Method) -> dict[str, str]:
    """Write the options that tell methods of one class apart; those at their default as `_DEFAULT`."""
    # compared as words: tensors have no single answer to ==
    written = {name: (_written(value), _written(default)) for name, (value, default) in options_of(method).items()}
    return {name: _DEFAULT if words == default else words for name, (words, default) in written.items()}


def _written(option: Any) -> str:
    if callable(option) or is_tensors(option):
        return baseline_name(option)
    return type(option).__name__ if isinstance(option, Mapping) and option else str(option)


def full_name(name: str, method: Method) -> str:
    """Name a method in titles and records: what it is called, what it is, and its baseline where it has one.

    Example:
        >>> full_name("IntegratedGradients", IntegratedGradients())
        'IntegratedGradients (baseline: zeros)'
        >>> full_name("ours", IntegratedGradients(baseline="mean"))
        'ours: IntegratedGradients (baseline: mean)'
    """
    traits = traits_of(method)
    words = name if name.startswith(traits.description) else f"{name}: {traits.description}"
    # an option in the name says it already
    option = traits.baseline_name if traits.baseline is None else _written(traits.baseline)
    is_named = traits.baseline_name is None or f"baseline={option}" in name
    details = [] if is_named else [f"baseline: {traits.baseline_name}"]
    if traits.contrast is not None and "contrast=" not in name:
        details.append(f"minus the score of {contrast_words(traits.contrast)}")
    return f"{words} ({'; '.join(details)})" if details else words


def full_names(methods: Methods) -> dict[str, str]:
    """Name every method in full, by its name."""
    return {name: full_name(name, method) for name, method in methods.items()}


def described(name: str, method: Method) -> str:
    """Name a method for the description of a tag: as `full_name`, and a missing baseline is named too.

    Example:
        >>> from lightning_explain.attribution import LRP
        >>> described("LRP", LRP())
        'LRP (no baseline)'
    """
    traits = traits_of(method)
    if traits.baseline_name is not None:
        return full_name(name, method)
    return f"{full_name(name, method)} ({'baseline: its own' if traits.has_undeclared_baseline else 'no baseline'})"
