"""The interface of a kind of input: how its samples are framed, scaled, drawn, put into the Explain tab, and named."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.paths.path_units import InputUnits
from lightning_explain.render.colour import Picture
from lightning_explain.render.layout import below
from lightning_explain.render.page_layout import Panel, colour_scale
from lightning_explain.render.sprites import Sprite
from lightning_explain.render.text import text, text_width

Layout = Literal["pictures", "words", "bars", "lists"]
"""The arrangement of a kind of input on pages that need not know the kind: a heatmap for each sample and step; words on
colours; bars by feature and class; for each sample a list of named positions."""

MOST_ROWS = 10
N_WORDS = 4
"""Features of an exemplar that are named."""

N_STRONGEST = 8
"""Features of a sample that the record names."""

EVENT_PIXELS = 1 << 17
"""Pixels of all heatmaps of an event."""

PROBE_PIXELS = 1 << 19
"""Pixels of the inputs, which are written once, so they may be larger than the heatmaps."""

Named = list[list[Any]]
"""Features with their attributions, the strongest first: each [name, value], or [place, ..., value]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """One explained input of a probe, and how it is drawn.

    Attributes:
        inputs: The input [batch, ...].
        form: Its kind, the name of a file in `render/modalities`; None where there is no picture for it.
        index: Its place among the probe's inputs.
        name: Its name; empty where the probe has no other explained input.
        display: How samples are shown.
        feature_names: Names of its features, for tables.
        kept: The positions of each sample that are shown [batch, positions], without padding; None for all.
        parts: All inputs of the probe, this one among them.
        position_names: Names of each sample's positions as they were found in the batch; empty for none.
    """

    inputs: Tensor
    form: str | None
    index: int = 0
    name: str = ""
    display: Display
    feature_names: Sequence[str] = ()
    kept: Tensor | None = None
    parts: tuple[Tensor, ...] = ()
    position_names: Sequence[Sequence[str]] = ()

    def places(self, row: int) -> list[int]:
        """Return the places of a sample's positions, without padding."""
        every = range(self.inputs.shape[1])
        return list(every) if self.kept is None else self.kept[row].nonzero().flatten().tolist()


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """The words of a picture.

    Attributes:
        title: What the picture shows.
        captions: Caption of each sample.
        group_names: Name of each class of the probe, in index order; one name for regression.
        column_names: In a film, the name of each explanation.
        labels: Class of each sample [batch]; None for regression.
        unit: `"logits"` where each sample's explained class has an output of its own, `"output"` where all have one.
    """

    title: str
    captions: Sequence[str] = ()
    group_names: Sequence[str] = ()
    column_names: Sequence[str] = ()
    labels: Tensor | None = None
    unit: str = "logits"


