"""Infidelity and max-sensitivity of explanations."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.baselines import Baseline, resolve_baseline
from lightning_explain.attribution.result import Attribution, Forward, Method, Target, flat
from lightning_explain.attribution.scores import check_counts, check_finite, explained_score, target_tensor
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness.masks import values_of
from lightning_explain.isolation import explaining

Perturb = Callable[[Tensor, torch.Generator], Tensor]
"""From inputs [batch, ...] and a generator to the perturbation that is taken away from them (same shape)."""


def gaussian_perturbation(inputs: Tensor, generator: torch.Generator, *, noise: float = 0.2) -> Tensor:
    """Draw Gaussian noise, `noise` times each sample's range in size: [batch, ...].

    The pattern is the same for all samples, so that a sample's result does not depend on the others.
    """
    values = inputs.reshape(len(inputs), -1)
    size = (noise * (values.amax(1) - values.amin(1))).reshape(-1, *(1,) * (inputs.ndim - 1))
    draw = torch.randn((1, *inputs.shape[1:]), generator=generator)
    return size * draw.to(device=inputs.device, dtype=inputs.dtype)


def infidelity(
    model: Forward,
    inputs: Tensor,
    target: Target,
    attribution: Attribution | Tensor,
    *,
    baseline: Baseline | None = None,
    perturb: Perturb = gaussian_perturbation,
    n_draws: int = 10,
    rescale: bool = False,
    seed: int = 0,
) -> Tensor:
    """Return the mean squared difference between predicted and actual change of the score under perturbation I.

    `mean over I of (sum(I * slope) - (F(x) - F(x - I)))^2`, where the slope is the attribution of a method that
    gives gradients. Lower is better, and what an explanation is measured against depends on I:

    - With noise (the default) it is how well a linear function with these slopes predicts the score around x. 0 needs
      a score that is linear there. The exact gradient keeps what bends: for F(x) = x^2 and noise of standard deviation
      s it gets 3 s^4. Exact integrated gradients are no local slopes, and get the difference as well: their slope is
      the mean gradient on the way from the baseline, here x instead of 2x, which adds s^2 x^2.
    - With I = x - baseline it is the squared completeness gap: 0 for exact integrated gradients, whatever the model.

    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar (2019), On the (In)fidelity and Sensitivity of Explanations,
    Definition 2.1; `rescale`: their optimal scaling.

    Args:
        model: A module (run in eval mode and left as found) or a callable from inputs to scores.
        inputs: What was explained [batch, ...].
        target: What was explained: class index, LongTensor [batch], or None.
        attribution: The explanation, or its values, shaped like the inputs.
        baseline: For methods that give `slope * (input - baseline)`, such as IntegratedGradients and (with
            "zeros") InputXGradient: their baseline, to recover the slope. A feature at its baseline
            has slope 0. None: the values are slopes.
        perturb: From inputs and generator to I; by default Gaussian noise of a fifth of each sample's range.
        n_draws: Perturbations per sample.
        rescale: Multiply the attributions by the factor that serves them best, per sample, so that methods of
            different scale can be compared.
        seed: Seed of the perturbations; no global random state is touched.

    Returns:
        Infidelity per sample [batch].

    Cost: `n_draws + 1` forward passes.

    Raises:
        ConfigurationError: Shapes, target or baseline do not fit.
        ExplanationError: A score is NaN or infinite.

    Example:
        >>> weights = torch.tensor([[2.0], [-3.0]])
        >>> found = infidelity(lambda x: x @ weights, torch.tensor([[1.0, 5.0]]), None, weights.T)
        >>> bool(found < 1e-9)
        True
    """
    check_counts(n_draws=n_draws)
    explained = inputs.detach().clone()
    with explaining(model), torch.no_grad():
        indices = target_tensor(target, len(explained), explained.device)
        slope = _slope(values_of(attribution).reshape(_shape(attribution, explained)), explained, baseline)
        generator = torch.Generator().manual_seed(seed)
        here = explained_score(model(explained), indices)
        foretold: list[Tensor] = []
        real: list[Tensor] = []
        for _ in range(n_draws):
            step = perturb(explained, generator)
            foretold.append(flat(step * slope).sum(1))
            real.append(here - explained_score(model(explained - step), indices))
    result = _mean_squared(torch.stack(foretold), torch.stack(real), rescale=rescale)
    check_finite((), result)
    return result


def _shape(attribution: Attribution | Tensor, inputs: Tensor) -> torch.Size:
    values = values_of(attribution)
    if values.numel() != inputs.numel() or len(values) != len(inputs):
        raise ConfigurationError(
            f"The attribution has shape {list(values.shape)}; infidelity needs one value for each feature of the "
            f"inputs {list(inputs.shape)}."
        )
    return inputs.shape


def _slope(values: Tensor, inputs: Tensor, baseline: Baseline | None) -> Tensor:
    """Divide out the factor (input - baseline) of a method that has it."""
    if baseline is None:
        return values
    way = inputs - resolve_baseline(baseline, (inputs,))[0]
    return torch.where(way == 0, torch.zeros_like(values), values / way)


def _mean_squared(foretold: Tensor, real: Tensor, *, rescale: bool) -> Tensor:
    """Average over draws [draws, batch]; with `rescale` after the least-squares factor."""
    if rescale:
        size = foretold.square().sum(0)
        factor = torch.where(size == 0, torch.zeros_like(size), (foretold * real).sum(0) / size)
        foretold = factor * foretold
    return (foretold - real).square().mean(0)


def max_sensitivity(
    method: Method | Callable[..., Attribution],
    model: Forward,
    inputs: Tensor,
    target: Target = None,
    *,
    radius: float = 0.02,
    n_draws: int = 10,
    seed: int = 0,
) -> Tensor:
    """Return the largest relative change of an explanation when the inputs change a little.

    `max over I of |A(x + I) - A(x)|_2 / |A(x)|_2`, with I uniform in [-radius, radius] for each feature (0 is
    best). The maximum over a few draws is a lower bound of the true one.

    Source: Yeh et al. (2019), max-sensitivity (their second measure), estimated by sampling; relative to the
    explanation's size, so that methods of different scale can be compared.

    Args:
        method: What explains: called as `method(model, inputs, target)`.
        model: A module (left as found by the method) or a callable from inputs to scores.
        inputs: What is explained [batch, ...].
        target: Class index, LongTensor [batch], or None.
        radius: Largest change of a feature, in its own units.
        n_draws: Changed copies per sample; the same changes for all samples.
        seed: Seed of the changes; no global random state is touched.

    Returns:
        Sensitivity per sample [batch]; NaN where the explanation at the inputs is all 0.

    Cost: `n_draws + 1` explanations.

    Raises:
        ConfigurationError: A count below 1 or a radius that is not positive; or as the method.
        ExplanationError: As the method.

    Example:
        >>> from lightning_explain.attribution import Saliency
        >>> max_sensitivity(Saliency(), lambda x: x.sum(1), torch.ones(2, 3))
        tensor([0., 0.])
    """
    check_counts(n_draws=n_draws)
    if not 0 < radius < math.inf:
        raise ConfigurationError(f"radius={radius}; expected a positive number, in units of the inputs.")
    explained = inputs.detach()
    generator = torch.Generator().manual_seed(seed)
    here = _explanation(method, model, explained, target)
    largest = torch.zeros_like(here[:, 0])
    for _ in range(n_draws):
        draw = 2 * torch.rand((1, *inputs.shape[1:]), generator=generator) - 1
        moved = explained + radius * draw.to(device=inputs.device, dtype=inputs.dtype)
        change = _explanation(method, model, moved, target) - here
        largest = torch.maximum(largest, change.norm(dim=1))
    return largest / here.norm(dim=1)


def _explanation(method: Any, model: Forward, inputs: Tensor, target: Target) -> Tensor:
    return flat(method(model, inputs, target).values).detach()
