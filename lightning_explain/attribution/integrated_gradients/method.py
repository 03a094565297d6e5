"""Integrated gradients with a stated error."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from lightning_explain.attribution.baselines import Baseline, check_baseline, drawn_baselines
from lightning_explain.attribution.batch_demands import (
    MOVED,
    Padded,
    check_rows_apart,
    first_moved,
    first_sample,
    fixed_batch_size,
    refuse_flat,
    refuse_quantised,
)
from lightning_explain.attribution.contrast import Contrast, check_contrast, with_contrast_option
from lightning_explain.attribution.integrated_gradients.conv_fusion import fast_convolutions, watched_as_is
from lightning_explain.attribution.integrated_gradients.fast_layers import FastLayers
from lightning_explain.attribution.integrated_gradients.first_layer import (
    FirstLayer,
    find_first_layer,
    watched_first_layer,
)
from lightning_explain.attribution.integrated_gradients.passes import RowLimit
from lightning_explain.attribution.integrated_gradients.path import Parts, StraightPath
from lightning_explain.attribution.integrated_gradients.path_integral import (
    Integral,
    averaged,
    integrate_adaptive,
    integrate_fixed,
)
from lightning_explain.attribution.integrated_gradients.pieces import BOOLE, TRAPEZOIDS, PieceRule
from lightning_explain.attribution.integrated_gradients.quadrature import RULES
from lightning_explain.attribution.result import Attribution, Forward, Target, flat, shaped_like
from lightning_explain.attribution.scores import check_counts, prepared
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError, doubt
from lightning_explain.isolation import explaining
from lightning_explain.options.value_types import check_fields

KINKED = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Threshold),
    *(nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softshrink, nn.Hardshrink),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
"""Modules whose gradient jumps."""


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated gradients: the gradient's mean along the straight path from baseline to input, times the way.

    Source: Sundararajan, Taly, Yan (2017), Axiomatic Attribution for Deep Networks, Eq. 1; completeness: Prop. 1.

    Args:
        baseline: `"zeros"`, `"mean"` (of the explained batch), `"blur"` (images), `"noise"`, a tensor that
            broadcasts to the inputs, a tuple of them for several inputs, or a callable from the inputs to one. In an
            `AttributionMonitor` also `"train_mean"` and `"train_channel_mean"`, of the training data. Integer and
            boolean inputs (token ids, masks) are carried along unexplained; for tokens see `AtEmbedding`.
        tolerance: Bound on the stated relative L1 error of the attributions, and on the completeness gap relative to
            |F(x) - F(baseline)|, or to 1 % of sum |values| where that is more; per sample, used when `n_steps` is
            None.
        n_steps: Points of a fixed Gauss-Legendre rule instead.
        max_steps: Most points per sample when adaptive; a sample that needs more keeps what it has, and its
            `error` says so.
        chunk_size: Most rows (points times samples) in one pass through the model. By default a first small pass
            is measured, and the others may keep as many bytes for their backward pass as `memory_budget` allows.
            Either way a pass that runs out of memory is run again in halves. A model that takes one batch size only
            (a hidden state of fixed size) gets passes of exactly that many rows where it is this number or that of
            the samples. 1 explains each sample on its own where the model lets samples depend on each other.
        memory_budget: Bytes for `chunk_size=None`; by default 64 MiB on the CPU, a quarter of what is free on a GPU.
        n_draws: Average over several baselines: draws of `"noise"`, or of a tensor of candidates
            [candidates, ...] such as training samples (expected gradients: Erion et al. 2021, Improving performance
            of deep learning models with axiomatic attribution priors and expected gradients). They are the same at
            every call; `error` is that of the average over these draws, and says nothing of other draws.
        seed: Of the noise and the draws.
        rule: Of the fixed points: `"gauss_legendre"`, exact for polynomials and best for smooth networks, or
            `"midpoint"`, a fifth more accurate for ReLU networks at the same cost.
        smooth: Say that the network has no kinks (GELU, SiLU, tanh; no ReLU, no max pooling): every piece of the path
            is then integrated by Boole's rule. For a tolerance of 0.003 that takes fewer points, below it ever fewer
            (two fifths for 0.0001); for 0.05 no fewer. Where there are kinks all the same, the scores tell of them, and
            trapezoids take the place of Boole's rule; a module that has them is named in a warning.
        fast_convolutions: Run convolutions and linear layers merged with the batch norm after them, and convolutions of
            images channels last on the CPU, where a few samples get the same scores that way: a tenth to a third less
            time for a convnet, the same explanation.

    Cost: adaptive 5, 7, 9, ... forward and backward passes per sample and draw (9, 13, 17, ... if smooth; at the
    baseline once per class where all samples share it), and memory for the gradients at all points of the samples
    refined together; fixed `n_steps` of them and up to two forward passes.

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

    is_samplewise = True
    accepts_integers = False

    baseline: Baseline = "zeros"
    tolerance: float = 0.05
    n_steps: int | None = None
    max_steps: int = 257
    chunk_size: int | None = None
    memory_budget: int | None = None
    n_draws: int = 1
    seed: int = 0
    rule: Literal["gauss_legendre", "midpoint"] = "gauss_legendre"
    smooth: bool = False
    fast_convolutions: bool = True
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_baseline(self.baseline)
        check_fields(self, IntegratedGradients)
        if self.n_steps is not None and self.n_steps < 1:
            raise ConfigurationError(f"n_steps={self.n_steps}; expected at least 1, or None for the adaptive rule.")
        if not self.tolerance > 0:
            raise ConfigurationError(f"tolerance={self.tolerance}; expected a positive share, e.g. 0.05 for 5 %.")
        fewest = 2 * self._piece_rule.n_first_nodes - 1
        if self.max_steps < fewest:
            raise ConfigurationError(
                f"max_steps={self.max_steps}; the adaptive rule needs at least {fewest} points to estimate its error"
                f"{' with smooth=True' if self.smooth else ''}. For fewer, give n_steps."
            )
        if self.rule not in RULES:
            raise ConfigurationError(f"rule={self.rule!r}; expected one of {sorted(RULES)}.")
        check_counts(chunk_size=self.chunk_size, memory_budget=self.memory_budget, n_draws=self.n_draws)

    @property
    def n_passes(self) -> int | None:
        """Gradient passes per sample; None for the adaptive rule, which takes as many as a sample needs."""
        return None if self.n_steps is None else self.n_steps * self.n_draws

    @property
    def _piece_rule(self) -> PieceRule:
        return BOOLE if self.smooth else TRAPEZOIDS

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`.

        Args:
            model: A module (run in eval mode and left as found) or a callable from inputs to scores.
            inputs: Tensor [batch, ...], or a tuple of them, at least one of floating-point type.
            target: Class index, LongTensor [batch], or None where the output is one number per sample.

        Raises:
            ConfigurationError: Integer inputs only, a target out of range, a baseline that does not fit.
            ExplanationError: NaN or infinite gradients; an output that does not depend on the inputs, or only in steps
                (quantised networks); samples whose scores depend on each other.
        """
        return self._explained(model, inputs, target, of_vectors=False)

    @with_contrast_option
    def of_vectors(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain vectors (the first input, [batch, ..., dimensions]) by one number each.

        What is said of a vector's dimensions is summed; tolerance and stated error are those of the sums.

        Args:
            model: As for a call.
            inputs: As for a call; the first is of floating-point type.
            target: As for a call.

        Returns:
            An attribution whose `values` lack the last dimension of the first input.

        Raises:
            ConfigurationError: As a call.
            ExplanationError: As a call.
        """
        return self._explained(model, inputs, target, of_vectors=True)

    def _explained(self, model: Forward, inputs: Inputs, target: Target, *, of_vectors: bool) -> Attribution:
        with explaining(model), ExitStack() as stack:
            parts, indices = prepared(inputs, target)
            refuse_quantised(model)
            size, layer = stack.enter_context(_made_ready(model, parts, self.chunk_size, fast=self.fast_convolutions))
            forward = model if size is None else Padded(model, size)
            if self.smooth and self.n_steps is None:
                _warn_of_kinks(model)
            limit = RowLimit.of(parts, size or self.chunk_size, self.memory_budget)
            draws = drawn_baselines(self.baseline, parts, n_draws=self.n_draws, seed=self.seed)
            integral = averaged(
                [
                    self._integral(
                        StraightPath(forward, parts, baselines, indices, limit, layer, of_vectors=of_vectors)
                    )
                    for baselines in draws
                ]
            )
        refuse_flat(flat(integral.values).abs().sum(1), integral.change)
        self._warn_of_unfinished(integral.unfinished)
        return Attribution(
            values=shaped_like(integral.values, inputs),
            convergence_delta=flat(integral.values).sum(1) - integral.change,
            error=integral.error,
            target=indices,
            baseline=shaped_like(_mean_baseline(draws, parts), inputs),
            n_evaluations=integral.n_evaluations,
            coarse=None if integral.coarse is None else shaped_like(integral.coarse, inputs),
        )

    def _integral(self, path: StraightPath) -> Integral:
        if self.n_steps is None:
            return integrate_adaptive(path, tolerance=self.tolerance, max_steps=self.max_steps, rule=self._piece_rule)
        return integrate_fixed(path, RULES[self.rule](self.n_steps))

    def _warn_of_unfinished(self, unfinished: torch.Tensor) -> None:
        if bool(unfinished.any()):
            # without counts, so that python's warning filter shows it once a run
            doubt(
                f"IntegratedGradients used max_steps={self.max_steps} points and did not bring every sample's "
                f"estimated error and completeness gap within tolerance={self.tolerance}: see Attribution.error and "
                "convergence_delta. Raise max_steps, choose a baseline nearer to the inputs, or accept a larger "
                "tolerance.",
                stacklevel=4,
            )


@contextmanager
def _made_ready(
    model: Forward, parts: Parts, chunk_size: int | None, *, fast: bool
) -> Generator[tuple[int | None, FirstLayer | None], None, None]:
    """Run a model's layers faster; yield the only batch size it takes, if there is one, and its first layer.

    Cost: a forward and a gradient pass of two rows; where they tell of anything unusual, passes for every question.
    """
    found = None if chunk_size == 1 else _at_once(model, parts, fast=fast)
    if found is not None:
        layers, layer = found
        with layers.running():
            yield None, layer
        return
    size = fixed_batch_size(model, parts, chunk_size)
    with fast_convolutions(model, parts) if fast and size is None else nullcontext() as layers:
        layer = find_first_layer(model, parts, layers) if size is None else None
        if chunk_size != 1:
            check_rows_apart(model, parts, size)
        yield size, layer


def _at_once(model: Forward, parts: Parts, *, fast: bool) -> tuple[FastLayers, FirstLayer | None] | None:
    """Ask everything by two passes: the first sample as the model is, among others, and alone with faster layers.

    None where they do not agree on its scores, or fail.
    """
    alone, among = first_sample(parts, 2)
    try:
        layers, expected = watched_as_is(model, among, fast=fast)
        with layers.running():
            layer, scores = watched_first_layer(model, alone, layers)
        moved = first_moved(expected, scores, 2)
    except Exception:  # noqa: BLE001 - what only looks ahead must not be what fails
        return None
    if moved is None:
        return None
    # far above rounding, far below another function
    rounding = torch.finfo(expected.dtype).eps ** 0.5 if layers.by_weight else MOVED
    return (layers, layer) if moved <= min(rounding, MOVED) else None


def _warn_of_kinks(model: Forward) -> None:
    """Name a module whose gradient jumps; a functional one cannot be seen."""
    if not isinstance(model, nn.Module):
        return
    for name, module in model.named_modules():
        if isinstance(module, KINKED):
            doubt(
                f"IntegratedGradients got smooth=True, but {name or 'the model'} is a {type(module).__name__}, where "
                "the gradient jumps: paths with kinks are integrated by trapezoids all the same, after more points. "
                "Leave smooth=False here.",
                stacklevel=4,
            )
            return


def _mean_baseline(draws: list[Parts], parts: Parts) -> Parts:
    """Return the baseline, of the inputs' shape; the mean where there were several draws."""
    if len(draws) == 1:
        return tuple(b.expand_as(x).clone() for b, x in zip(draws[0], parts, strict=True))
    return tuple(
        torch.stack([draw[i] for draw in draws]).mean(0).expand_as(x).clone() if x.is_floating_point() else x
        for i, x in enumerate(parts)
    )
