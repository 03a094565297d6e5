"""Parts of a layer's input, by the units of earlier layers that they come from.

Between layers stand activations, pooling, dropout, views, concatenations and residual sums. At a given input each of
them is a linear map, so what a layer read is the sum of what came from each layer before it (and of constants). The
derivative of that map in the direction of a layer's output is that layer's part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.paths.model_pieces import sources_of

TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class FeedSource:
    """An input or a layer's output, which later layers read.

    Attributes:
        name: Its name.
        values: The leaf [batch, ...].
        labels: Unit of each element of a sample [...].
        n_units: How many units it has.
    """

    name: str
    values: Tensor
    labels: Tensor
    n_units: int


@dataclass(frozen=True, eq=False)
class Feed:
    """The part of a layer's input that comes from one source.

    Attributes:
        source: The source's place.
        part: Its part of each element [batch, ...].
        labels: Unit of the source that each element of a sample comes from [...]; None where elements come from
            several units (pooling with positions kept, a mean over channels).
        n_units: How many units the source has.
    """

    source: int
    part: Tensor
    labels: Tensor | None
    n_units: int


class _Forward:
    """Forward-mode derivatives of `read` with respect to its sources, from two backward passes.

    The gradient of a linear map is its transpose; the gradient of that with respect to what it was applied to is the
    map itself.
    """

    def __init__(self, read: Tensor, leaves: Sequence[Tensor]) -> None:
        self._probe = torch.zeros_like(read, requires_grad=True)
        self._back = torch.autograd.grad(read, list(leaves), self._probe, create_graph=True)

    def along(self, place: int, direction: Tensor) -> Tensor:
        """Map a direction at one leaf to `read`."""
        (found,) = torch.autograd.grad(self._back[place], self._probe, direction, retain_graph=True)
        return found


def _labels(forward: _Forward, place: int, source: FeedSource) -> Tensor | None:
    """Propagate unit numbers through the map; None where units are averaged."""
    batch = len(source.values)
    draw = torch.Generator().manual_seed(0)
    like = source.values

    def carried(of_unit: Tensor) -> Tensor:
        return forward.along(place, of_unit.to(like)[source.labels].expand(batch, *source.labels.shape))

    weight = carried(torch.ones(source.n_units))
    is_open = weight != 0
    divisor = torch.where(is_open, weight, torch.ones_like(weight))
    numbers = (carried(torch.arange(1, source.n_units + 1)) / divisor).round().long() - 1
    numbers = numbers.clamp(0, source.n_units - 1)
    # a mean of unit numbers may happen to be whole, and weights may cancel (x - x.mean()): a second, random code tells
    code = 1 + torch.rand(source.n_units, generator=draw).to(like)
    mixed = (carried(code) - weight * code[numbers]).abs() > TOLERANCE * divisor.abs()
    numbers = torch.where(is_open, numbers, torch.full_like(numbers, -1))
    labels = numbers.amax(0)
    if bool(mixed.any()) or bool((is_open & (numbers != labels)).any()):
        return None
    # what nothing came through at any sample contributes nothing, whatever its number
    return labels.clamp_min(0)


def feeds_of(read: Tensor, sources: Sequence[FeedSource]) -> tuple[Feed, ...]:
    """Split a layer's input by its sources.

    Args:
        read: What was read [batch, ...].
        sources: Inputs and layers before it.

    Cost: four backward passes through the operations between, for each source.
    """
    places = sources_of(read, [source.values for source in sources])
    if any(read is sources[place].values for place in places):
        place = places[0]
        return (Feed(place, read.detach(), sources[place].labels, sources[place].n_units),)
    forward = _Forward(read, [sources[place].values for place in places])
    return tuple(
        Feed(
            place,
            forward.along(which, sources[place].values.detach()).detach(),
            _labels(forward, which, sources[place]),
            sources[place].n_units,
        )
        for which, place in enumerate(places)
    )
