"""Activity of a layer's neurons, counted by class: pure functions without a loop over samples."""

from typing import NamedTuple

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 19
"""Maps are compared in pieces of about this many values, so that the temporary stays in the processor's cache."""

HEAD_SHARE = 0.5
"""An attention head is active for a sample when its norm is at least this share of the mean of the layer's heads."""


class Activity(NamedTuple):
    """Activity of each neuron for each sample.

    Attributes:
        active: 1 where the neuron was active, else 0; float [batch, neurons].
        activation: Mean activation over positions; float [batch, neurons].
        alive: For maps: 1 for neurons that passed the threshold at any position of any sample, float [neurons]. None
            for flat outputs, where `active` says it.
        magnitude: Mean absolute activation over positions, float [batch, neurons]; None where activations are never
            negative, so that `activation` says it.
        peak: Largest activation over positions, float [batch, neurons]; None where it was not asked for.
    """

    active: Tensor
    activation: Tensor
    alive: Tensor | None
    magnitude: Tensor | None = None
    peak: Tensor | None = None


class Scratch:
    """Buffers that comparisons write into, kept from one batch to the next."""

    def __init__(self) -> None:
        self._kept: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, chunk: Tensor) -> Tensor:
        """Return an uninitialised tensor of the chunk's shape; the next call may overwrite it."""
        key = (chunk.device, chunk.dtype)
        kept = self._kept.get(key)
        if kept is None or kept.numel() < chunk.numel():
            with torch.inference_mode(mode=False):
                kept = self._kept[key] = torch.empty(chunk.numel(), device=chunk.device, dtype=chunk.dtype)
        return kept[: chunk.numel()].view(chunk.shape)


