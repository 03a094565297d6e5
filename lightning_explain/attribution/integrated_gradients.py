"""Integrated gradients with a stated error."""

import warnings
from dataclasses import dataclass

import torch

from lightning_explain.attribution.baselines import Baseline, resolve_baseline
from lightning_explain.attribution.path_integral import (
    FIRST_INTERVALS,
    StraightPath,
    integrate_adaptive,
    integrate_fixed,
)
from lightning_explain.attribution.result import Attribution, Forward, Target, flat, parts_of, shaped_like
from lightning_explain.attribution.scores import check_differentiable, target_tensor
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.isolation import explaining


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated gradients: the gradient's mean along the straight path from baseline to input, times the way.

    Source: Sundararajan, Taly, Yan (2017), Axiomatic Attribution for Deep Networks, Eq. 1; completeness: Prop. 1.

    Args:
        baseline: `"zeros"`, `"mean"` (of the explained batch), `"blur"` (images), `"noise"`, a tensor that
            broadcasts to the inputs, a tuple of them for several inputs, or a callable from the inputs to one.
        tolerance: Bound on the estimated relative L1 error of the attributions and on the raw completeness gap,
            per sample; used when `n_steps` is None.
        n_steps: Points of a fixed Gauss-Legendre rule instead.
        max_steps: Most points per sample when adaptive; a sample that needs more keeps what it has, and its
            `error` says so.
        chunk_size: Most rows in one pass through the model; by default as many as there are samples.

    Cost: adaptive 17, 33, 65, ... forward and backward passes per sample (the baseline's gradient once per
    class where all samples share it); fixed `n_steps` of them and two forward passes.

    Raises:
        ConfigurationError: An option or the target is impossible; the message says what to do.

    Example:
        >>> linear = lambda x: x @ torch.tensor([[2.0], [3.0]])
        >>> result = IntegratedGradients()(linear, torch.tensor([[1.0, 1.0]]))
        >>> result.values
        tensor([[2., 3.]])
        >>> result.convergence_delta
        tensor([0.])
    """

    baseline: Baseline = "zeros"
    tolerance: float = 0.05
    n_steps: int | None = None
    max_steps: int = 257
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        if self.n_steps is not None and self.n_steps < 1:
            raise ConfigurationError(f"n_steps={self.n_steps}; expected at least 1, or None for the adaptive rule.")
        if self.tolerance <= 0:
            raise ConfigurationError(f"tolerance={self.tolerance}; expected a positive share, e.g. 0.05 for 5 %.")
        if self.max_steps < 2 * FIRST_INTERVALS + 1:
            raise ConfigurationError(
                f"max_steps={self.max_steps}; the adaptive rule needs at least {2 * FIRST_INTERVALS + 1} points to "
                "estimate its error. For fewer, give n_steps."
            )
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ConfigurationError(f"chunk_size={self.chunk_size}; expected at least 1 row, or None.")

    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`.

        Args:
            model: A module (run in eval mode and left as found) or a callable from inputs to scores.
            inputs: Tensor [batch, ...], or a tuple of them, of floating-point type.
            target: Class index, LongTensor [batch], or None where the output is one number per sample.

        Raises:
            ConfigurationError: Integer inputs, a target out of range, a baseline that does not fit.
            ExplanationError: NaN or infinite gradients, or an output that does not depend on the inputs.
        """
        with explaining(model):
            # clones: tensors made under inference mode cannot take part in autograd
            parts = tuple(part.detach().clone() for part in parts_of(inputs))
            check_differentiable(parts)
            indices = target_tensor(target, len(parts[0]), parts[0].device)
            baselines = resolve_baseline(self.baseline, parts)
            path = StraightPath(model, parts, baselines, indices, self.chunk_size or len(parts[0]))
            if self.n_steps is None:
                integral = integrate_adaptive(path, tolerance=self.tolerance, max_steps=self.max_steps)
            else:
                integral = integrate_fixed(path, self.n_steps)
        delta = flat(integral.values).sum(1) - integral.change
        self._warn_of_unfinished(integral.error)
        return Attribution(
            values=shaped_like(integral.values, inputs),
            convergence_delta=delta,
            error=integral.error,
            target=indices,
            baseline=shaped_like(tuple(b.expand_as(x).clone() for b, x in zip(baselines, parts, strict=True)), inputs),
            n_evaluations=integral.n_evaluations,
            coarse=None if integral.coarse is None else shaped_like(integral.coarse, inputs),
        )

    def _warn_of_unfinished(self, error: torch.Tensor) -> None:
        if self.n_steps is None and bool((error > self.tolerance).any()):
            # without counts, so that python's warning filter shows it once a run
            warnings.warn(
                f"IntegratedGradients used max_steps={self.max_steps} points and did not bring every sample's "
                f"estimated error within tolerance={self.tolerance}: see Attribution.error. Raise max_steps, choose a "
                "baseline nearer to the inputs, or accept a larger tolerance.",
                ExplanationWarning,
                stacklevel=3,
            )
