"""Methods that look at the gradient at the input only: saliency, input x gradient, SmoothGrad."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.contrast import Contrast, check_contrast, with_contrast_option
from lightning_explain.attribution.result import Attribution, Forward, Target, flat, shaped_like
from lightning_explain.attribution.scores import Scores, check_counts, check_finite, prepared, score_gradients
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.options.value_types import check_fields

Parts = tuple[Tensor, ...]

MEAN_ABSOLUTE_NORMAL = math.sqrt(2 / math.pi)
"""Expected |z| of a standard normal z: turns a standard error into an expected absolute error."""


def _gradients(model: Forward, parts: Parts, target: Tensor | None, rows: int | None) -> Parts:
    """Differentiate the explained score at the inputs, at most `rows` samples in one pass: each [batch, ...]."""
    n_samples = len(parts[0])
    found: list[Parts] = []
    for first in range(0, n_samples, rows or n_samples):
        chunk = slice(first, first + (rows or n_samples))
        leaves = tuple(part[chunk].clone().requires_grad_(part.is_floating_point()) for part in parts)
        gradients, score = score_gradients(model, leaves, None if target is None else target[chunk])
        check_finite(gradients, score, leaves)
        found.append(gradients)
    return tuple(torch.cat(chunks) for chunks in zip(*found, strict=True))


def _differentiable(part: Tensor) -> Tensor:
    """Return a part in a type that can hold gradients."""
    return part if part.is_floating_point() else part.to(torch.get_default_dtype())


def _result(values: Parts, inputs: Inputs, target: Tensor | None, n_evaluations: int) -> Attribution:
    """Wrap values that promise no completeness."""
    return Attribution(
        values=shaped_like(values, inputs),
        convergence_delta=None,
        error=None,
        target=target,
        baseline=None,
        n_evaluations=torch.full((len(values[0]),), n_evaluations),
    )


def _by_gradient(
    model: Forward, inputs: Inputs, target: Target, rows: int | None, value: Callable[[Tensor, Tensor], Tensor]
) -> Attribution:
    """Make each attribution out of a feature and its gradient."""
    with explaining(model):
        parts, indices = prepared(inputs, target)
        gradients = _gradients(model, parts, indices, rows)
    return _result(tuple(value(x, g) for x, g in zip(parts, gradients, strict=True)), inputs, indices, 1)


@dataclass(frozen=True)
class Saliency:
    """Size of the gradient at the input: how much the score moves when a feature moves a little.

    Values are never negative, so they say where the model is sensitive and not which way.

    Source: Simonyan, Vedaldi, Zisserman (2014), Deep Inside Convolutional Networks, Section 3.1 (without its
    maximum over colour channels, so that values keep the shape of the inputs).

    Args:
        chunk_size: Most samples in one pass; by default all.
        contrast: Class whose score is subtracted from that of the explained one: an index, one for each sample
            (LongTensor [batch]), `"strongest"` for the other class with the highest score, or (in monitors) a name;
            None for the score of the explained class alone.

    Cost: one forward and one backward pass.

    Example:
        >>> linear = lambda x: x @ torch.tensor([[2.0], [-3.0]])
        >>> Saliency()(linear, torch.tensor([[5.0, 5.0]])).values
        tensor([[2., 3.]])
    """

    baseline = None
    is_samplewise = True
    n_passes = 1
    accepts_integers = False
    gives_slopes = True

    chunk_size: int | None = None
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_fields(self, Saliency)
        check_counts(chunk_size=self.chunk_size)

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`; values are shaped like the inputs and not negative.

        Raises:
            ConfigurationError: Integer inputs or a target out of range.
            ExplanationError: NaN or infinite gradients, or an output that does not depend on the inputs.
        """
        return _by_gradient(model, inputs, target, self.chunk_size, lambda _, g: g.abs())


