"""Baselines: the inputs that explained inputs are compared with, where the path of integrated gradients starts."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from lightning_explain.attribution.baseline_kinds import blurred, uniform_noise
from lightning_explain.attribution.result import parts_of
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError

Baseline = str | Inputs | Callable[..., Any]
"""`"zeros"`, `"mean"`, `"blur"`, `"noise"`, a tensor (or tuple) that broadcasts to the inputs, or a callable from
inputs to one. `AttributionMonitor` also knows `"train_mean"` and `"train_channel_mean"`."""

OF_TRAINING_DATA = ("train_mean", "train_channel_mean")
"""Baselines that `AttributionMonitor` works out from the training data."""

OF_ONE_SAMPLE = ("zeros", "blur")
"""Baselines that are made of the sample alone."""

NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda part: torch.zeros_like(part[:1]),
    # of the explained batch: what the model was trained on is not known here, see data_mean
    "mean": lambda part: part.mean(0, keepdim=True),
    "blur": blurred,
    "noise": uniform_noise,
}


@dataclass(frozen=True, eq=False)
class NamedBaseline:
    """A baseline tensor with a name of its own, for tags, titles and records.

    Attributes:
        name: Its name.
        values: A tensor that broadcasts to the inputs, or a tuple of them.

    Example:
        >>> baseline_name(NamedBaseline("grey", torch.full((1,), 0.5)))
        'grey'
    """

    name: str
    values: Inputs

    def __call__(self, inputs: Inputs) -> Inputs:
        """Return the values, whatever the inputs."""
        del inputs
        return self.values


def check_baseline(baseline: Any) -> None:
    """Refuse a baseline that can be none.

    Raises:
        ConfigurationError: It is neither a known name, nor tensors, nor a callable.
    """
    if not is_baseline(baseline):
        names = ", ".join(map(repr, (*NAMED, *OF_TRAINING_DATA)))
        raise ConfigurationError(
            f"baseline={baseline!r}; expected {names}, a tensor that broadcasts to the inputs, e.g. "
            "torch.tensor(0.5), a tuple of them for several inputs, or a callable from inputs to one."
        )


def is_baseline(baseline: Any) -> bool:
    """Return True if a value can be resolved to a baseline; a method of others may call anything by that name.

    Example:
        >>> is_baseline("mean"), is_baseline(torch.zeros(1)), is_baseline("grey"), is_baseline(0.5)
        (True, True, False, False)
    """
    if isinstance(baseline, str):
        return baseline in NAMED or baseline in OF_TRAINING_DATA
    return is_tensors(baseline) or callable(baseline)


def is_tensors(value: Any) -> bool:
    """Return True for a tensor and for a tuple of tensors."""
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(part, Tensor) for part in cast("tuple[Any, ...]", value))
    return isinstance(value, Tensor)


def is_of_batch(baseline: Baseline | None) -> bool:
    """Return True if a baseline may be another one for a part of the batch.

    Example:
        >>> is_of_batch("zeros"), is_of_batch("mean"), is_of_batch(torch.zeros(20, 3)), is_of_batch(torch.zeros(1, 3))
        (False, True, True, False)
    """
    if isinstance(baseline, Tensor | tuple):
        return any(part.ndim > 0 and len(part) > 1 for part in parts_of(baseline))
    return not (baseline is None or (isinstance(baseline, str) and baseline in OF_ONE_SAMPLE))


def baseline_name(baseline: Any, *, n_draws: int = 1, seed: int = 0) -> str:
    """Name a baseline for titles and records.

    Example:
        >>> baseline_name("zeros"), baseline_name(torch.ones(3)), baseline_name("noise", n_draws=8)
        ('zeros', 'tensor [3]', 'noise, 8 draws, seed 0')
    """
    if isinstance(baseline, NamedBaseline):
        name = baseline.name
    elif isinstance(baseline, str):
        name = baseline
    elif isinstance(baseline, functools.partial):
        given = [str(part) for part in baseline.args] + [f"{key}={part}" for key, part in baseline.keywords.items()]
        name = f"{baseline_name(baseline.func)}({', '.join(given)})"
    elif callable(baseline):
        name = str(getattr(baseline, "__name__", type(baseline).__name__))
    elif is_baseline(baseline):
        name = "tensor " + " and ".join(str(list(part.shape)) for part in parts_of(baseline))
    else:
        name = str(baseline)
    if n_draws > 1:
        return f"{name}, {n_draws} draws, seed {seed}"
    return f"{name}, seed {seed}" if baseline == "noise" else name


def _fitting(part: Any, like: Tensor) -> Tensor:
    """Bring one baseline to [1 or batch, ...] on the input's device, or refuse it."""
    if not isinstance(part, Tensor):
        raise ConfigurationError(f"baseline gave {type(part).__name__}; expected a tensor of shape {list(like.shape)}.")
    part = part.detach().to(device=like.device, dtype=like.dtype)
    part = part.reshape((1,) * (like.ndim - part.ndim) + part.shape)
    fits = part.ndim == like.ndim and all(a in (1, b) for a, b in zip(part.shape, like.shape, strict=True))
    if not fits:
        raise ConfigurationError(
            f"baseline has shape {list(part.shape)}; expected {list(like.shape)} or one that broadcasts to it "
            f"(one sample: {list(like.shape[1:])})."
        )
    # an expanded view is enough: it is only read
    return part.expand(len(part), *like.shape[1:])


