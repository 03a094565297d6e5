"""The methods of an attribution monitor: one or several, each with a name of its own, and the baseline it uses."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from lightning_explain.attribution import AtEmbedding, Attribution, IntegratedGradients, LayerConductance
from lightning_explain.attribution.baselines import Baseline, baseline_name
from lightning_explain.attribution.foreign import CaptumMethod
from lightning_explain.errors import ConfigurationError
from lightning_explain.log.tags import tag_part

AnyMethod = Callable[..., Attribution]
Methods = dict[str, AnyMethod]
"""Methods by display name; the first is the primary one."""

VERSUS = "_vs_"
"""Between the names of two methods in the tag of their agreement."""

TAKEN = (
    "absorbed_share", "agreement", "convergence_delta", "deletion_auc", "error", "filmstrip", "heatmaps", "infidelity",
    "insertion_auc",
    "mass_in_mask", "max_sensitivity", "n_evaluations", "overhead", "randomisation", "randomisation_absolute", "record",
    "summary", "total_attribution",
)  # fmt: skip
"""What stands in a tag where a further method's name would, beside everything that begins with `drift`."""

EXPECTED = "expected a method such as IntegratedGradients(), a list of them, or a mapping from names to methods"


def named_methods(method: AnyMethod | Sequence[AnyMethod] | Mapping[str, AnyMethod] | None) -> Methods:
    """Give every method a name.

    A method is called by its class, or by its own name where it is a function. Methods of one class get the options
    in which they differ added, unless these are at their default.

    Raises:
        ConfigurationError: There is no method, something is none, or names are equal or stand for something else.

    Example:
        >>> list(named_methods([IntegratedGradients(), IntegratedGradients(baseline="blur")]))
        ['IntegratedGradients', 'IntegratedGradients baseline=blur']
    """
    if method is None:
        return {"IntegratedGradients": IntegratedGradients()}
    if isinstance(method, Mapping):
        named = dict(cast(Mapping[str, AnyMethod], method))
        _check_methods(named.values())
    else:
        listed = list(cast(Sequence[AnyMethod], method)) if isinstance(method, Sequence) else [method]
        _check_methods(listed)
        named = _told_apart(listed)
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


def _check_names(names: list[str]) -> None:
    for name in names:
        # only the further methods' names stand in tags beside the figures, but the order of a list is soon changed
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


def _told_apart(methods: list[AnyMethod]) -> Methods:
    names = [short_name(method) for method in methods]
    options = [_options(method) for method in methods]
    for index, (name, own) in enumerate(zip(list(names), options, strict=True)):
        others = [options[i] for i in range(len(methods)) if short_name(methods[i]) == name]
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


def _options(method: AnyMethod) -> dict[str, str]:
    """Write a method's options; those at their default as `_DEFAULT`."""
    if isinstance(method, CaptumMethod):
        return {key: _written(option) for key, option in {**method.building, **method.attributing}.items()}
    if not dataclasses.is_dataclass(method):
        return {}
    written = {field.name: (field, getattr(method, field.name)) for field in dataclasses.fields(method)}
    # compared as words: tensors have no single answer to ==
    return {
        key: _DEFAULT if _written(option) == _written(field.default) else _written(option)
        for key, (field, option) in written.items()
    }


def _written(option: Any) -> str:
    if isinstance(option, Tensor | tuple):
        return named_baseline(cast(Baseline, option)) if _is_tensors(option) else str(cast(Any, option))
    if callable(option):
        return named_baseline(option)
    return type(option).__name__ if isinstance(option, Mapping) and option else str(option)


def _is_tensors(option: Any) -> bool:
    return isinstance(option, Tensor) or (bool(option) and all(isinstance(part, Tensor) for part in option))


def named_baseline(baseline: Baseline, *, n_draws: int = 1, seed: int = 0) -> str:
    """Name a baseline so that a reader of a record could build it again: a noise's seed, a tensor's shape.

    Example:
        >>> import torch
        >>> named_baseline("noise"), named_baseline(torch.zeros(1, 8, 8))
        ('noise, seed 0', 'tensor [1, 8, 8]')
    """
    if isinstance(baseline, functools.partial):
        given = [str(part) for part in baseline.args] + [f"{key}={part}" for key, part in baseline.keywords.items()]
        return f"{named_baseline(baseline.func)}({', '.join(given)})"
    return baseline_name(baseline, n_draws=n_draws, seed=seed)


def _baseline_words(method: AnyMethod, baseline: Baseline) -> str:
    """Name a method's baseline, draws and seed included."""
    if isinstance(method, AtEmbedding):
        if method.baseline_token is not None:
            return f"token {method.baseline_token}"
        method = method.method
    if isinstance(method, IntegratedGradients):
        return named_baseline(baseline, n_draws=method.n_draws, seed=method.seed)
    return named_baseline(baseline)


def baseline_of(method: AnyMethod) -> Baseline | None:
    """Return the baseline a method compares with; None for a method without one, or whose one is not known."""
    if isinstance(method, AtEmbedding):
        return baseline_of(method.method)
    if isinstance(method, IntegratedGradients | LayerConductance):
        return method.baseline
    if isinstance(method, CaptumMethod):
        return method.attributing.get("baselines")
    return None


def explains_at_the_input(method: AnyMethod) -> bool:
    """Say whether a method is known to need inputs that have a gradient."""
    return type(method).__module__.startswith("lightning_explain.") and not isinstance(method, AtEmbedding)


def short_name(method: AnyMethod) -> str:
    """Name a method by its class, a function by its own name, a captum method by captum's."""
    if isinstance(method, CaptumMethod):
        method = method.build
    if isinstance(method, functools.partial):
        return short_name(method.func)
    return str(getattr(method, "__name__", type(method).__name__))


def full_name(name: str, method: AnyMethod) -> str:
    """Name a method in titles and records: what it is called, what it is, and its baseline where it has one.

    Example:
        >>> full_name("IntegratedGradients", IntegratedGradients())
        'IntegratedGradients (baseline: zeros)'
        >>> full_name("ours", IntegratedGradients(baseline="mean"))
        'ours: IntegratedGradients (baseline: mean)'
    """
    kind, baseline = short_name(method), baseline_of(method)
    words = name if name.startswith(kind) else f"{name}: {kind}"
    # an option in the name says it already
    said = baseline is None or f"baseline={_written(baseline)}" in name
    return words if baseline is None or said else f"{words} (baseline: {_baseline_words(method, baseline)})"


def full_names(methods: Methods) -> dict[str, str]:
    """Name every method in full, by its name."""
    return {name: full_name(name, method) for name, method in methods.items()}


def described(name: str, method: AnyMethod) -> str:
    """Name a method for the description of a tag: as `full_name`, and a missing baseline is named too.

    Example:
        >>> from lightning_explain.attribution import LRP
        >>> described("LRP", LRP())
        'LRP (no baseline)'
    """
    if baseline_of(method) is not None:
        return full_name(name, method)
    ours = type(method).__module__.startswith("lightning_explain.") and not isinstance(method, CaptumMethod)
    return f"{full_name(name, method)} ({'no baseline' if ours else 'baseline: its own'})"
