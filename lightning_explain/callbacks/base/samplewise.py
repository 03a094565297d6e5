"""Which attribution methods may explain a share of the probe, and how their answers stay those of the whole."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution import (
    LRP,
    AtEmbedding,
    Attribution,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    NamedBaseline,
    Saliency,
    SmoothGrad,
)
from lightning_explain.attribution.baselines import Baseline, baseline_name, drawn_baselines
from lightning_explain.attribution.integrated_gradients.passes import memory_budget
from lightning_explain.attribution.result import parts_of
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.methods import AnyMethod, baseline_of

SAMPLE_BY_SAMPLE = (GradCAM, InputXGradient, IntegratedGradients, LayerConductance, LRP, Saliency, SmoothGrad)
"""Methods whose answer for a sample does not depend on the others, once their baseline is fixed."""

OF_ONE_SAMPLE = ("zeros", "blur")
"""Baselines that come from nothing but the sample itself."""

SAME = 1e-5
"""Largest difference, as a share of the largest attribution, that rounding in passes of another size explains."""

Parts = tuple[Tensor, ...]


def with_fixed_baseline(method: AnyMethod, whole: Parts, rows: list[int]) -> AnyMethod:
    """Work out a baseline that depends on the whole probe, and give the method its part for some samples.

    The mean of the probe, noise in its range, whatever a callable makes of it: a share of the probe would have
    another one.

    Args:
        method: Any; those without such a baseline are returned as they are.
        whole: The inputs of the whole probe, on the model's device.
        rows: The samples that the method will be asked about.

    Raises:
        ConfigurationError: The baseline does not fit the inputs.
    """
    if not isinstance(method, IntegratedGradients | LayerConductance) or not _of_the_batch(method.baseline):
        return method
    n_draws, seed = (method.n_draws, method.seed) if isinstance(method, IntegratedGradients) else (1, 0)
    if n_draws > 1 and not isinstance(method.baseline, str):
        return method  # candidates: drawn by place, whatever is explained
    return replace(method, baseline=fixed_baseline(method.baseline, whole, rows, n_draws=n_draws, seed=seed))


def fixed_baseline(baseline: Baseline, whole: Parts, rows: list[int], *, n_draws: int = 1, seed: int = 0) -> Baseline:
    """Resolve a baseline for the whole probe, and take its part for some samples; several draws become candidates.

    Raises:
        ConfigurationError: The baseline does not fit the inputs.

    Example:
        >>> fixed = fixed_baseline("mean", (torch.tensor([[1.0], [3.0]]),), [1])
        >>> fixed(torch.zeros(1, 1))
        tensor([[2.]])
    """
    if not _of_the_batch(baseline):
        return baseline
    # clones: probes that were made under inference mode cannot take part in autograd
    draws = drawn_baselines(baseline, tuple(part.clone() for part in whole), n_draws=n_draws, seed=seed)
    explained = [i for i, part in enumerate(whole) if part.is_floating_point()]
    parts = tuple(torch.cat([draw[i] for draw in draws]) for i in explained)
    if n_draws > 1:
        return parts if len(parts) != 1 else parts[0]
    own = tuple(part[rows] if len(part) > 1 else part for part in parts)
    return NamedBaseline(baseline_name(baseline, seed=seed), own if len(own) != 1 else own[0])


def _of_the_batch(baseline: Baseline) -> bool:
    return not (isinstance(baseline, str) and baseline in OF_ONE_SAMPLE)


def is_sample_by_sample(method: AnyMethod) -> bool | None:
    """Say whether a method's answer for a sample leaves the other samples out; None where nobody knows.

    Example:
        >>> is_sample_by_sample(LRP()), is_sample_by_sample(AtEmbedding(IntegratedGradients(baseline="mean")))
        (True, False)
    """
    if isinstance(method, AtEmbedding):
        # the mean of vectors cannot be fixed before they are known
        baseline = None if method.baseline_token is not None else baseline_of(method)
        fixed = baseline is None or not _of_the_batch(baseline)
        return is_sample_by_sample(method.method) if fixed else False
    return True if type(method) in SAMPLE_BY_SAMPLE else None


def passes_alike(method: AnyMethod) -> bool:
    """Say whether two shares of equal size take equally many passes through the model.

    An adaptive rule goes on as long as a sample needs it.

    Example:
        >>> passes_alike(IntegratedGradients(n_steps=8)), passes_alike(IntegratedGradients())
        (True, False)
    """
    if isinstance(method, AtEmbedding):
        return passes_alike(method.method)
    return type(method) in (InputXGradient, Saliency, SmoothGrad, GradCAM) or (
        isinstance(method, IntegratedGradients) and method.n_steps is not None
    )


def with_equal_memory(method: AnyMethod, ranks: Ranks, device: torch.device) -> AnyMethod:
    """Let all processes cut their passes alike, whatever memory each has free; a collective call."""
    if isinstance(method, IntegratedGradients) and method.chunk_size is None and method.memory_budget is None:
        return replace(method, memory_budget=min(ranks.exchanged(memory_budget(device))))
    return method


def answers_alike(found: Attribution, of_share: Callable[[], Attribution], rows: list[int]) -> bool:
    """Try whether a method that nobody knows explains a share as it explained it among the others.

    Args:
        found: Its explanation of the whole probe.
        of_share: Explains the samples `rows` alone.
        rows: Which.
    """
    try:
        share = of_share()
    except Exception:  # noqa: BLE001 - an option may hold something for each sample of the probe
        return False
    pairs = zip(parts_of(found.values), parts_of(share.values), strict=True)
    return all(_alike(whole, part, rows) for whole, part in pairs)


def _alike(whole: Any, part: Any, rows: list[int]) -> bool:
    if len(part) != len(rows) or part.shape[1:] != whole.shape[1:]:
        return False
    return bool((whole[rows] - part).abs().max() <= SAME * whole.abs().max())