def _over_positions(
    maps: Tensor, threshold: float, *, dim: int, signed: bool, scratch: Scratch, peak: Tensor | None
) -> list[Tensor]:
    """Return share of positions above the threshold, mean, and if `signed` mean size: each [batch, neurons].

    Writes the largest values into `peak`, where it is given.

    All in one walk: a chunk is compared and summed while it is in the cache.
    """
    shape = [size for axis, size in enumerate(maps.shape) if axis != dim]
    sums = [maps.new_empty(shape) for _ in range(3 if signed else 2)]
    rows = max(1, CHUNK_ELEMENTS // max(1, maps[0].numel())) if len(maps) else 1
    for start in range(0, len(maps), rows):
        chunk, part = maps[start : start + rows], slice(start, start + rows)
        buffer = scratch.like(chunk)
        # comparing into a float buffer is ten times cheaper than summing booleans
        torch.sum(torch.gt(chunk, threshold, out=buffer), dim, out=sums[0][part])
        torch.sum(chunk, dim, out=sums[1][part])
        if peak is not None:
            torch.amax(chunk, dim, out=peak[part])
        if signed:
            torch.sum(torch.abs(chunk, out=buffer), dim, out=sums[2][part])
    return [total.div_(max(1, maps.shape[dim])) for total in sums]


def _over_valid_positions(maps: Tensor, threshold: float, valid: Tensor) -> list[Tensor]:
    """Return the same for [batch, positions, neurons], over the positions [batch, positions] that are not padding."""
    weights = valid.to(maps.dtype).unsqueeze(1)
    n_valid = weights.sum(2).clamp_min(1)
    # padding may hold NaN, which no weight of 0 removes
    kept = maps.masked_fill(~valid.unsqueeze(2), 0.0)
    sums = [torch.bmm(weights, each).squeeze(1) for each in ((kept > threshold).to(maps.dtype), kept, kept.abs())]
    return [total / n_valid for total in sums]


def unit_activity(
    output: Tensor,
    *,
    unit_dim: int,
    threshold: float = 0.0,
    min_fraction: float = 0.25,
    valid: Tensor | None = None,
    signed: bool = True,
    scratch: Scratch | None = None,
    peaks: bool = False,
) -> Activity:
    """Return the activity of each neuron of a layer's output, sample by sample.

    A unit of a flat output is active above the threshold. A channel (or a feature of a sequence) is active when at
    least `min_fraction` of its positions are: with "any position" every channel would be active for every sample.

    Args:
        output: [batch, neurons], [batch, channels, ...] (`unit_dim=1`) or [batch, ..., features] (`unit_dim=-1`).
        unit_dim: Which dimension counts neurons.
        threshold: Activation above which a position counts as active.
        min_fraction: Share of positions, 0 to 1; at 0 one active position is enough.
        valid: Boolean [batch, positions], features last: False for padding, which neither counts nor is counted;
            None where there is none.
        signed: False where activations are never negative: their size need not be summed apart then.
        scratch: Memory to reuse from batch to batch; for flat outputs `active` is in it, until the next call.
        peaks: Find the largest activation over positions, too.

    Returns:
        `active` and mean `activation`, each [batch, neurons], `alive`, and `magnitude` if `signed`. For flat outputs
        `activation` is the output itself, not a copy.

    Example:
        >>> unit_activity(torch.tensor([[[1.0, -1.0, -1.0], [1.0, 1.0, -1.0]]]), unit_dim=1, min_fraction=0.5).active
        tensor([[0., 1.]])
    """
    # sums over many positions overflow or round in 16 bits
    maps = output.float()
    if maps.ndim == 2:
        active = torch.gt(maps, threshold, out=torch.empty_like(maps) if scratch is None else scratch.like(maps))
        return Activity(active, maps, None, maps.abs() if signed else None, maps if peaks else None)
    scratch = scratch or Scratch()
    maps = maps.flatten(2) if unit_dim == 1 else maps.flatten(1, -2)
    position_dim = 2 if unit_dim == 1 else 1
    peak = maps.new_empty([size for axis, size in enumerate(maps.shape) if axis != position_dim]) if peaks else None
    if valid is None:
        found = _over_positions(maps, threshold, dim=position_dim, signed=signed, scratch=scratch, peak=peak)
    else:
        found = _over_valid_positions(maps, threshold, valid)
        peak = maps.masked_fill(~valid.unsqueeze(2), -torch.inf).amax(1) if peaks else None
    share = found[0]
    # no share is ever as small as this, so that without a fraction one position is enough, and needed
    active = share >= max(min_fraction, torch.finfo(share.dtype).tiny)
    return Activity(active.float(), found[1], (share.amax(0) > 0).float(), found[2] if signed else None, peak)


def head_activity(norms: Tensor, valid: Tensor | None = None) -> Activity:
    """Return the activity of attention heads: active ones have an output that is large relative to the layer's mean.

    A norm is never negative, so that no threshold tells active heads from idle ones; the layer's mean does.

    Args:
        norms: Size of each head's output: [batch, positions, heads].
        valid: Boolean [batch, positions]; False for padding.

    Returns:
        `active` where the head's mean norm is at least `HEAD_SHARE` of the mean over heads, the mean norm as
        `activation`, and `alive` where a head gave anything at all.

    Example:
        >>> head_activity(torch.tensor([[[1.0, 3.0, 8.0]]])).active
        tensor([[0., 1., 1.]])
    """
    norms = norms.float()
    everywhere = torch.ones(norms.shape[:2], dtype=torch.bool, device=norms.device)
    share, mean, _ = _over_valid_positions(norms, 0.0, everywhere if valid is None else valid)
    active = (mean >= HEAD_SHARE * mean.mean(1, keepdim=True)) & (mean > 0)
    return Activity(active.float(), mean, (share.amax(0) > 0).float())


def class_rows(labels: Tensor, n_classes: int, counted: Tensor | None = None) -> Tensor:
    """Return the row of a `CountBuffer` under which each sample is counted: LongTensor [batch].

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
        magnitude: Sum of the sizes of its activations, over all classes: [neurons].
    """

    active: Tensor
    activation: Tensor
    samples: Tensor
    alive: Tensor
    magnitude: Tensor


class CountBuffer:
    """Sums of activity by class, in float32: cheap enough for every training step.

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
            self._magnitude = torch.zeros(n_neurons, dtype=torch.float32, device=device)
            self._one = torch.ones((), dtype=torch.float32, device=device)
        self._signed = False

    @property
    def n_neurons(self) -> int:
        """Number of neurons of the layer."""
        return len(self._alive)

    def add(self, activity: Activity, rows: Tensor) -> None:
        """Add one batch.

        Args:
            activity: Of the layer, [batch, neurons].
            rows: From `class_rows`.

        Cost: two passes over the activity, a third one where activations are signed.
        """
        self._active.index_add_(0, rows, activity.active)
        self._activation.index_add_(0, rows, activity.activation)
        # no bincount: on a GPU it would wait for the device
        self._samples.index_add_(0, rows, self._one.expand(len(rows)))
        if activity.alive is not None:
            torch.maximum(self._alive, activity.alive, out=self._alive)
        if activity.magnitude is not None:
            self._signed = True
            self._magnitude += (rows < self.n_classes).float() @ activity.magnitude

    def drain(self) -> ClassCounts:
        """Return the sums, without the row of ignored samples, and reset them."""
        n = self.n_classes
        alive = torch.maximum(self._alive, self._active.amax(0)) > 0
        magnitude = self._magnitude.clone() if self._signed else self._activation[:n].sum(0)
        counts = ClassCounts(
            self._active[:n].clone(), self._activation[:n].clone(), self._samples[:n].clone(), alive.float(), magnitude
        )
        for buffer in (self._active, self._activation, self._samples, self._alive, self._magnitude):
            buffer.zero_()
        return counts
