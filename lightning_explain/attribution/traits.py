"""Traits of attribution methods: declared by attributes of the method, each with a default, read by monitors."""

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any, cast

from torch import Tensor

from lightning_explain.attribution.baselines import Baseline, baseline_name, fixed_baseline, is_baseline, is_of_batch
from lightning_explain.attribution.result import Attribution, Method
from lightning_explain.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class MethodTraits:
    """The declarations of a method, with defaults for whatever it does not declare.

    A method declares a trait by an attribute of the same name: a class attribute, a property, or an attribute set on a
    function. A method that calls another one declares `wraps`, and takes every other trait from there.

    Attributes:
        description: Name of the method in titles, records and descriptions of tags. Default: the name of its class or
            function.
        baseline: Baseline of the inputs, as for `IntegratedGradients`; None for a method that compares with
            nothing, or does not say with what.
        baseline_name: The baseline in words; None where there is none. Default: as `baseline` says.
        has_undeclared_baseline: True if the method may use a baseline that it does not declare. Default: True unless
            `baseline` is declared.
        n_draws: Number of baselines that are averaged.
        seed: Seed of a baseline that is drawn at random.
        tolerance: Bound on the completeness gap and the stated error of a sample, relative; None without such a bound.
        is_samplewise: True if the attribution of a sample does not depend on the other samples of the batch, apart from
            its baseline; False if it does; None if unknown. Several processes share a probe only where it is True.
        n_passes: Gradient passes per sample; None where that depends on the sample.
        accepts_integers: True if inputs without a floating-point part (token ids) can be explained; False if they are
            refused; None if unknown, which a trial before training finds out.
        needs_module: True if the model must be an `nn.Module`, whose layers the method uses.
        rereads_weights: True if weights are read again in the backward pass, beyond what autograd keeps.
        gives_slopes: True if values are slopes (output per unit of input), False if they are contributions (output).
        contrast: Class whose score is subtracted from that of the explained class: an index, one for each sample,
            `"strongest"`, or a name. Monitors give such a method a model whose outputs are these differences.
        named_options: Options that tell methods of one class apart. Default: the fields of a dataclass.

    Example:
        >>> def mine(model, inputs, target=None): ...
        >>> mine.is_samplewise = True
        >>> traits_of(mine).is_samplewise, traits_of(mine).accepts_integers
        (True, None)
    """

    description: str = ""
    baseline: Baseline | None = None
    baseline_name: str | None = None
    has_undeclared_baseline: bool = True
    n_draws: int = 1
    seed: int = 0
    tolerance: float | None = None
    is_samplewise: bool | None = None
    n_passes: int | None = None
    accepts_integers: bool | None = None
    needs_module: bool = False
    rereads_weights: bool = False
    gives_slopes: bool = False
    contrast: int | str | Tensor | None = None
    named_options: Mapping[str, Any] | None = None


KINDS: dict[str, Any] = {
    "description": str,
    "baseline_name": str,
    "has_undeclared_baseline": bool,
    "n_draws": Integral,
    "seed": Integral,
    "tolerance": Real,
    "is_samplewise": bool,
    "n_passes": Integral,
    "accepts_integers": bool,
    "needs_module": bool,
    "rereads_weights": bool,
    "gives_slopes": bool,
    "contrast": int | str | Tensor,
    "named_options": Mapping,
}
"""Types of the traits; a `baseline` of any type has a name, and one that can be resolved is used."""

NUMBERS: dict[type, Callable[[Any], Any]] = {Integral: int, Real: float}

_MISSING = object()


def method_name(method: Any) -> str:
    """Return the name of a method's class or function.

    Example:
        >>> method_name(len), method_name(functools.partial(len))
        ('len', 'len')
    """
    if isinstance(method, functools.partial):
        return method_name(cast(Any, method.func))
    return str(getattr(method, "__name__", type(method).__name__))


def _wrapped(method: Any) -> Any:
    """Return the method from which undeclared traits are taken; None if there is none."""
    return method.func if isinstance(method, functools.partial) else getattr(method, "wraps", None)


def _declarations(method: Any) -> dict[str, Any]:
    """Collect the declared traits by name, those of a wrapped method included."""
    inner = _wrapped(method)
    found = {} if inner is None else _declarations(inner)
    for trait in fields(MethodTraits):
        value = getattr(method, trait.name, _MISSING)
        if value is _MISSING:
            continue
        kind = KINDS.get(trait.name, object)
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(
                f"{method_name(method)}.{trait.name} is {value!r}; expected "
                f"{getattr(kind, '__name__', kind)} or None. Monitors read this attribute of a method (see "
                "lightning_explain.attribution.MethodTraits): rename it if it means something else."
            )
        # numpy has numbers of its own
        found[trait.name] = NUMBERS[kind](value) if kind in NUMBERS and value is not None else value
    return found


def traits_of(method: Any) -> MethodTraits:
    """Return the traits of a method: those that it declares, and the defaults of the others.

    Args:
        method: Any method: an object, a function, a `functools.partial`.

    Raises:
        ConfigurationError: A trait is declared with a value of another type.
    """
    found = _declarations(method)
    declared = {name: value for name, value in found.items() if value is not None}
    baseline = declared.pop("baseline", None)
    n_draws, seed = declared.get("n_draws", 1), declared.get("seed", 0)
    defaults: dict[str, Any] = {
        "description": method_name(method),
        "baseline_name": None if baseline is None else baseline_name(baseline, n_draws=n_draws, seed=seed),
        "has_undeclared_baseline": "baseline" not in found,
    }
    return MethodTraits(**(defaults | declared), baseline=baseline if is_baseline(baseline) else None)


