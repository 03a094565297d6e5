"""Messages without a closed form, unit by unit: those of the units that carry most, and of all others together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.paths.propagation.unit_places import LayerUnits
from lightning_explain.paths.propagation.way_back import WayBack

MOST_EXPANDED = 12
"""Most units of a layer whose messages are computed one by one; a layer of two more is expanded completely."""

COVERED = 0.95
"""Share of a layer's flow from which on no more units are expanded."""


@dataclass(frozen=True, eq=False)
class Places:
    """The units of a layer that have a place of their own, and the bundles of the others.

    Attributes:
        singles: Numbers of the units with a place [samples, singles].
        bundles: Which units each of the two bundles holds [samples, 2, units]: those that contribute positively, and
            those that do so negatively; no units where all have a place.
    """

    singles: Tensor
    bundles: Tensor

    def gathered(self, values: Tensor) -> Tensor:
        """Bring values [samples, ..., units] to places: [samples, ..., singles + 2]; a bundle gets a sum."""
        shape = [len(values), *[1] * (values.ndim - 2), self.singles.shape[1]]
        single = values.gather(-1, self.singles.to(values.device).reshape(shape).expand(*values.shape[:-1], -1))
        bundles = self.bundles.to(values)
        joint = torch.einsum("s...u,sbu->s...b", values, bundles)
        return torch.cat([single, joint], -1)

    def largest_in_bundles(self, values: Tensor) -> Tensor:
        """Return the largest of values [samples, rows, units] in any bundle: [samples, rows]."""
        return (values * self.bundles.any(1, keepdim=True)).amax(-1)

    def at(self, samples: slice) -> "Places":
        """Return the places of some samples."""
        return Places(self.singles[samples], self.bundles[samples])


def chosen_places(share: Tensor, contribution: Tensor, groups: Tensor) -> Places:
    """Give a place to the units that carry most on the mean over a group of samples.

    Args:
        share: Share of the flow that passes each unit [samples, units].
        contribution: Their relevance, likewise.
        groups: The group of each sample [samples], from 0 on.
    """
    n_units = share.shape[1]
    n_groups = int(groups.max()) + 1
    like = share.new_zeros(n_groups, n_units)
    mean, signed = (like.index_add(0, groups, values) for values in (share, contribution))
    if n_units <= MOST_EXPANDED + 2:
        n_singles = n_units
    else:
        ordered = mean.sort(1, descending=True).values.cumsum(1)
        needed = (ordered < COVERED * ordered[:, -1:]).sum(1).max() + 1
        n_singles = min(MOST_EXPANDED, int(needed))
    singles = mean.topk(n_singles, 1).indices.sort(1).values
    others = torch.ones_like(mean, dtype=torch.bool).scatter_(1, singles, value=False)
    bundles = torch.stack([others & (signed >= 0), others & (signed < 0)], 1)
    return Places(singles[groups], bundles[groups])


def expanded_messages(
    way: WayBack,
    own: LayerUnits,
    gradient: Tensor,
    places: Places,
    stops: Collection[int],
    sources: Sequence[LayerUnits],
) -> dict[str, Tensor]:
    """Compute the messages into each place of a layer, one walk back for each.

    Args:
        way: The way back.
        own: The layer's units.
        gradient: Modified gradient at its value.
        places: Its places.
        stops: Places of the pass at which units take over.
        sources: Their units.

    Returns:
        By name of the source: [samples, places, units of the source].

    Cost: for each place one backward pass through what lies between.
    """
    rows: list[dict[str, Tensor]] = []
    n_singles = places.singles.shape[1]
    for at in range(n_singles + 2):
        if at < n_singles:
            members = torch.zeros_like(places.bundles[:, 0]).scatter_(1, places.singles[:, at : at + 1], value=True)
        else:
            members = places.bundles[:, at - n_singles]
        is_empty = not bool(members.any())
        found = {} if is_empty else way.to(own.places[0], own.only(gradient, members.to(gradient.device)), stops)
        rows.append(by_source(way, found, sources))
    names = {name for row in rows for name in row}
    sizes = {source.name: (source.n_samples, source.n_units) for source in sources}
    return {
        name: torch.stack([row[name] if name in row else gradient.new_zeros(sizes[name]) for row in rows], 1)
        for name in names
    }


def by_source(way: WayBack, gradients: Mapping[int, Tensor], sources: Sequence[LayerUnits]) -> dict[str, Tensor]:
    """Sum value times gradient by the units of each source that is reached: [samples, units]."""
    arrived = {place: way.cuts[place].leaf.detach() * gradient for place, gradient in gradients.items()}
    return {
        source.name: source.summed({place: arrived[place] for place in source.places if place in arrived})
        for source in sources
        if any(place in arrived for place in source.places)
    }
