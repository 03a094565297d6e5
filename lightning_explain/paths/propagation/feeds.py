"""Parts of a layer's input, by the units of earlier layers that they come from.

Between layers stand activations, pooling, dropout, views, concatenations and residual sums. At a given input each of
them is a linear map, so what a layer read is the sum of what came from each layer before it (and of constants). The
derivative of that map in the direction of a layer's output is that layer's part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from lightning_explain.paths.propagation.unit_places import LayerUnits

SLACK = 0.2
"""Most deviation from a unit's code, as a share of the smallest difference between two codes."""

ROUNDING = 1e-6
"""Of the largest part."""


@dataclass(frozen=True, eq=False)
class Feed:
    """The part of a layer's input that comes from one place.

    Attributes:
        part: Its part of each element [samples, ...].
        by: Whether all elements of a `"feature"` (or channel) come from one unit, or all those of a `"position"`.
        labels: That unit, for each feature, or for each position in a flat list.
        n_units: How many units the place has.
    """

    part: Tensor
    by: Literal["feature", "position"]
    labels: Tensor
    n_units: int

    @cached_property
    def members(self) -> Tensor | None:
        """1 where a feature (or position) belongs to a unit [features, units]; None if each is a unit of its own."""
        n, device = self.n_units, self.labels.device
        if n == len(self.labels) and bool((self.labels == torch.arange(n, device=device)).all()):
            return None
        return torch.zeros(len(self.labels), n).to(self.part).scatter_(1, self.labels[:, None], 1.0)


class Forward:
    """Forward-mode derivatives of `read` with respect to its sources, from two backward passes.

    The gradient of a linear map is its transpose; the gradient of that with respect to what it was applied to is the
    map itself.
    """

    def __init__(self, read: Tensor, leaves: Sequence[Tensor]) -> None:
        self._probe = torch.zeros_like(read, requires_grad=True)
        self._back = torch.autograd.grad(read, list(leaves), self._probe, create_graph=True)

    def along(self, which: int, direction: Tensor) -> Tensor:
        """Map a direction at one leaf to `read`."""
        (found,) = torch.autograd.grad(self._back[which], self._probe, direction, retain_graph=True)
        return found


def feed_of(forward: Forward, which: int, value: Tensor, units: LayerUnits, place: int, unit_dim: int) -> Feed | None:
    """Find the part of a layer's input that comes from one place, and the units that its elements come from.

    Every unit is given a code. Where an element comes from one unit alone, the part that the coded values make is the
    element's part times that unit's code.

    Args:
        forward: The map from the leaves to what the layer read.
        which: Which of them.
        value: At that leaf.
        units: Its units.
        place: Its place in the pass.
        unit_dim: Dimension of features or channels in what was read.

    Returns:
        None where units are mixed (a mean over channels, a centring), or in no such order.

    Cost: two passes forward through the operations between.
    """
    n = units.n_units
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(value.device)
    codes = torch.cat([(1 + order.to(value) / n).repeat(units.n_samples), value.new_zeros(1)])
    key = units.keys[units.places.index(place)]
    part = forward.along(which, value)
    coded = forward.along(which, value * codes[key])
    unit_of_code = order.argsort()
    moved, mixed = part.movedim(unit_dim, 1), coded.movedim(unit_dim, 1)
    rounding = ROUNDING * float(part.abs().amax())
    others = [0, *range(2, moved.ndim)]
    orders: list[tuple[Literal["feature", "position"], list[int]]] = [("feature", others), ("position", [0, 1])]
    for by, dims in orders:
        sizes = moved.abs()
        size = sizes.sum(dims)
        ratio = mixed.abs().sum(dims) / size.clamp_min(torch.finfo(part.dtype).tiny)
        labels = unit_of_code[((ratio - 1) * n).round().long().clamp(0, n - 1)]
        if labels.ndim == 1 and len(labels) == n:
            # what nothing came through counts for any unit, so for its own
            labels = torch.where(size == 0, torch.arange(n, device=labels.device), labels)
        code = codes[labels].reshape(-1, *[1] * (moved.ndim - 2)) if by == "feature" else codes[labels]
        error = torch.addcmul(mixed, moved, code, value=-1).abs_()
        if bool((error <= sizes.mul_(SLACK / n).add_(rounding)).all()):
            return Feed(part, by, labels.flatten(), n)
    return None
