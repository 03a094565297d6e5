"""Contribution graphs of many samples at once: messages, and the flow of the decision along them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_explain.paths.contribution_graph import (
    AGAINST,
    FOR,
    OUTPUT,
    ContributionGraph,
    Link,
    Numbers,
    UnitLayer,
    divided,
)
from lightning_explain.paths.propagation.expansion import Places, by_source, chosen_places, expanded_messages
from lightning_explain.paths.propagation.messages import ClosedMessages
from lightning_explain.paths.propagation.unit_places import LayerUnits
from lightning_explain.paths.propagation.way_back import SCORE, WayBack

LARGEST = 1 << 22
"""Most numbers of messages that are held at once."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Messages into the places of a layer that were expanded, for all samples.

    Attributes:
        contribution: Signed messages [samples, places, units of the source, or its places].
        share: Their shares of the flow, likewise.
        bundled_share: Largest share into a unit that is in a bundle of the source [samples, places]; None if none is.
    """

    contribution: Tensor
    share: Tensor
    bundled_share: Tensor | None = None

    def compressed(self, places: Places) -> "Stored":
        """Bring the source's units to their places."""
        return Stored(
            places.gathered(self.contribution), places.gathered(self.share), places.largest_in_bundles(self.share)
        )


class Flow:
    """The decision's flow through the layers of units.

    Args:
        way: The way back.
        layers: Units of the inputs and of the layers, in order.
        n_inputs: How many of them are inputs.
        gradients: Modified gradient at each place.
        closed: Messages in closed form, by the name of the layer.
        groups: The group of each sample: samples of a group have places for the same units.
    """

    def __init__(
        self,
        way: WayBack,
        layers: Sequence[LayerUnits],
        n_inputs: int,
        gradients: Mapping[int, Tensor],
        closed: Mapping[str, ClosedMessages],
        groups: Tensor,
    ) -> None:
        self.layers, self._closed, self._n_inputs = list(layers), closed, n_inputs
        self._number = {units.name: place for place, units in enumerate(layers)}
        self.score = way.score.detach()
        self._contributions = [
            units.summed({p: way.cuts[p].leaf.detach() * gradients[p] for p in units.places}) for units in layers
        ]
        self._places: dict[int, Places] = {}
        self._stored: dict[tuple[int, int], Stored] = {}
        self._shares = [torch.zeros_like(values) for values in self._contributions]
        self._absorbed: dict[int, Tensor] = {}
        self._per_size: dict[int, Tensor] = {}
        self._settle(way, gradients, groups)

    @property
    def n_numbers(self) -> int:
        """Number of messages of one sample that are computed each time they are needed."""
        return sum(self._closed[self.layers[place].name].n_numbers for place in self._per_size)

    def _settle(self, way: WayBack, gradients: Mapping[int, Tensor], groups: Tensor) -> None:
        """Let the flow go down through all layers: which units have a place depends on what lies above."""
        stops = {place for units in self.layers for place in units.places}
        arrived = by_source(way, way.to(SCORE, torch.ones_like(self.score), stops), self.layers)
        score = self.score[:, None].to(self._contributions[0].dtype)
        messages = {name: found[:, None] for name, found in arrived.items()}
        self._store(len(self.layers), messages, score, torch.ones_like(score))
        for place in reversed(range(self._n_inputs, len(self.layers))):
            units = self.layers[place]
            share, contribution = self._shares[place], self._contributions[place]
            closed = self._closed.get(units.name)
            if closed is None:
                places = chosen_places(share, contribution, groups)
                messages = expanded_messages(way, units, gradients[units.places[0]], places, stops, self.layers)
                self._store(place, messages, places.gathered(contribution), places.gathered(share))
                self._bundle(place, places)
            elif len(self.score) * closed.n_numbers <= LARGEST:
                self._store(place, closed.of(slice(None)), contribution, share)
            else:
                self._pass_on(place, closed)

    def _store(self, place: int, messages: Mapping[str, Tensor], contribution: Tensor, share: Tensor) -> None:
        """Keep messages into the places of a layer, and let the flow pass on."""
        sizes = {name: found.abs() for name, found in messages.items()}
        signed = _total([found.sum(-1) for found in messages.values()], contribution)
        per_size = self._divide(
            place, signed, _total([size.sum(-1) for size in sizes.values()], share), contribution, share
        )
        for name, size in sizes.items():
            passed = size.mul_(per_size[..., None])
            self._shares[self._number[name]] += passed.sum(1)
            self._stored[self._number[name], place] = Stored(messages[name], passed)

    def _divide(self, place: int, signed: Tensor, sizes: Tensor, contribution: Tensor, share: Tensor) -> Tensor:
        """Record the relevance that a layer absorbs, and return its flow per size of a message: [samples, places]."""
        self._absorbed[place] = contribution - signed
        total = self._absorbed[place].abs() + sizes
        return torch.where(total > 0, share / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)

    def _bundle(self, place: int, places: Places) -> None:
        """Bring the messages that come from a layer to its places."""
        self._places[place] = places
        for (source, target), stored in self._stored.items():
            if source == place:
                self._stored[source, target] = stored.compressed(places)

    def _pass_on(self, place: int, closed: ClosedMessages) -> None:
        """Let the flow pass a layer whose messages are too many to be kept."""
        share, contribution = self._shares[place], self._contributions[place]
        if closed.is_outer:
            per_size = self._divide(place, *closed.row_sums(), contribution, share)
            passed = closed.column_sums(per_size)
        else:
            n_rows = max(1, LARGEST // closed.n_numbers)
            chunks = [slice(first, first + n_rows) for first in range(0, len(self.score), n_rows)]
            sums = [_sums(closed.of(rows)) for rows in chunks]
            signed, sizes = (torch.cat([each[k] for each in sums]) for k in (0, 1))
            per_size = self._divide(place, signed, sizes, contribution, share)
            found = [_passed(closed.of(rows), per_size[rows]) for rows in chunks]
            passed = {name: torch.cat([each[name] for each in found]) for name in found[0]}
        self._per_size[place] = per_size
        for name, arrived in passed.items():
            self._shares[self._number[name]] += arrived

    # -- graphs -------------------------------------------------------------------------------------------------

    def graph(self, samples: slice) -> ContributionGraph:
        """Return the graph of some samples, every array with a first dimension [samples]."""
        links: list[Link] = []
        for place, per_size in self._per_size.items():
            for name, found in self._closed[self.layers[place].name].of(samples).items():
                passed = found.abs().mul_(per_size[samples, :, None])
                links.append(self._link(self._number[name], place, Stored(found, passed), samples))
        for (source, place), stored in self._stored.items():
            links.append(_as_link(source, place, _rows(stored, samples)))
        return self._assembled(links, samples)

    def _link(self, source: int, target: int, found: Stored, samples: slice) -> Link:
        places = self._places.get(source)
        return _as_link(source, target, found if places is None else found.compressed(places.at(samples)))

    def _assembled(self, links: Sequence[Link], samples: slice) -> ContributionGraph:
        layers: list[UnitLayer] = []
        for place, units in enumerate(self.layers):
            contribution, share = self._contributions[place][samples], self._shares[place][samples]
            fields: dict[str, Any] = {"kind": units.kind, "block": units.block}
            places = self._places.get(place)
            if places is not None:
                own, every = places.at(samples), numbers_of(share)
                fields |= {"numbers": _numbers(own), "counts": _counts(own), "every_share": every}
                contribution, share = own.gathered(contribution), own.gathered(share)
            absorbed = self._absorbed[place][samples] if place in self._absorbed else torch.zeros_like(contribution)
            arrays = [numbers_of(values) for values in (contribution, share, absorbed)]
            layers.append(UnitLayer(units.name, arrays[0], arrays[1], arrays[2], **fields))
        absorbed = self._absorbed[len(self.layers)][samples]
        score = self.score[samples, None].to(absorbed)
        ends = [numbers_of(values) for values in (score, torch.ones_like(score), absorbed)]
        layers.append(UnitLayer(OUTPUT, ends[0], ends[1], ends[2], kind=OUTPUT))
        in_order = sorted(links, key=lambda link: (link.target, link.source))
        return ContributionGraph(tuple(layers), tuple(in_order), 0.0)


def numbers_of(values: Tensor) -> Numbers:
    """Return values as an array; half precision is added up in 32 bits from here on, numpy has no bfloat16."""
    values = values.detach().cpu()
    return (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).numpy()


def _total(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.stack(list(parts)).sum(0) if parts else torch.zeros_like(like)


def _sums(messages: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Sum messages, and their sizes, over all sources: each [samples, units]."""
    found = messages.values()
    return torch.stack([each.sum(-1) for each in found]).sum(0), torch.stack(
        [each.abs().sum(-1) for each in found]
    ).sum(0)


def _passed(messages: Mapping[str, Tensor], per_size: Tensor) -> dict[str, Tensor]:
    """Return the flow that arrives at each source: [samples, units]."""
    return {name: found.abs_().mul_(per_size[..., None]).sum(1) for name, found in messages.items()}


def _rows(stored: Stored, samples: slice) -> Stored:
    bundled = stored.bundled_share
    return Stored(stored.contribution[samples], stored.share[samples], None if bundled is None else bundled[samples])


def _as_link(source: int, target: int, found: Stored) -> Link:
    bundled = None if found.bundled_share is None else numbers_of(found.bundled_share)
    return Link(source, target, numbers_of(found.contribution), numbers_of(found.share), bundled)


def _numbers(places: Places) -> Any:
    singles = places.singles.cpu().numpy()
    return np.concatenate([singles, np.broadcast_to(np.array([FOR, AGAINST]), (len(singles), 2))], 1)


def _counts(places: Places) -> Any:
    singles, bundles = np.ones(places.singles.shape, dtype=np.int64), places.bundles.sum(-1).cpu().numpy()
    return np.concatenate([singles, bundles], 1)


def of_sample(stack: ContributionGraph, row: int, output: float) -> ContributionGraph:
    """Take one sample's graph out of a stack; bundles without units have no place."""
    layers = [divided(layer, row) for layer in stack.layers]
    kept = [np.arange(len(layer)) if layer.counts is None else layer.counts.nonzero()[0] for layer in layers]

    def link(each: Link) -> Link:
        fields = {name: getattr(each, name)[row] for name in ("contribution", "share")}
        above, below = kept[each.target], kept[each.source]
        if layers[each.target].counts is not None or layers[each.source].counts is not None:
            fields = {name: found[np.ix_(above, below)] for name, found in fields.items()}
        bundled = None if each.bundled_share is None else each.bundled_share[row][above]
        return Link(each.source, each.target, **fields, bundled_share=bundled)

    own = tuple(layer if layer.counts is None else layer.at(places) for layer, places in zip(layers, kept, strict=True))
    return ContributionGraph(own, tuple(map(link, stack.links)), output)