def resolve_baseline(baseline: Baseline, inputs: tuple[Tensor, ...], *, seed: int = 0) -> tuple[Tensor, ...]:
    """Turn a baseline option into tensors, each [1, ...] (shared by all samples) or [batch, ...].

    Args:
        baseline: Name, tensor(s) or callable; a callable takes the inputs as given to the method. `"zeros"`;
            `"mean"`: the mean of the explained batch, feature by feature (so it changes with the batch; for that
            of the training data give `data_mean(...)`); `"blur"`: each image blurred; `"noise"`: one seeded sample
            of uniform noise in the batch's range.
        inputs: The explained inputs. Integer and boolean ones (token ids, masks) are their own baseline.
        seed: Of the noise.

    Raises:
        ConfigurationError: Unknown name, wrong number of parts, or a shape that does not broadcast.

    Example:
        >>> resolve_baseline("zeros", (torch.ones(5, 2),))[0].shape
        torch.Size([1, 2])
    """
    explained = tuple(part for part in inputs if part.is_floating_point())
    found = iter(_by_name(baseline, explained, seed) if isinstance(baseline, str) else _given(baseline, inputs))
    return tuple(next(found) if part.is_floating_point() else part for part in inputs)


def _by_name(name: str, explained: tuple[Tensor, ...], seed: int) -> tuple[Tensor, ...]:
    if name in OF_TRAINING_DATA:
        raise ConfigurationError(
            f"baseline={name!r} is computed by AttributionMonitor, which knows the training data. Elsewhere give "
            "baseline=data_mean(loader), from lightning_explain.attribution."
        )
    if name not in NAMED:
        raise ConfigurationError(
            f"baseline={name!r} is unknown; expected one of {sorted(NAMED)}, a tensor or a callable."
        )
    if name == "noise":
        return tuple(uniform_noise(part, seed=seed) for part in explained)
    return tuple(NAMED[name](part) for part in explained)


def _given(baseline: Inputs | Callable[..., Any], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Fit tensors given by the user: one for each input, or one for each that is explained."""
    # a callable sees the inputs as the method was given them: one tensor, or a tuple of several
    as_given = inputs if len(inputs) != 1 else next(iter(inputs))
    given: Any = baseline(as_given) if callable(baseline) else baseline
    parts = parts_of(given)
    explained = tuple(part for part in inputs if part.is_floating_point())
    if len(parts) == len(inputs):
        parts = tuple(part for part, like in zip(parts, inputs, strict=True) if like.is_floating_point())
    if len(parts) != len(explained):
        raise ConfigurationError(
            f"baseline has {len(parts)} parts, but there are {len(inputs)} inputs: give one for each."
        )
    return tuple(_fitting(part, like) for part, like in zip(parts, explained, strict=True))


def drawn_baselines(
    baseline: Baseline, inputs: tuple[Tensor, ...], *, n_draws: int, seed: int
) -> list[tuple[Tensor, ...]]:
    """Draw several baselines, the same for the same seed: of noise, or from candidates.

    Args:
        baseline: `"noise"`, or tensors of candidates [candidates, ...] such as training samples, one tensor for each
            explained input.
        inputs: The explained inputs.
        n_draws: How many; candidates are drawn without replacement.
        seed: Of the draws; no global random state is touched.

    Raises:
        ConfigurationError: Another kind of baseline, of which all draws would be equal, or too few candidates.

    Example:
        >>> [tuple(b.shape) for (b,) in drawn_baselines("noise", (torch.rand(5, 3),), n_draws=2, seed=0)]
        [(1, 3), (1, 3)]
    """
    if n_draws == 1:
        return [resolve_baseline(baseline, inputs, seed=seed)]
    if isinstance(baseline, str) and baseline == "noise":
        return [resolve_baseline(baseline, inputs, seed=seed + draw) for draw in range(n_draws)]
    if isinstance(baseline, str) or callable(baseline):
        raise ConfigurationError(
            f"n_draws={n_draws} with baseline={baseline_name(baseline)!r}: every draw would be the same. Several draws "
            "need baseline='noise' or a tensor of candidates [candidates, ...], e.g. training samples."
        )
    candidates = parts_of(baseline)
    n_candidates = min(len(part) for part in candidates)
    if n_candidates < n_draws:
        raise ConfigurationError(f"n_draws={n_draws}, but there are only {n_candidates} candidates; give more of them.")
    # drawn on the CPU, so that they are the same on every device
    order = torch.randperm(n_candidates, generator=torch.Generator().manual_seed(seed))[:n_draws].tolist()
    return [resolve_baseline(tuple(part[i : i + 1] for part in candidates), inputs) for i in order]


def fixed_baseline(
    baseline: Baseline, whole: tuple[Tensor, ...], rows: list[int], *, n_draws: int = 1, seed: int = 0
) -> Baseline:
    """Resolve a baseline for a whole batch, and return its part for some samples; several draws become candidates.

    Args:
        baseline: The baseline; one that is made of the sample alone is returned as it is.
        whole: The inputs of the whole batch.
        rows: The samples.
        n_draws: Baselines that are averaged.
        seed: Of the draws.

    Raises:
        ConfigurationError: The baseline does not fit the inputs.

    Example:
        >>> fixed = fixed_baseline("mean", (torch.tensor([[1.0], [3.0]]),), [1])
        >>> fixed(torch.zeros(1, 1))
        tensor([[2.]])
    """
    if not is_of_batch(baseline):
        return baseline
    # clones: inputs that were made under inference mode cannot take part in autograd
    draws = drawn_baselines(baseline, tuple(part.clone() for part in whole), n_draws=n_draws, seed=seed)
    explained = [i for i, part in enumerate(whole) if part.is_floating_point()]
    parts = tuple(torch.cat([draw[i] for draw in draws]) for i in explained)
    if n_draws > 1:
        return parts if len(parts) != 1 else parts[0]
    own = tuple(part[rows] if len(part) > 1 else part for part in parts)
    return NamedBaseline(baseline_name(baseline, seed=seed), own if len(own) != 1 else own[0])
