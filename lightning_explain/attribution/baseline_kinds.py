"""Baselines made from data: blurred images, noise, the mean of a data set."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_explain.batches import input_of
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import rng_preserved

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
        images: The images.
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
