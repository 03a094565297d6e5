"""Messages of layer-wise relevance propagation in closed form, for all samples and units at once.

A message is `c_ij / z_j R_j` summed over the positions of both units, with the contributions `c_ij = a_i w_ij` changed
by the layer's rule. For a linear layer that is an outer product times the weights; for a convolution the sum over
positions of `a_i s_j` is what a gradient of its weights is, so one matrix product for each offset of the kernel makes
all messages between channels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp.maps import AffineMap, Convolution, Dense
from lightning_explain.paths.propagation.cuts import Cut
from lightning_explain.paths.propagation.feeds import Feed, Forward, feed_of
from lightning_explain.paths.propagation.terms import Term, of_sign, terms_of
from lightning_explain.paths.propagation.unit_places import LayerUnits
from lightning_explain.paths.propagation.way_back import WayBack


def _by_unit(last: Tensor, members: Tensor | None) -> Tensor:
    return last if members is None else last @ members


def _dense_by_feature(weight: Tensor, part: Tensor, s: Tensor, members: Tensor | None) -> Tensor:
    if part.ndim == 2:
        return _by_unit(weight * part[:, None], members).mul_(s[:, :, None])
    part, s = part.flatten(1, -2), s.flatten(1, -2)
    return _by_unit((s.mT @ part).mul_(weight), members)


def _dense_by_position(weight: Tensor, part: Tensor, s: Tensor, members: Tensor | None) -> Tensor:
    per_position = functional.linear(part, weight).mul_(s).flatten(1, -2).mT
    return _by_unit(per_position, members)


def _offsets(layer: Convolution) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """List the places in the kernel, and how far each is from the first in what is read."""
    for place in product(*map(range, layer.weight.shape[2:])):
        yield place, tuple(at * step for at, step in zip(place, layer.dilation, strict=True))


def _convolution_by_channel(
    layer: Convolution, weight: Tensor, part: Tensor, s: Tensor, members: Tensor | None
) -> Tensor:
    """Sum `a_i s_j` over positions, one offset of the kernel after the other, times the weight of that offset."""
    n, groups = len(part), layer.groups
    ends = layer.end_padding or (0,) * 2 * len(layer.padding)
    sides = [(side + ends[2 * k], side + ends[2 * k + 1]) for k, side in enumerate(reversed(layer.padding))]
    padded = functional.pad(part, [size for pair in sides for size in pair])
    out = s.unflatten(1, (groups, -1)).flatten(3)
    weight = weight.unflatten(0, (groups, -1))
    summed: Tensor | None = None
    for place, begin in _offsets(layer):
        rows = tuple(
            slice(first, first + step * (size - 1) + 1, step)
            for first, step, size in zip(begin, layer.stride, s.shape[2:], strict=True)
        )
        read = padded[(slice(None), slice(None), *rows)].unflatten(1, (groups, -1)).flatten(3)
        found = (out @ read.mT).mul_(weight[(slice(None),) * 3 + place])
        summed = found if summed is None else summed.add_(found)
    assert summed is not None
    if groups == 1:
        return _by_unit(summed[:, 0], members)
    apart = summed.new_zeros(n, groups, summed.shape[2], groups, summed.shape[3])
    apart.diagonal(dim1=1, dim2=3).copy_(summed.permute(0, 2, 3, 1))
    return _by_unit(apart.flatten(3).flatten(1, 2), members)


def _convolution_by_position(
    layer: Convolution, weight: Tensor, part: Tensor, s: Tensor, members: Tensor | None
) -> Tensor:
    """Map each channel back for itself: one transposed convolution with a group for each."""
    n_out = s.shape[1]
    apart = replace(layer, groups=n_out)
    maps = apart.transpose(s, weight, part.new_empty(len(part), n_out * part.shape[1], *part.shape[2:]))
    return _by_unit((maps.unflatten(1, (n_out, -1)) * part[:, None]).sum(2).flatten(2), members)


@dataclass(frozen=True, eq=False)
class ClosedMessages:
    """The messages of one layer, ready to be computed for any samples.

    Attributes:
        layer: The layer's map.
        read: What it read.
        terms: Its rule.
        feeds: For each source (its place in the pass) its part.
        sources: The units of that place.
    """

    layer: AffineMap
    read: Tensor
    terms: tuple[Term, ...]
    feeds: Mapping[int, Feed]
    sources: Mapping[int, LayerUnits]

    def of(self, samples: slice) -> dict[str, Tensor]:
        """Return the messages of some samples by the name of the source: [samples, units, units of the source]."""
        found: dict[str, Tensor] = {}
        for place, feed in self.feeds.items():
            units = self.sources[place]
            more = self._from(feed, samples)
            found[units.name] = found[units.name] + more if units.name in found else more
        return found

    @property
    def n_numbers(self) -> int:
        """Number of messages of one sample."""
        return len(self.layer.weight) * sum(units.n_units for units in self.sources.values())

    @property
    def is_outer(self) -> bool:
        """True if all are `s_j w_ji a_i` with one number each, so that their sums are matrix products."""
        return (
            isinstance(self.layer, Dense)
            and len(self.terms) == 1
            and self.read.ndim == 2
            and all(feed.by == "feature" and feed.members is None for feed in self.feeds.values())
        )

    def row_sums(self) -> tuple[Tensor, Tensor]:
        """Sum outer messages, and their sizes, over all sources: each [samples, units]."""
        (term,), parts = self.terms, [feed.part for feed in self.feeds.values()]
        signed = functional.linear(torch.stack(parts).sum(0), term.weight) * term.s
        sizes = functional.linear(torch.stack([part.abs() for part in parts]).sum(0), term.weight.abs())
        return signed, sizes * term.s.abs()

    def column_sums(self, per_size: Tensor) -> dict[str, Tensor]:
        """Sum sizes of outer messages, each times a factor of its unit [samples, units], by name of the source."""
        (term,) = self.terms
        back = (term.s.abs() * per_size) @ term.weight.abs()
        found: dict[str, Tensor] = {}
        for place, feed in self.feeds.items():
            name = self.sources[place].name
            found[name] = found.get(name, 0) + feed.part.abs() * back
        return found

    def _from(self, feed: Feed, samples: slice) -> Tensor:
        read = self.read[samples]
        total: Tensor | None = None
        for term in self.terms:
            part = of_sign(feed.part[samples], read, term.sign)
            found = self._of_term(feed, term, part, term.s[samples])
            total = found if total is None else total.add_(found)
        assert total is not None
        return total

    def _of_term(self, feed: Feed, term: Term, part: Tensor, s: Tensor) -> Tensor:
        if isinstance(self.layer, Convolution):
            form = _convolution_by_channel if feed.by == "feature" else _convolution_by_position
            return form(self.layer, term.weight, part, s, feed.members)
        return (_dense_by_feature if feed.by == "feature" else _dense_by_position)(term.weight, part, s, feed.members)


def closed_messages(
    way: WayBack, place: int, own: LayerUnits, gradient: Tensor, sources: Mapping[int, LayerUnits]
) -> ClosedMessages | None:
    """Return the messages of a layer in closed form; None where there is none.

    There is one for a linear layer or convolution if all it reads comes from units, and each of its features,
    channels or positions from one of them.

    Args:
        way: The way back.
        place: The layer's place.
        own: Its units.
        gradient: Modified gradient at its value.
        sources: Units of the places that count as sources.
    """
    cut = way.cuts[place]
    if not _has_form(cut, own) or not all(each in sources and _is_first(sources[each]) for each in way.reads[place]):
        return None
    layer, read, rule = cut.layer, cut.before, cut.rule
    assert layer is not None
    assert read is not None
    assert rule is not None
    unit_dim = read.ndim - 1 if isinstance(layer, Dense) else 1
    places = way.reads[place]
    forward = Forward(read, [way.cuts[each].leaf for each in places])
    feeds: dict[int, Feed] = {}
    for which, each in enumerate(places):
        feed = feed_of(forward, which, way.cuts[each].leaf.detach(), sources[each], each, unit_dim)
        if feed is None or not _fits(layer, feed):
            return None
        feeds[each] = feed
    held = read.detach()
    terms = terms_of(rule, layer, held, cut.leaf.detach(), gradient)
    return ClosedMessages(layer, held, terms, feeds, {each: sources[each] for each in places})


def _has_form(cut: Cut, own: LayerUnits) -> bool:
    layer = cut.layer
    is_known = isinstance(layer, Dense) or (isinstance(layer, Convolution) and not layer.transposed)
    # with positions kept a feature is a unit only where there are no positions
    by_feature = own.kind in ("neurons", "channels") or cut.leaf.ndim == 2
    return is_known and by_feature and _is_first(own) and layer is not None and cut.leaf.dtype == layer.weight.dtype


def _is_first(units: LayerUnits) -> bool:
    """Return True if samples are in the first dimension and in their order."""
    first = torch.arange(units.n_samples, device=units.keys[0].device) if units.keys else None
    return all(
        dim == 0 and len(key) == units.n_samples and bool((_owner(key, units) == first).all())
        for dim, key in zip(units.dims, units.keys, strict=True)
    )


def _owner(key: Tensor, units: LayerUnits) -> Tensor:
    known = key.flatten(1).amin(1)  # of no unit is the largest number
    return torch.where(known < units.n_samples * units.n_units, known // units.n_units, -1)


def _fits(layer: AffineMap, feed: Feed) -> bool:
    return feed.by == "feature" or not isinstance(layer, Convolution) or layer.groups == 1