@dataclass(frozen=True)
class InputXGradient:
    """Input times gradient: the score's first-order share of each feature, signed.

    Complete (it sums to the score) for functions that scale with their input, such as ReLU networks without
    biases; in general it is not. A feature that is 0 gets 0.

    Source: Shrikumar, Greenside, Shcherbina, Kundaje (2016), Not Just a Black Box, Section 3.

    Args:
        chunk_size: Most samples in one pass; by default all.
        contrast: Class whose score is subtracted from that of the explained one: an index, one for each sample
            (LongTensor [batch]), `"strongest"` for the other class with the highest score, or (in monitors) a name;
            None for the score of the explained class alone.

    Cost: one forward and one backward pass.

    Example:
        >>> linear = lambda x: x @ torch.tensor([[2.0], [-3.0]])
        >>> InputXGradient()(linear, torch.tensor([[5.0, 5.0]])).values
        tensor([[ 10., -15.]])
    """

    baseline = None
    is_samplewise = True
    n_passes = 1
    accepts_integers = False

    chunk_size: int | None = None
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_fields(self, InputXGradient)
        check_counts(chunk_size=self.chunk_size)

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`; values are signed and shaped like the inputs.

        Raises:
            ConfigurationError: Integer inputs or a target out of range.
            ExplanationError: NaN or infinite gradients, or an output that does not depend on the inputs.
        """
        return _by_gradient(model, inputs, target, self.chunk_size, lambda x, g: x * g)


@dataclass(frozen=True)
class _NoisyCopies:
    """Gaussian noise for every draw [draws, 1, ...], and its size for every sample [batch, ...]."""

    noise: Parts
    scale: Parts

    @classmethod
    def of(cls, parts: Parts, *, noise: float, n_draws: int, seed: int) -> "_NoisyCopies":
        # drawn on the CPU, and once for all samples: an explanation then depends neither on the device, nor on
        # chunk_size, nor on the other samples of its batch
        generator = torch.Generator().manual_seed(seed)
        draws = [torch.randn((n_draws, 1, *part.shape[1:]), generator=generator) for part in parts]
        # what is carried along unexplained (token ids, masks) gets no noise
        ranges = [part.reshape(len(part), -1).to(draw.dtype) for part, draw in zip(parts, draws, strict=True)]
        scales = [noise * (values.amax(1) - values.amin(1)) for values in ranges]
        return cls(
            tuple(
                draw.to(device=part.device, dtype=_differentiable(part).dtype)
                for draw, part in zip(draws, parts, strict=True)
            ),
            tuple(s.reshape(-1, *(1,) * (part.ndim - 1)) for s, part in zip(scales, parts, strict=True)),
        )

    def around(self, parts: Parts, draws: slice) -> Parts:
        """Return the copies of some draws as rows [draws * batch, ...]."""
        return tuple(
            (part + (scale * noise[draws]).to(part.dtype)).flatten(0, 1)
            if part.is_floating_point()
            else part.repeat(len(noise[draws]), *(1,) * (part.ndim - 1))
            for part, scale, noise in zip(parts, self.scale, self.noise, strict=True)
        )


@dataclass(frozen=True)
class SmoothGrad:
    """Mean gradient over noisy copies of the input, signed.

    The noise is drawn from a seed of its own: the same call gives the same result, and no global random state
    is touched. All samples get the same noise pattern, scaled to their own range.

    Source: Smilkov, Thorat, Kim, Viegas, Wattenberg (2017), SmoothGrad: the mean of gradients, and noise as
    a share of the range.

    Args:
        noise: Standard deviation of the noise as a share of each sample's range (largest minus smallest value).
        n_draws: Noisy copies per sample.
        seed: Seed of the noise.
        chunk_size: Most rows (copies times samples) in one pass; by default as many as there are samples.
        contrast: Class whose score is subtracted from that of the explained one: an index, one for each sample
            (LongTensor [batch]), `"strongest"` for the other class with the highest score, or (in monitors) a name;
            None for the score of the explained class alone.

    `error` of the result is the expected relative L1 error that a finite number of draws leaves, from their
    spread; NaN for one draw.

    Cost: `n_draws` forward and backward passes.

    Raises:
        ConfigurationError: A negative level of noise, or a count below 1.

    Example:
        >>> linear = lambda x: x @ torch.tensor([[2.0], [-3.0]])
        >>> SmoothGrad()(linear, torch.tensor([[5.0, 1.0]])).values
        tensor([[ 2., -3.]])
    """

    baseline = None
    is_samplewise = True
    accepts_integers = False
    gives_slopes = True

    noise: float = 0.15
    n_draws: int = 25
    seed: int = 0
    chunk_size: int | None = None
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_fields(self, SmoothGrad)
        check_counts(n_draws=self.n_draws, chunk_size=self.chunk_size)
        if not 0 <= self.noise < math.inf:
            raise ConfigurationError(f"noise={self.noise}; expected a share of the input's range, e.g. 0.15 for 15 %.")

    @property
    def n_passes(self) -> int:
        """Gradient passes per sample."""
        return self.n_draws

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`; values are signed and shaped like the inputs.

        Raises:
            ConfigurationError: Integer inputs or a target out of range.
            ExplanationError: NaN or infinite gradients, or an output that does not depend on the inputs.
        """
        with explaining(model):
            parts, indices = prepared(inputs, target)
            mean, squares = self._moments(model, parts, indices)
        values = tuple(mean)
        result = _result(values, inputs, indices, self.n_draws)
        return Attribution(**{**vars(result), "error": self._error(flat(values), flat(tuple(squares)))})

    def _moments(self, model: Scores, parts: Parts, target: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Return mean and summed squared deviation of the gradients over the draws, each [batch, ...]."""
        copies = _NoisyCopies.of(parts, noise=self.noise, n_draws=self.n_draws, seed=self.seed)
        rows = self.chunk_size or len(parts[0])
        per_pass = max(1, rows // len(parts[0]))
        mean = [torch.zeros_like(_differentiable(part)) for part in parts]
        squares = [torch.zeros_like(total) for total in mean]
        for first in range(0, self.n_draws, per_pass):
            noisy = copies.around(parts, slice(first, first + per_pass))
            n_here = len(noisy[0]) // len(parts[0])
            gradients = _gradients(model, noisy, None if target is None else target.repeat(n_here), rows)
            for index, gradient in enumerate(gradients):
                for done, draw in enumerate(gradient.unflatten(0, (n_here, -1)), start=first + 1):
                    # running moments: sums of squares would cancel where the gradient hardly varies
                    step = draw - mean[index]
                    mean[index] += step / done
                    squares[index] += step * (draw - mean[index])
        return mean, squares

    def _error(self, values: Tensor, squares: Tensor) -> Tensor:
        if self.n_draws == 1:
            return torch.full_like(values[:, 0], torch.nan)
        spread = (squares.clamp_min(0) / (self.n_draws - 1)).sqrt().sum(1)
        size = values.abs().sum(1)
        error = MEAN_ABSOLUTE_NORMAL * spread / (math.sqrt(self.n_draws) * size)
        return torch.where(spread == 0, torch.zeros_like(size), error)
