"""The contribution graph of one sample, or the mean of several: units, and messages between them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

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
        return self.contribution.shape[-1]

    @property
    def n_units(self) -> int:
        """Number of units of the layer, those in bundles included."""
        return len(self) if self.every_share is None else len(self.every_share)

    @property
    def places(self) -> Whole:
        """Number of the unit at each place."""
        return np.arange(len(self)) if self.numbers is None else self.numbers

    @property
    def is_single(self) -> npt.NDArray[np.bool_]:
        """True at places of single units, False at bundles [places]."""
        return np.ones(len(self), dtype=bool) if self.numbers is None else self.numbers >= 0

    def at(self, places: Whole) -> "UnitLayer":
        """Keep some places of a layer that has bundles."""
        fields = ("contribution", "share", "absorbed", "numbers", "counts")
        return replace(self, **{name: getattr(self, name)[places] for name in fields})

    def number_of(self, place: int) -> int:
        """Return the number of the unit at a place; `FOR` or `AGAINST` for a bundle."""
        return place if self.numbers is None else int(self.numbers[place])

    def bundled(self, place: int) -> int:
        """Return the number of units at a place: 1 for a single unit."""
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


def divided(layer: UnitLayer, row: int) -> UnitLayer:
    """Take one sample's layer out of that of several samples."""
    fields = ("contribution", "share", "absorbed", "numbers", "counts", "every_share")
    return replace(layer, **{name: getattr(layer, name)[row] for name in fields if getattr(layer, name) is not None})


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
