"""From a layer's output to which neurons were active for which class: pure functions, no sample loop."""

from typing import NamedTuple

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 20
"""Maps are compared in pieces of about this many values, so that the temporary stays in the processor's cache."""


class Activity(NamedTuple):
    """What each neuron did for each sample.

    Attributes:
        active: 1 where the neuron was active, else 0; float [batch, neurons].
        activation: Mean activation over positions; float [batch, neurons].
        alive: 1 for neurons that passed the threshold at any position of any sample; float [neurons].
    """

    active: Tensor
    activation: Tensor
    alive: Tensor


def _above(maps: Tensor, threshold: float, *, dim: int) -> Tensor:
    """Return the share of positions above the threshold: [batch, neurons]."""
    share = maps.new_empty([size for axis, size in enumerate(maps.shape) if axis != dim])
    rows = max(1, CHUNK_ELEMENTS // max(1, maps[0].numel()))
    buffer = torch.empty_like(maps[:rows])
    for start in range(0, len(maps), rows):
        chunk = maps[start : start + rows]
        # comparing into a float buffer is ten times cheaper than summing booleans
        piece = torch.gt(chunk, threshold, out=buffer[: len(chunk)])
        torch.sum(piece, dim, out=share[start : start + rows])
    return share.div_(max(1, maps.shape[dim]))


def unit_activity(output: Tensor, *, unit_dim: int, threshold: float = 0.0, min_fraction: float = 0.25) -> Activity:
    """Decide which neurons a layer's output shows as active, sample by sample.

    A unit of a flat output is active above the threshold. A channel (or a feature of a sequence) is active when at
    least `min_fraction` of its positions are: with "any position" every channel would be active for every sample.

    Args:
        output: [batch, neurons], [batch, channels, ...] (`unit_dim=1`) or [batch, ..., features] (`unit_dim=-1`).
        unit_dim: Which dimension counts neurons.
        threshold: Activation above which a position counts as active.
        min_fraction: Share of positions, 0 to 1; at 0 one active position is enough.

    Returns:
        `active` and mean `activation`, each [batch, neurons], and `alive` [neurons]; float32 or wider.

    Example:
        >>> unit_activity(torch.tensor([[[1.0, -1.0, -1.0], [1.0, 1.0, -1.0]]]), unit_dim=1, min_fraction=0.5).active
        tensor([[0., 1.]])
    """
    # sums over many positions overflow or round in 16 bits
    maps = output if output.dtype in (torch.float32, torch.float64) else output.float()
    if maps.ndim == 2:
        active = torch.gt(maps, threshold, out=torch.empty_like(maps))
        return Activity(active, maps.clone(), active.amax(0))
    maps = maps.flatten(2) if unit_dim == 1 else maps.flatten(1, -2)
    position_dim = 2 if unit_dim == 1 else 1
    share = _above(maps, threshold, dim=position_dim)
    # no share is ever as small as this, so that without a fraction one position is enough, and needed
    active = share >= max(min_fraction, torch.finfo(share.dtype).tiny)
    return Activity(active.to(maps.dtype), maps.mean(position_dim), (share.amax(0) > 0).to(maps.dtype))


def membership(labels: Tensor, n_classes: int, counted: Tensor | None = None) -> Tensor:
    """Return which sample belongs to which class: float [classes, batch], zero for samples that do not count.

    Args:
        labels: Class of each sample: LongTensor [batch]; labels outside 0 to n_classes-1 (ignore indices) count
            for no class.
        n_classes: Number of classes.
        counted: Boolean [batch]; False for samples to leave out (a distributed sampler's padding).

    Example:
        >>> membership(torch.tensor([1, 0, 1]), 2)
        tensor([[0., 1., 0.],
                [1., 0., 1.]])
    """
    member = (labels == torch.arange(n_classes, device=labels.device)[:, None]).float()
    return member if counted is None else member * counted.to(member)


class ClassCounts(NamedTuple):
    """Sums over the samples of each class.

    Attributes:
        active: How often each neuron was active: [classes, neurons].
        activation: Sum of its activations: [classes, neurons].
        samples: Number of samples: [classes].
    """

    active: Tensor
    activation: Tensor
    samples: Tensor


def class_counts(activity: Activity, member: Tensor) -> ClassCounts:
    """Add a batch's activity up by class.

    Args:
        activity: Of one layer, each [batch, neurons].
        member: From `membership`, [classes, batch].

    Cost: two matrix products [classes, batch] x [batch, neurons].
    """
    weights = member.to(activity.active.dtype)
    return ClassCounts(weights @ activity.active, weights @ activity.activation, member.sum(1))
