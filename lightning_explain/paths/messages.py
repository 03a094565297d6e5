"""Messages of layer-wise relevance propagation: the part of a unit's relevance that comes from each unit before it.

A message is `c_ij / z_j R_j` summed over the positions of both units, with the contributions `c_ij = a_i w_ij` changed
by the layer's rule. For a convolution the sum over positions of `a_i s_j` is what a gradient of its weights is, so all
messages between channels cost one such gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp.maps import AffineMap, Convolution, Dense
from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.feeds import Feed, FeedSource
from lightning_explain.paths.terms import Term, of_sign

LARGEST_BLOCK = 1 << 24
"""Most numbers held at once."""

MOST_MIXED = 1 << 26
"""Most messages computed one by one."""

FEW = 8
"""Rows are picked out where fewer than one in so many are needed: a copy costs as much as the sum saved."""


def _is_by_channel(labels: Tensor) -> bool:
    return bool((labels == labels.flatten(1)[:, :1].reshape(-1, *[1] * (labels.ndim - 1))).all())


def _membership(labels: Tensor, n_units: int, like: Tensor) -> Tensor | None:
    """Return [elements, units], 1 where an element belongs to a unit; None where each is a unit of its own."""
    if n_units == len(labels) and bool((labels == torch.arange(n_units, device=labels.device)).all()):
        return None
    return torch.zeros(len(labels), n_units).to(like).scatter_(1, labels[:, None], 1.0)


def _by_unit(per_element: Tensor, labels: Tensor, n_units: int) -> Tensor:
    """Sum [targets, ...] over the elements of each unit: [targets, units]."""
    flat = per_element.flatten(1)
    return flat.new_zeros(len(flat), n_units).index_add_(1, labels.flatten(), flat)


@dataclass(frozen=True, eq=False)
class DenseMessages:
    """Messages of a linear layer; positions before the features (tokens) are summed."""

    feed: Feed
    members: Tensor | None

    def of(self, term: Term, part: Tensor, s: Tensor) -> Tensor:
        """Return [units of the layer, units of the source] of one sample."""
        part, s = part.reshape(-1, part.shape[-1]), s.reshape(-1, s.shape[-1])
        rows = s.any(0).nonzero().flatten()
        if len(rows) * FEW < len(term.weight):
            # the layer of scores: one of its units is explained
            found = self._rows(term.weight[rows], part, s[:, rows])
            return found.new_zeros(len(term.weight), found.shape[1]).index_copy_(0, rows, found)
        return self._rows(term.weight, part, s)

    def _rows(self, weight: Tensor, part: Tensor, s: Tensor) -> Tensor:
        if len(part) > 1:
            found = (s.T @ part).mul_(weight)
            return found if self.members is None else found @ self.members
        found = weight * part
        found = found if self.members is None else found @ self.members
        return found.mul_(s[0, :, None])


@dataclass(frozen=True, eq=False)
class ChannelMessages:
    """Messages of a convolution whose input channels belong to one unit each."""

    layer: Convolution
    feed: Feed
    labels: Tensor

    def of(self, term: Term, part: Tensor, s: Tensor) -> Tensor:
        """Return [channels, units of the source] of one sample: weights times what would be their gradient."""
        layer = self.layer
        read = functional.pad(part[None], layer.end_padding) if layer.end_padding else part[None]
        summed: Tensor = torch.ops.aten.convolution_backward(
            s[None], read, term.weight, None, layer.stride, layer.padding, layer.dilation,
            False, layer.output_padding, layer.groups, [False, True, False],
        )[1]  # fmt: skip
        per_channel = (summed * term.weight).flatten(2).sum(2)
        units = self.labels.flatten(1)[:, 0].reshape(layer.groups, -1)
        n_out = len(per_channel) // layer.groups
        found = part.new_zeros(len(per_channel), self.feed.n_units)
        for group, members in enumerate(units):
            rows = slice(group * n_out, (group + 1) * n_out)
            found[rows].index_add_(1, members, per_channel[rows])
        return found


@dataclass(frozen=True, eq=False)
class MapMessages:
    """Messages of a convolution with one group, whose input is divided into units by position (patches of an image)."""

    layer: Convolution
    feed: Feed
    labels: Tensor

    def of(self, term: Term, part: Tensor, s: Tensor) -> Tensor:
        """Return [channels, units of the source] of one sample, from one transposed convolution with a group each."""
        n_out = len(s)
        apart = replace(self.layer, groups=n_out)
        maps = apart.transpose(s[None], term.weight, part.new_empty(1, n_out * len(part), *part.shape[1:]))
        return _by_unit(maps.reshape(n_out, *part.shape) * part, self.labels, self.feed.n_units)


@dataclass(frozen=True, eq=False)
class MaskedMessages:
    """Messages of any layer between any units: one backward pass for every unit of the layer."""

    layer: AffineMap
    feed: Feed
    labels: Tensor
    target_labels: Tensor
    n_targets: int

    def of(self, term: Term, part: Tensor, s: Tensor) -> Tensor:
        """Return [units of the layer, units of the source] of one sample."""
        per_block = max(1, LARGEST_BLOCK // max(part.numel(), s.numel()))
        blocks: list[Tensor] = []
        for first in range(0, self.n_targets, per_block):
            units = torch.arange(first, min(first + per_block, self.n_targets), device=s.device)
            masked = s * (self.target_labels == units.reshape(-1, *[1] * s.ndim))
            back = self.layer.transpose(masked, term.weight, part.expand(len(units), *part.shape))
            blocks.append(_by_unit(back * part, self.labels, self.feed.n_units))
        return torch.cat(blocks)


@dataclass(frozen=True, eq=False)
class MixedMessages:
    """Messages to a source whose units were mixed before the layer read them, computed in advance.

    Attributes:
        feed: What came from the source.
        values: [batch, units of the layer, units of the source].
    """

    feed: Feed
    values: Tensor


Messages = MixedMessages | DenseMessages | ChannelMessages | MapMessages | MaskedMessages


def messages_from(
    layer: AffineMap, feed: Feed, labels: Tensor, target_labels: Tensor, n_targets: int, *, keep_positions: bool
) -> Messages:
    """Return the messages of a layer to one of its sources, in the cheapest form.

    Args:
        layer: The layer's map.
        feed: What came from the source.
        labels: Unit of the source that each element of a sample comes from.
        target_labels: Unit of each element of the layer's output.
        n_targets: How many units it has.
        keep_positions: Whether positions are units of their own.
    """
    if isinstance(layer, Dense) and (not keep_positions or labels.ndim == 1):
        rows = labels.reshape(-1, labels.shape[-1])
        if bool((rows == rows[0]).all()):
            return DenseMessages(feed, _membership(rows[0], feed.n_units, feed.part))
    if isinstance(layer, Convolution) and not layer.transposed and not keep_positions:
        if _is_by_channel(labels):
            return ChannelMessages(layer, feed, labels)
        if layer.groups == 1:
            return MapMessages(layer, feed, labels)
    return MaskedMessages(layer, feed, labels, target_labels, n_targets)


def message_matrix(messages: Messages, terms: Sequence[Term], read: Tensor, sample: int) -> Tensor:
    """Return the messages of one sample [units of the layer, units of the source], in units of the output."""
    if isinstance(messages, MixedMessages):
        return messages.values[sample]
    part = messages.feed.part[sample]
    found = [messages.of(term, of_sign(part, read[sample], term.sign), term.s[sample]) for term in terms]
    return found[0] if len(found) == 1 else torch.stack(found).sum(0)


def mixed_messages(
    read: Tensor,
    layer: AffineMap,
    terms: Sequence[Term],
    feed: Feed,
    source: FeedSource,
    target_labels: Tensor,
    n_targets: int,
) -> MixedMessages:
    """Compute messages to units that were mixed on the way, for all samples.

    Args:
        read: What the layer read, with its graph.
        layer: Its map.
        terms: Its rule.
        feed: What came from the source.
        source: The source.
        target_labels: Unit of each element of the layer's output.
        n_targets: How many units it has.

    Cost: for each unit of the layer one pass back through it and what lies before it.

    Raises:
        ConfigurationError: There are too many units for that.
    """
    n_numbers = len(read) * n_targets * source.n_units
    if n_numbers > MOST_MIXED:
        raise ConfigurationError(
            f"The units of {source.name!r} are mixed before the next layer reads them (pooling with positions kept, a "
            f"mean or sum over channels), so that {n_numbers:,} messages would have to be computed one by one; at "
            f"most {MOST_MIXED:,} can. Give keep_positions=False or fewer samples."
        )
    values, held = source.values.detach(), read.detach()
    found = values.new_zeros(len(read), n_targets, source.n_units)
    for unit in range(n_targets):
        mask = target_labels == unit
        back = torch.zeros_like(held)
        for term in terms:
            handed = layer.transpose(term.s * mask, term.weight, held)
            back += of_sign(handed, held, term.sign)
        (arrived,) = torch.autograd.grad(read, source.values, back, retain_graph=True)
        found[:, unit] = _by_unit(arrived * values, source.labels, source.n_units)
    return MixedMessages(feed, found)
