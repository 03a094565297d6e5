"""What an input is compared with: the point where the path of integrated gradients starts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
        name: What it is.
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


def baseline_name(baseline: Baseline, *, n_draws: int = 1, seed: int = 0) -> str:
    """Name a baseline for titles and records.

    Example:
        >>> baseline_name("zeros"), baseline_name(torch.ones(3)), baseline_name("noise", n_draws=8)
        ('zeros', 'tensor [3]', 'noise, 8 draws, seed 0')
    """
    if isinstance(baseline, NamedBaseline):
        name = baseline.name
    elif isinstance(baseline, str):
        name = baseline
    elif callable(baseline):
        name = str(getattr(baseline, "__name__", type(baseline).__name__))
    else:
        name = "tensor " + " and ".join(str(list(part.shape)) for part in parts_of(baseline))
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
            f"baseline={name!r} is worked out by AttributionMonitor, which knows the training data. Elsewhere give "
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
