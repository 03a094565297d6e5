"""What an input is compared with: the point where the path of integrated gradients starts."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.result import parts_of
from lightning_explain.batches import Inputs, input_of
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import rng_preserved

Baseline = str | Inputs | Callable[..., Any]
"""`"zeros"`, `"mean"`, `"blur"`, `"noise"`, a tensor (or tuple) that broadcasts to the inputs, or a callable from
inputs to one."""

BLUR = 0.1
"""Default standard deviation of the blur, as a share of the image's shorter side: shapes are still there, what
tells classes apart is mostly gone."""


def _smoothing(size: int, sigma: float, like: Tensor) -> Tensor:
    """Return the matrix that blurs a line of `size` pixels; rows sum to 1, so that borders do not darken."""
    position = torch.arange(size, device=like.device, dtype=like.dtype)
    weights = torch.exp(-0.5 * ((position[:, None] - position) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True)


def blurred(images: Tensor, *, sigma: float | None = None) -> Tensor:
    """Blur images [batch, channels, height, width] with a Gaussian; the shape stays.

    Source: Fong, Vedaldi (2017), Interpretable Explanations of Black Boxes by Meaningful Perturbation, Section 4.1.

    Args:
        images: What to blur.
        sigma: Standard deviation in pixels; by default a tenth of the shorter side.

    Raises:
        ConfigurationError: Not four dimensions, or a sigma that is not positive.

    Example:
        >>> bool(torch.allclose(blurred(torch.ones(1, 3, 8, 8)), torch.ones(1, 3, 8, 8)))
        True
    """
    if images.ndim != 4:
        raise ConfigurationError(
            f"A blurred baseline needs images [batch, channels, height, width]; got shape {list(images.shape)}. "
            "Use baseline='zeros' or 'mean', or a callable of your own."
        )
    height, width = images.shape[2:]
    sigma = BLUR * min(height, width) if sigma is None else sigma
    if sigma <= 0:
        raise ConfigurationError(f"sigma={sigma}; expected a positive number of pixels.")
    return _smoothing(height, sigma, images) @ images @ _smoothing(width, sigma, images).T


def uniform_noise(inputs: Tensor, *, seed: int = 0) -> Tensor:
    """Draw one sample of uniform noise between the smallest and the largest input: [1, ...], shared by the batch.

    The seed is its own: the same inputs give the same noise, and no global random state is touched.

    Source: Sturmfels, Lundberg, Lee (2020), Visualizing the Impact of Feature Attribution Baselines, "Uniform".

    Example:
        >>> uniform_noise(torch.rand(5, 3)).shape
        torch.Size([1, 3])
    """
    # drawn on the CPU, so that it is the same on every device
    share = torch.rand((1, *inputs.shape[1:]), generator=torch.Generator().manual_seed(seed))
    low, high = inputs.amin(), inputs.amax()
    return low + (high - low) * share.to(device=inputs.device, dtype=inputs.dtype)


def data_mean(data: Tensor | Iterable[Any], *, per_channel: bool = False) -> Tensor:
    """Average a data set into a baseline tensor [1, ...], e.g. `IntegratedGradients(baseline=data_mean(loader))`.

    Args:
        data: All inputs as one tensor [samples, ...], or batches (a DataLoader will do) that are input tensors or
            hold one in a form `AttributionMonitor` recognises, such as `(input, target)`.
        per_channel: One mean for each channel (dimension 1) instead of one for each feature.

    Returns:
        The mean [1, ...], or [1, channels, 1, ...] with `per_channel`; computed in float64.

    Raises:
        ConfigurationError: No batch, a batch without an input, or several inputs in one batch.

    Example:
        >>> data_mean(torch.tensor([[0.0, 2.0], [4.0, 2.0]]))
        tensor([[2., 2.]])
    """
    total, n_samples, dtype = torch.zeros(()), 0, torch.get_default_dtype()
    # even an unshuffled loader draws from the global random state when it is iterated
    with rng_preserved():
        for batch in [data] if isinstance(data, Tensor) else data:
            part = input_of(batch)
            if not isinstance(part, Tensor):
                raise ConfigurationError(
                    f"data_mean got a batch with {len(part)} inputs; give it the batches of one input at a time."
                )
            total = total.to(part.device) + part.detach().double().sum(0)
            n_samples += len(part)
            dtype = part.dtype if part.is_floating_point() else dtype
    if n_samples == 0:
        raise ConfigurationError("data_mean got no samples; give it a tensor or at least one batch.")
    mean = total[None] / n_samples
    if per_channel and mean.ndim > 2:
        mean = mean.mean(dim=tuple(range(2, mean.ndim)), keepdim=True)
    return mean.to(dtype)


NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda part: torch.zeros_like(part[:1]),
    # of the explained batch: what the model was trained on is not known here, see data_mean
    "mean": lambda part: part.mean(0, keepdim=True),
    "blur": blurred,
    "noise": uniform_noise,
}


def baseline_name(baseline: Baseline) -> str:
    """Name a baseline for tags and records.

    Example:
        >>> baseline_name("zeros"), baseline_name(torch.ones(3))
        ('zeros', 'tensor')
    """
    if isinstance(baseline, str):
        return baseline
    if callable(baseline):
        return str(getattr(baseline, "__name__", type(baseline).__name__))
    return "tensor"


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


def resolve_baseline(baseline: Baseline, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Turn a baseline option into tensors, each [1, ...] (shared by all samples) or [batch, ...].

    Args:
        baseline: Name, tensor(s) or callable; a callable takes the inputs as given to the method. `"zeros"`;
            `"mean"`: the mean of the explained batch, feature by feature (so it changes with the batch; for that
            of the training data give `data_mean(...)`); `"blur"`: each image blurred; `"noise"`: one seeded sample
            of uniform noise in the batch's range.
        inputs: The explained inputs.

    Raises:
        ConfigurationError: Unknown name, wrong number of parts, or a shape that does not broadcast.

    Example:
        >>> resolve_baseline("zeros", (torch.ones(5, 2),))[0].shape
        torch.Size([1, 2])
    """
    if isinstance(baseline, str):
        if baseline not in NAMED:
            raise ConfigurationError(
                f"baseline={baseline!r} is unknown; expected one of {sorted(NAMED)}, a tensor or a callable."
            )
        return tuple(NAMED[baseline](part) for part in inputs)
    # a callable sees the inputs as the method was given them: one tensor, or a tuple of several
    as_given = inputs if len(inputs) != 1 else next(iter(inputs))
    given: Any = baseline(as_given) if callable(baseline) else baseline
    parts = parts_of(given)
    if len(parts) != len(inputs):
        raise ConfigurationError(
            f"baseline has {len(parts)} parts, but there are {len(inputs)} inputs: give one for each."
        )
    return tuple(_fitting(part, like) for part, like in zip(parts, inputs, strict=True))
