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
        alive: For maps: 1 for neurons that passed the threshold at any position of any sample, float [neurons]. None
            for flat outputs, where `active` says it.
    """

    active: Tensor
    activation: Tensor
    alive: Tensor | None


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
        `active` and mean `activation`, each [batch, neurons], and `alive`. For flat outputs `activation` is the output
        itself, not a copy.

    Example:
        >>> unit_activity(torch.tensor([[[1.0, -1.0, -1.0], [1.0, 1.0, -1.0]]]), unit_dim=1, min_fraction=0.5).active
        tensor([[0., 1.]])
    """
    # sums over many positions overflow or round in 16 bits
    maps = output.float()
    if maps.ndim == 2:
        return Activity(torch.gt(maps, threshold, out=torch.empty_like(maps)), maps, None)
    maps = maps.flatten(2) if unit_dim == 1 else maps.flatten(1, -2)
    position_dim = 2 if unit_dim == 1 else 1
    share = _above(maps, threshold, dim=position_dim)
    # no share is ever as small as this, so that without a fraction one position is enough, and needed
    active = share >= max(min_fraction, torch.finfo(share.dtype).tiny)
    return Activity(active.float(), maps.mean(position_dim), (share.amax(0) > 0).float())


def class_rows(labels: Tensor, n_classes: int, counted: Tensor | None = None) -> Tensor:
    """Say under which row of a `CountBuffer` each sample is counted: LongTensor [batch].

    Args:
        labels: Class of each sample: LongTensor [batch]; labels outside 0 to n_classes-1 (ignore indices) go to the
            last row, `n_classes`, which is thrown away.
        n_classes: Number of classes.
        counted: Boolean [batch]; False for samples to throw away (a distributed sampler's padding).

    Example:
        >>> class_rows(torch.tensor([1, -100, 0]), 2)
        tensor([1, 2, 0])
    """
    counts = (labels >= 0) & (labels < n_classes)
    if counted is not None:
        counts = counts & counted
    return torch.where(counts, labels, n_classes)


class ClassCounts(NamedTuple):
    """Sums over the samples of each class.

    Attributes:
        active: How often each neuron was active: [classes, neurons].
        activation: Sum of its activations: [classes, neurons].
        samples: Number of samples: [classes].
        alive: 1 for neurons that passed the threshold anywhere: [neurons].
    """

    active: Tensor
    activation: Tensor
    samples: Tensor
    alive: Tensor


class CountBuffer:
    """Adds activity up by class, in float32: cheap enough for every training step.

    Drain it before a class has met 2^24 samples, where float32 stops counting.

    Args:
        n_classes: Number of classes.
        n_neurons: Neurons of the layer.
        device: Where the layer's outputs are.
    """

    def __init__(self, n_classes: int, n_neurons: int, device: torch.device) -> None:
        self.n_classes = n_classes
        # outside inference mode, where training can change it; float32 whatever the run's default is
        with torch.inference_mode(mode=False):
            self._active = torch.zeros(n_classes + 1, n_neurons, dtype=torch.float32, device=device)
            self._activation = torch.zeros(n_classes + 1, n_neurons, dtype=torch.float32, device=device)
            self._samples = torch.zeros(n_classes + 1, dtype=torch.float32, device=device)
            self._alive = torch.zeros(n_neurons, dtype=torch.float32, device=device)

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return len(self._alive)

    def add(self, activity: Activity, rows: Tensor) -> None:
        """Add one batch.

        Args:
            activity: Of the layer, [batch, neurons].
            rows: From `class_rows`.

        Cost: two passes over the activity.
        """
        self._active.index_add_(0, rows, activity.active)
        self._activation.index_add_(0, rows, activity.activation)
        # no bincount: on a GPU it would wait for the device
        self._samples.index_add_(0, rows, self._samples.new_ones(()).expand(len(rows)))
        if activity.alive is not None:
            torch.maximum(self._alive, activity.alive, out=self._alive)

    def drain(self) -> ClassCounts:
        """Return what was added, without the row thrown away, and begin anew."""
        n = self.n_classes
        alive = torch.maximum(self._alive, self._active.amax(0)) > 0
        counts = ClassCounts(
            self._active[:n].clone(), self._activation[:n].clone(), self._samples[:n].clone(), alive.float()
        )
        for buffer in (self._active, self._activation, self._samples, self._alive):
            buffer.zero_()
        return counts
