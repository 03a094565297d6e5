"""The card of a unit: its best samples, cut to the part that the unit sees, and what in them excites it."""

from dataclasses import dataclass

from torch import Tensor

Box = tuple[tuple[int, int], ...]
"""Start and stop along each axis of an input."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exemplar:
    """One sample that stands for a unit.

    Attributes:
        sample: Its number in the validation data.
        label: Its class; -1 for none.
        value: The unit's largest activation over positions, or its relevance.
        position: Where in the layer's output; empty for flat layers.
        box: What of the sample the unit sees at that position, exactly: start and stop along rows and columns, time
            steps or tokens; empty where a sample has no such axes, and is shown as a whole.
        crop: That part of the sample, as the network got it.
        heatmap: How much each place in the crop raises the unit, in units of its activation; below 0 it lowers it:
            [rows, columns], [steps], [tokens] or [features], channels added up. None where nothing can be said.
        words: The tokens in the box, or names and values of the strongest features; empty for other kinds.
    """

    sample: int
    label: int
    value: float
    position: tuple[int, ...]
    box: Box
    crop: Tensor
    heatmap: Tensor | None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitCard:
    """A unit with its exemplars.

    Attributes:
        layer: Its layer.
        unit: Its index.
        reason: Why it is shown: what it is exclusive to, say.
        form: Kind of the samples, as in `Display(form=)`; None where there is no picture of them.
        by: What its samples are the largest of: `"activation"` or `"relevance"`.
        method: The attribution method behind the heatmaps.
        scale: Absolute value of the full colour, shared by the unit's heatmaps.
        limits: Smallest and largest value of the samples that were fetched together, for drawing crops alike.
        epoch: Index of the epoch.
        exemplars: The samples, best first.
    """

    layer: str
    unit: int
    reason: str
    form: str | None
    by: str
    method: str
    scale: float
    limits: tuple[float, float]
    epoch: int
    exemplars: tuple[Exemplar, ...]