class Modality(ABC):
    """A kind of input. A file in `render/modalities` defines one and assigns an instance to `MODALITY`.

    Its name is the file's: users choose it by `Display(form=...)`, events name it as `form`, and the Explain tab draws
    it by the file of the same name in `static/modalities`.

    Attributes:
        precedence: Order in which the kinds are asked whether they recognise an input; the first one gets it.
        layout: Arrangement on pages that do not know this kind of input.
        caption_over: The thing over which a sample's caption stands.
        film_part: What each explanation is in a film: a column or a stripe.
        if_named: Kind of an input of this kind whose features the user has named; None for the same.
        is_grid: Positions mean the same in all samples, so that the mean over samples may be drawn as a map.
        shapes: Shapes of such inputs in words, by their number of dimensions; empty for any.
    """

    precedence: ClassVar[int] = 100
    layout: ClassVar[Layout] = "pictures"
    caption_over: ClassVar[str] = "sample"
    film_part: ClassVar[str] = "column"
    if_named: ClassVar[str | None] = None
    is_grid: ClassVar[bool] = True
    shapes: ClassVar[Mapping[int, str]] = {}

    def recognises(self, inputs: Tensor) -> bool:  # noqa: ARG002
        """Return True if shape and type of an input [batch, ...] are evidence of this kind.

        By default it must be declared with `Display(form=...)`.
        """
        return False

    def check(self, shown: Shown) -> None:
        """Refuse an input that is declared to be of this kind and cannot be.

        Raises:
            ConfigurationError: The input or its `Display` does not fit.
        """
        if self.shapes and shown.inputs.ndim not in self.shapes:
            raise ConfigurationError(
                f"Display(form={shown.form!r}) is declared for an input of shape {list(shown.inputs.shape)}; expected "
                f"{' or '.join(self.shapes.values())}. Declare another form, or None to choose by the shape."
            )

    def kept(self, shown: Shown, masks: Sequence[Tensor]) -> Tensor | None:  # noqa: ARG002
        """Return the positions of each sample that are shown: bool [batch, positions]; None for all.

        Args:
            shown: The input.
            masks: The probe's inputs that are masks.
        """
        return None

    def scale(self, shown: Shown, values: Tensor) -> float:  # noqa: ARG002
        """Return the absolute value that gets the full colour, or the full length as a bar."""
        return colour_scale(values)

    def frame(self, shown: Shown, values: Tensor, labels: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the frame of one explanation: by default the attributions of the film's samples."""
        return values[film_rows(labels, len(values))]

    @abstractmethod
    def picture(self, shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
        """Draw one explanation of all samples, by one method or by several side by side: uint8 [height, width, 3]."""

    @abstractmethod
    def film(self, shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
        """Draw explanations over time, given the frame of each: uint8 [height, width, 3]."""

    def legend_words(self, head: str, *, several: bool) -> str:  # noqa: ARG002
        """Return the sentence that tells how to read the picture.

        Args:
            head: What the captions hold.
            several: Several explanations stand side by side.
        """
        return f"Over each {self.caption_over}: {head}."

    def markdown(self, shown: Shown, values: Tensor, words: Annotations) -> str:  # noqa: ARG002
        """Return the samples as a markdown table for reading; empty where a picture is enough."""
        return ""

    def top_features(self, shown: Shown, values: Tensor, row: int) -> Named | None:  # noqa: ARG002
        """Return the strongest features of a sample by name, for the record; None where they have no names."""
        return None

    def units(self, shown: Shown) -> InputUnits | None:  # noqa: ARG002
        """Return the units of a sample for decision paths; None to choose patches or features by its shape."""
        return None

    def window_axes(self, inputs: Tensor) -> tuple[int, ...]:  # noqa: ARG002
        """Return the axes of inputs [batch, ...] along which a part of a sample can be cut out, as in a crop.

        Negative numbers, counted from the end; none where samples are shown as wholes.
        """
        return ()

    def heat(self, values: Tensor) -> Tensor:
        """Return attributions of samples [batch, ...] by place: [batch, places...], channels added up."""
        return values.flatten(1)

    def place_names(self, shown: Shown, row: int) -> Sequence[str]:  # noqa: ARG002
        """Return the names of a sample's places where places differ from sample to sample, as words; else nothing."""
        return ()

    def exemplar_words(self, shown: Shown, heat: Tensor, row: int) -> tuple[str, ...]:
        """Return the words of an exemplar: by default its strongest features with what they add, where they have names.

        Args:
            shown: Samples, or the parts of them that are shown.
            heat: What each place adds to the unit [batch, places...].
            row: Which sample.
        """
        if self.layout == "words":
            return tuple(self.place_names(shown, row))
        named = (self.top_features(shown, heat, row) or [])[:N_WORDS]
        return tuple(f"{' '.join(map(str, places))} {value:+.3g}" for *places, value in named)

    def exemplar_picture(self, exemplar: Exemplar, card: UnitCard, display: Display) -> Picture:  # noqa: ARG002
        """Draw an exemplar, with what in it excites the unit: uint8 [height, width, 3]; by default its words."""
        words = exemplar.words or ("no picture",)
        return below([text(word, width=max(text_width(each) for each in words) + 2) for word in words])

    def fits_tab(self, shown: Shown) -> bool:  # noqa: ARG002
        """Return True if the Explain tab can draw this input."""
        return True

    def tab_inputs(self, shown: Shown, rows: Sequence[int]) -> tuple[dict[str, Any], Sprite | None]:  # noqa: ARG002
        """Return header fields and a picture of these samples' inputs, for the probe's event."""
        return {}, None

    def tab_maps(self, shown: Shown, values: Tensor, rows: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return attributions as maps for the tab [samples, height, width].

        Args:
            shown: The input.
            values: Attributions of the tab's samples.
            rows: Places of these samples in the probe.
        """
        return values.flatten(1)[:, None]


def film_rows(labels: Tensor | None, n_samples: int) -> list[int]:
    """Choose the samples of a film: the first of each class, at most ten.

    Example:
        >>> film_rows(torch.tensor([0, 0, 1, 1]), 4)
        [0, 2]
    """
    if labels is None:
        return list(range(min(MOST_ROWS, n_samples)))
    first = [int((labels == c).nonzero()[0]) for c in labels.unique().tolist()]
    return first[:MOST_ROWS]


def spread_rows(labels: Tensor | None, n_samples: int, most: int) -> list[int]:
    """Choose at most so many samples, the same number of each class as far as that goes.

    Example:
        >>> spread_rows(torch.tensor([0, 0, 0, 1, 1, 1]), 6, 4)
        [0, 1, 3, 4]
    """
    if n_samples <= most or labels is None:
        return list(range(min(n_samples, most)))
    classes = labels.unique().tolist()[:most]
    per_class = max(1, most // len(classes))
    chosen = [(labels == c).nonzero().flatten().tolist()[:per_class] for c in classes]
    return sorted(row for rows in chosen for row in rows)


def top_places(values: Tensor) -> list[int]:
    """Return the places of the strongest values [n], those of 0 left out, the strongest first."""
    top = values.abs().topk(min(N_STRONGEST, len(values)))
    return [place for place, size in zip(top.indices.tolist(), top.values.tolist(), strict=True) if size > 0]


def rounded(value: float, digits: int = 4) -> float:
    """Return a number in so many significant digits.

    Example:
        >>> rounded(0.123456), rounded(1234.5, 3)
        (0.1235, 1230.0)
    """
    return float(f"{value:.{digits}g}")


def unpadded(shown: Shown, masks: Sequence[Tensor]) -> Tensor:
    """Return the mask of positions [batch, positions] that are no padding, by a given mask or the padding's id."""
    inputs, padding = shown.inputs, shown.display.padding
    kept = torch.ones(inputs.shape[:2], dtype=torch.bool)
    if padding is not None and inputs.ndim == 2:
        kept &= inputs != padding
    for mask in masks:
        if mask.shape == kept.shape:
            kept &= mask != 0
    # a sample of nothing but padding is shown as it is
    return kept | ~kept.any(1, keepdim=True)


def without_padding(shown: Shown, values: Tensor, rows: Sequence[int]) -> Tensor:
    """Return values [samples, positions] of these samples with 0 at padding, whose attributions no scale should see."""
    return values if shown.kept is None else values * shown.kept[list(rows)]
