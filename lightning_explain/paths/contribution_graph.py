"""The contribution graph of one sample, or the mean of several: units, and messages between them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_explain.errors import ConfigurationError

Numbers = npt.NDArray[np.floating[Any]]
Whole = npt.NDArray[np.integer[Any]]

FOR, AGAINST = -1, -2
"""Numbers of the bundles of a layer: all units without a place of their own, by the sign of their contribution."""

UNIT_WORDS = {"channels": "channel", "neurons": "neuron", "heads": "head"}
"""What a unit of a layer of some kind is called."""

OUTPUT = "output"
"""Name of the last layer: its only unit is the explained output."""


@dataclass(frozen=True, eq=False)
class UnitLayer:
    """The units of one layer.

    Every unit has a place in the arrays, or (in layers whose messages have no closed form) only those that carry most,
    and behind them one or two bundles of all others, whose values and messages are joint ones.

    Attributes:
        name: The layer's name; `input` (`input 0`, `input 1`, ...) and `output` for the two ends.
        contribution: Signed relevance of each unit [places], in units of the explained output.
        share: Share of the decision's flow that passes each unit [places], 0 to 1.
        absorbed: What of each unit's relevance stays in its bias, in epsilon and in constants [places], signed.
        kind: `input`, `channels`, `neurons`, `heads`, `steps` (a recurrent state after one step), `output` or `units`.
        block: Path of the module that this layer shares with others, as a block of a transformer; empty if none.
        numbers: Number of the unit at each place, `FOR` or `AGAINST` for a bundle; None where place and number agree.
        counts: How many units each place stands for; None for one each.
        every_share: Share of every unit by its number [units], those in bundles too; None where place and number agree.
    """

    name: str
    contribution: Numbers
    share: Numbers
    absorbed: Numbers
    kind: str = "units"
    block: str = ""
    numbers: Whole | None = None
    counts: Whole | None = None
    every_share: Numbers | None = None

    def __len__(self) -> int:
        return len(self.contribution)

    @property
    def n_units(self) -> int:
        """How many units the layer has, those in bundles too."""
        return len(self) if self.every_share is None else len(self.every_share)

    @property
    def places(self) -> Whole:
        """Number of the unit at each place."""
        return np.arange(len(self)) if self.numbers is None else self.numbers

    @property
    def is_single(self) -> npt.NDArray[np.bool_]:
        """Whether a single unit has a place, or a bundle [places]."""
        return np.ones(len(self), dtype=bool) if self.numbers is None else self.numbers >= 0

    def number_of(self, place: int) -> int:
        """Return the number of the unit at a place; `FOR` or `AGAINST` for a bundle."""
        return place if self.numbers is None else int(self.numbers[place])

    def bundled(self, place: int) -> int:
        """Return how many units a place stands for: 1 for a single unit."""
        return 1 if self.counts is None else int(self.counts[place])

    def unit_name(self, number: int) -> str:
        """Name a unit without its layer.

        Example:
            >>> UnitLayer("attn", *[np.zeros(4)] * 3, kind="heads").unit_name(3)
            'head 3'
        """
        return f"{UNIT_WORDS.get(self.kind, 'unit')} {number}"

    @property
    def is_input(self) -> bool:
        """True if these are features or patches of the input."""
        return self.name == "input" or self.name.startswith("input ")


@dataclass(frozen=True, eq=False)
class Link:
    """Messages between two layers.

    Attributes:
        source: Place of the layer nearer to the input.
        target: Place of the layer nearer to the output.
        contribution: Signed messages [target units, source units], in units of the explained output.
        share: Share of the decision's flow along each edge, likewise.
        bundled_share: Largest share of the flow along one edge into a unit without a place of its own [target places];
            None where the source has no bundles.
    """

    source: int
    target: int
    contribution: Numbers
    share: Numbers
    bundled_share: Numbers | None = None


@dataclass(frozen=True, eq=False)
class ContributionGraph:
    """Contributions to one output: units, layer by layer, and the messages between them.

    `contribution` is exact relevance: what the units of a layer have, and what biases above it absorbed, add up to the
    output (if nothing goes round the layer). `share` says which way the decision takes: the output's flow of 1 is
    divided at every unit in proportion to the *sizes* of what it got, its bias included, and goes on to the inputs or
    ends in a bias. Shares are never negative and never more than what arrived, so that they rank; dividing by the
    unit's own relevance instead would let a unit whose inputs cancel hand out many times what it has.

    Attributes:
        layers: From the inputs to the output; a link only goes from an earlier to a later one.
        links: Between layers.
        output: The explained output.
    """

    layers: tuple[UnitLayer, ...]
    links: tuple[Link, ...]
    output: float

    def into(self, target: int) -> list[Link]:
        """Return the links that end at a layer."""
        return [link for link in self.links if link.target == target]

    @property
    def inputs(self) -> list[int]:
        """The places of the input layers."""
        return [place for place, layer in enumerate(self.layers) if layer.is_input]

    @property
    def absorbed_share(self) -> float:
        """Share of the flow that ends in biases instead of an input."""
        return 1.0 - sum(float(self.layers[place].share.sum()) for place in self.inputs)


def flowing(
    names: Sequence[str],
    contributions: Sequence[Numbers],
    messages: Mapping[tuple[int, int], Numbers],
    output: float,
) -> ContributionGraph:
    """Compute the flow from the output to the inputs along given messages.

    Args:
        names: Names of the layers, inputs first, the output last.
        contributions: Relevance of the units of each.
        messages: (source, target) -> signed messages [target units, source units].
        output: The explained output.
    """
    shares = [np.zeros_like(values) for values in contributions]
    absorbed = [np.zeros_like(values) for values in contributions]
    shares[-1] = np.ones_like(contributions[-1])
    links: list[Link] = []
    for target in reversed(range(len(names))):
        incoming = {source: found for (source, end), found in messages.items() if end == target}
        if not incoming:
            continue
        absorbed[target] = contributions[target] - sum(found.sum(1) for found in incoming.values())
        sizes = {source: np.abs(found) for source, found in incoming.items()}
        total = sum(size.sum(1) for size in sizes.values()) + np.abs(absorbed[target])
        per_size = np.divide(shares[target], total, out=np.zeros_like(total), where=total > 0)
        for source, size in sizes.items():
            # in place: these are the largest arrays there are
            share = np.multiply(size, per_size[:, None], out=size)
            shares[source] = shares[source] + share.sum(0)
            links.append(Link(source, target, incoming[source], share))
    layers = tuple(UnitLayer(*fields) for fields in zip(names, contributions, shares, absorbed, strict=True))
    return ContributionGraph(layers, tuple(reversed(links)), output)


def _mean(arrays: Iterable[Numbers]) -> Numbers:
    """Average arrays one at a time: those of a wide network take megabytes each."""
    first, *others = arrays
    total = first.copy()
    for array in others:
        total += array
    total /= 1 + len(others)
    return total


def _averaged(same: Sequence[Any], *fields: str) -> Any:
    """Average some fields of layers or of links; those that are None stay so."""
    means = {
        field: _mean(getattr(each, field) for each in same) for field in fields if getattr(same[0], field) is not None
    }
    return replace(same[0], **means)


def mean_graph(graphs: Sequence[ContributionGraph]) -> ContributionGraph:
    """Average graphs of the same network: contributions and shares, of units and of edges.

    Raises:
        ConfigurationError: They have places for different units.
    """
    for same in zip(*(graph.layers for graph in graphs), strict=True):
        if any(not np.array_equal(layer.places, same[0].places) for layer in same):
            raise ConfigurationError(
                f"These graphs have places for different units of {same[0].name!r}, so they have no mean. Give "
                "contributions() groups= (one number per sample), so that samples averaged together share them."
            )
    layers = tuple(
        _averaged(same, "contribution", "share", "absorbed", "every_share")
        for same in zip(*(graph.layers for graph in graphs), strict=True)
    )
    links = tuple(
        _averaged(same, "contribution", "share", "bundled_share")
        for same in zip(*(graph.links for graph in graphs), strict=True)
    )
    return ContributionGraph(layers, links, float(np.mean([graph.output for graph in graphs])))


def _per_share(share: Numbers) -> Numbers:
    return np.divide(1.0, share, out=np.zeros_like(share), where=share > 0)


def without_layer(graph: ContributionGraph, place: int) -> ContributionGraph:
    """Remove a layer and join the links on both its sides.

    The flow goes on as it did. A message that came into the layer is divided among the units that the layer's unit
    fed, in proportion to the flow, so that the contributions of all other layers stay exact.
    """
    gone = graph.layers[place]
    layers, links = list(graph.layers), {(link.source, link.target): link for link in graph.links}
    for above in (link for link in graph.links if link.source == place):
        # [target units, units of the layer]: which share of a unit's flow came from which target
        by_target = above.share * _per_share(gone.share)[None, :]
        kept = layers[above.target]
        layers[above.target] = replace(kept, absorbed=kept.absorbed + by_target @ gone.absorbed)
        for below in graph.into(place):
            contribution = by_target @ below.contribution
            share = by_target @ below.share
            other = links.get((below.source, above.target))
            if other is not None:
                contribution, share = contribution + other.contribution, share + other.share
            links[below.source, above.target] = Link(below.source, above.target, contribution, share)
    moved = [
        replace(link, source=link.source - (link.source > place), target=link.target - (link.target > place))
        for link in links.values()
        if place not in (link.source, link.target)
    ]
    del layers[place]
    return ContributionGraph(tuple(layers), tuple(sorted(moved, key=_order)), graph.output)


def _order(link: Link) -> tuple[int, int]:
    return link.target, link.source


def only_layers(graph: ContributionGraph, names: Sequence[str]) -> ContributionGraph:
    """Keep the inputs, the output, and the layers of these names."""
    for place in reversed(range(len(graph.layers))):
        layer = graph.layers[place]
        if not layer.is_input and layer.name != OUTPUT and layer.name not in names:
            graph = without_layer(graph, place)
    return graph


def effective_units(layer: UnitLayer) -> float:
    """Return the effective number of units that carry the flow through a layer: e to the entropy of the shares.

    1 if all goes through one unit, the number of units if all carry the same; NaN where nothing passes.

    Example:
        >>> even = np.full(4, 0.25)
        >>> round(effective_units(UnitLayer("fc", even, even, even)), 6)
        4.0
    """
    every = layer.share if layer.every_share is None else layer.every_share
    total = float(every.sum())
    if total <= 0:
        return float("nan")
    shares = every[every > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))
