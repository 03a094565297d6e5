"""Activity of a layer's neurons, counted by class: pure functions without a loop over samples."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 19
"""Maps are compared in pieces of about this many values, so that the temporary stays in the processor's cache."""

ACCELERATOR_ELEMENTS = 1 << 24
"""The same on an accelerator, where a piece costs the start of three kernels, and its memory is what matters."""

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
        self._views: dict[tuple[object, ...], Tensor] = {}

    def like(self, chunk: Tensor) -> Tensor:
        """Return an uninitialised tensor of the chunk's shape; the next call may overwrite it."""
        key = (chunk.device, chunk.dtype)
        kept = self._kept.get(key)
        if kept is None or kept.numel() < chunk.numel():
            self._views.clear()
            with torch.inference_mode(mode=False):
                kept = self._kept[key] = torch.empty(chunk.numel(), device=chunk.device, dtype=chunk.dtype)
        place = (*key, chunk.shape, chunk.stride())
        view = self._views.get(place)
        if view is None:
            if len(self._views) >= MOST_VIEWS:
                self._views.clear()
            view = self._views[place] = _laid_out_like(chunk, kept)
        return view


MOST_VIEWS = 256
"""Shapes that a scratch buffer remembers: sequences may come in as many as there are lengths."""


def _laid_out_like(chunk: Tensor, memory: Tensor) -> Tensor:
    """Return a part of a flat tensor in the shape of a chunk, and in its order of memory where that has no gaps."""
    sizes = sorted((stride, size) for stride, size in zip(chunk.stride(), chunk.shape, strict=True) if size > 1)
    expected = 1
    for stride, size in sizes:
        if stride != expected:
            return memory[: chunk.numel()].view(chunk.shape)
        expected *= size
    return memory.as_strided(chunk.shape, chunk.stride(), 0)


@lru_cache(maxsize=1024)
def fewest_active(n_positions: int, min_fraction: float) -> int:
    """Return the smallest number of active positions that makes a share of at least `min_fraction`; at least 1.

    Shares are compared in 32 bits, so that 3 of 10 is a share of 0.3. Numbers are compared on the device: a division
    there is a product with a reciprocal, by which 9 of 36 may be less than a quarter.

    Example:
        >>> fewest_active(36, 0.25), fewest_active(10, 0.3), fewest_active(9, 0.0)
        (9, 3, 1)
    """
    number = max(1, math.ceil(min_fraction * n_positions))
    below = np.float32(number - 1) / np.float32(max(1, n_positions))
    return number - 1 if number > 1 and below >= np.float32(min_fraction) else number


def _over_positions(
    maps: Tensor, threshold: float, *, dims: Sequence[int], signed: bool, scratch: Scratch, peaks: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the number of positions above the threshold, the mean, the mean size and the largest value.

    Each is [batch, neurons]; None for the size where not `signed`, and for the largest without `peaks`. All in one
    walk: a chunk is compared and summed while it is in the cache.
    """
    most = CHUNK_ELEMENTS if maps.device.type == "cpu" else ACCELERATOR_ELEMENTS
    rows = max(1, most // max(1, maps[0].numel())) if len(maps) else 1
    dims = list(dims)
    found: list[tuple[Any, ...]] = []
    for chunk in maps.split(rows) if rows < len(maps) else (maps,):
        buffer = scratch.like(chunk)
        # comparing into a float buffer is ten times cheaper than summing booleans
        number = torch.sum(torch.gt(chunk, threshold, out=buffer), dims)
        mean = torch.mean(chunk, dims)
        peak = torch.amax(chunk, dims) if peaks else None
        size = torch.mean(torch.abs(chunk, out=buffer), dims) if signed else None
        found.append((number, mean, size, peak))
    if len(found) == 1:
        return found[0]
    number, mean, size, peak = zip(*found, strict=True)
    return torch.cat(number), torch.cat(mean), torch.cat(size) if signed else None, torch.cat(peak) if peaks else None


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
    if valid is None:
        dims = range(2, maps.ndim) if unit_dim == 1 else range(1, maps.ndim - 1)
        number, mean, size, peak = _over_positions(
            maps, threshold, dims=dims, signed=signed, scratch=scratch, peaks=peaks
        )
        alive = number.amax(0).clamp_(max=1)
        least = fewest_active(math.prod(maps.shape[dim] for dim in dims), min_fraction)
        return Activity(number.ge_(least), mean, alive, size, peak)
    maps = maps.flatten(2).transpose(1, 2) if unit_dim == 1 else maps.flatten(1, -2)
    share, mean, size = _over_valid_positions(maps, threshold, valid)
    peak = maps.masked_fill(~valid.unsqueeze(2), -torch.inf).amax(1) if peaks else None
    # no share is ever as small as this, so that without a fraction one position is enough, and needed
    active = share >= max(min_fraction, torch.finfo(share.dtype).tiny)
    return Activity(active.float(), mean, (share.amax(0) > 0).float(), size if signed else None, peak)


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