def as_method(function: Callable[..., Attribution], **traits: Any) -> Method:
    """Declare traits of a function, or other ones than an object declares of itself.

    Args:
        function: Called as `function(model, inputs, target)`.
        **traits: As listed at `MethodTraits`.

    Raises:
        ConfigurationError: There is no such trait, or its value is of another type.

    Example:
        >>> mine = as_method(lambda model, inputs, target=None: ..., is_samplewise=True, description="mine")
        >>> traits_of(mine).is_samplewise, traits_of(mine).description
        (True, 'mine')
    """
    known = [trait.name for trait in fields(MethodTraits)]
    unknown = [name for name in traits if name not in known]
    if unknown:
        raise ConfigurationError(f"as_method got {unknown[0]}=; expected some of {', '.join(known)}.")
    method = functools.partial(function)
    vars(method).update(traits)
    traits_of(method)
    return method


_NO_DEFAULT = object()


def options_of(method: Any) -> dict[str, tuple[Any, Any]]:
    """Return the options that tell methods of one class apart: (value, default) by name; a default may be missing.

    Example:
        >>> options_of(functools.partial(len, depth=3))["depth"][0]
        3
    """
    if isinstance(method, functools.partial):
        return {**options_of(method.func), **{name: (value, _NO_DEFAULT) for name, value in method.keywords.items()}}
    named = traits_of(method).named_options
    if named is not None:
        return {name: (value, _NO_DEFAULT) for name, value in named.items()}
    if not is_dataclass(method):
        return {}
    return {option.name: (getattr(method, option.name), option.default) for option in fields(method)}


def takes_baseline(method: Any) -> bool:
    """Return True if a copy of a method with another baseline can be made."""
    if isinstance(method, functools.partial):
        return takes_baseline(method.func)
    if hasattr(method, "with_baseline") or "baseline" in _option_names(method):
        return True
    inner = getattr(method, "__dict__", {}).get("wraps")
    return inner is not None and takes_baseline(inner)


def _option_names(method: Any) -> list[str]:
    return [option.name for option in fields(method) if option.init] if is_dataclass(method) else []


def with_baseline(method: Any, baseline: Baseline) -> Any:
    """Return a copy of a method that compares with another baseline.

    That is `method.with_baseline(baseline)` where the method defines it; otherwise the `baseline` field of a dataclass
    is replaced, or that of the method which it holds as an attribute `wraps`.

    Raises:
        ConfigurationError: The method has neither.
    """
    if isinstance(method, functools.partial):
        changed = functools.partial(with_baseline(method.func, baseline), *method.args, **method.keywords)
        vars(changed).update(vars(method))
        return changed
    if hasattr(method, "with_baseline"):
        return method.with_baseline(baseline)
    if not takes_baseline(method):
        raise ConfigurationError(
            f"baseline={baseline_name(baseline)!r} cannot be given to {method_name(method)}. A method takes one by a "
            "dataclass field baseline=, or by a function with_baseline(baseline) that returns a copy of the method."
        )
    if "baseline" not in _option_names(method):
        return _with(method, "wraps", with_baseline(method.wraps, baseline))
    try:
        return replace(method, baseline=baseline)
    except TypeError:
        # a subclass with a constructor of its own
        return _with(method, "baseline", baseline)


def _with(method: Any, name: str, value: Any) -> Any:
    changed = copy.copy(method)
    object.__setattr__(changed, name, value)
    return changed


def for_rows(method: Any, whole: tuple[Tensor, ...], rows: list[int]) -> Any:
    """Return a method that explains some samples of a batch as they are explained within it.

    A baseline that depends on the batch (its mean, noise in its range, a tensor for each sample, a callable) is
    resolved for the whole batch, and its part for these samples is given to the method.

    Args:
        method: A samplewise method; any other is returned as it is.
        whole: The inputs of the whole batch.
        rows: The samples that the method will be given.

    Raises:
        ConfigurationError: The baseline does not fit the inputs.
    """
    traits = traits_of(method)
    if not traits.is_samplewise or not takes_baseline(method) or not is_of_batch(traits.baseline):
        return method
    if traits.n_draws > 1 and not isinstance(traits.baseline, str):
        return method  # candidates: drawn by their place, whatever is explained
    assert traits.baseline is not None
    fixed = fixed_baseline(traits.baseline, whole, rows, n_draws=traits.n_draws, seed=traits.seed)
    return with_baseline(method, fixed)


def may_be_split(method: Any, *, equal_passes: bool) -> bool:
    """Return True if processes may explain shares of a batch, each its own.

    Args:
        method: Any method.
        equal_passes: True if all processes must take equally many passes through the model.
    """
    traits = traits_of(method)
    if not traits.is_samplewise or (equal_passes and traits.n_passes is None):
        return False
    return takes_baseline(method) or not is_of_batch(traits.baseline)
