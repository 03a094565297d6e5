"""Images: the inputs beside their heatmaps, and the filmstrip of heatmaps over time."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor
from torch.nn import functional

from lightning_explain.display import Display
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.render.colour import Picture, grey, signed_colours
from lightning_explain.render.layout import below, beside, boxed, grid, padded, resized
from lightning_explain.render.modality import PROBE_PIXELS, Annotations, Modality, Shown, film_rows
from lightning_explain.render.page_layout import Panel, colour_scale, header, legend, legends, n_columns, titled
from lightning_explain.render.sprites import Sprite, picture_sprite
from lightning_explain.render.text import text

MAX_WIDTH = 720
"""With several methods, samples stand beside each other up to this width."""

SMALL, LARGE = 56, 64
"""Side of a picture in pixels; larger where a method's name must stand over it."""

TILE = 56
"""Side of an exemplar."""

ONE_AND_A_BIT = 1.5
"""Pictures of 0 to 1 may come out a little brighter, after resizing."""

FEW_PIXELS = 40
"""Pictures of so few pixels are enlarged, which costs bytes; 18 greys show all there is in them."""


MOST_PIXELS = 128
"""Side of the largest map. Of larger images squares of pixels are added up: colours of single ones would blur."""


def maps_of(values: Tensor) -> Tensor:
    """Reduce attributions to one map per sample: [batch, height, width]; channels are added up.

    Adding keeps the sign and the sum: a map still adds up to its sample's attribution.
    """
    return values.sum(1) if values.ndim == 4 else values.reshape(len(values), *values.shape[1:3])


def pixels_per_square(size: Sequence[int]) -> int:
    """Return the side of the squares that are added up for an image of this height and width.

    Example:
        >>> pixels_per_square((28, 28)), pixels_per_square((224, 180))
        (1, 2)
    """
    return -(-max(size) // MOST_PIXELS)


def shown_maps(values: Tensor) -> Tensor:
    """Return the maps that are drawn: [batch, height, width], squares of pixels of large images added up.

    Example:
        >>> shown_maps(torch.ones(1, 3, 256, 256)).shape, float(shown_maps(torch.ones(1, 3, 256, 256)).sum())
        (torch.Size([1, 128, 128]), 196608.0)
    """
    maps = maps_of(values)
    side = pixels_per_square(maps.shape[1:])
    return maps if side == 1 else added_up(maps, side)


def input_pictures(
    inputs: Tensor, display: Display | None = None, *, limits: tuple[float, float] | None = None
) -> list[Picture]:
    """Draw inputs [batch, channels, height, width] or [batch, height, width]; one value range for all of them.

    Three channels are drawn as colours, any other number as the grey mean over channels.

    Args:
        inputs: As the network gets them.
        display: How they were normalised. If it says so, they are drawn as they were before: 0 to 1, or 0 to 255,
            from black to white. Otherwise the smallest value of all is black, the largest white.
        limits: Values of black and white instead, where normalisation is not known: of all samples, for parts of them.
    """
    maps = inputs if inputs.ndim == 4 else inputs.reshape(len(inputs), 1, *inputs.shape[1:3])
    maps = maps if display is None else display.as_seen(maps)
    known = display is not None and display.is_normalised
    low, high = _range(maps, known=known) if known or limits is None else (torch.tensor(limit) for limit in limits)
    unit = ((maps - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    if maps.shape[1] == 3:
        colours = (unit.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        return list(colours)
    small = max(maps.shape[-2:]) <= FEW_PIXELS
    return list(grey(unit.mean(1), step=15 if small else 3))


def _range(maps: Tensor, *, known: bool) -> tuple[Tensor, Tensor]:
    """Return the values of black and white."""
    if not known:
        return maps.amin(), maps.amax()
    # whoever normalised pictures of 0 to 255 gave mean and std in that unit
    white = 1.0 if float(maps.amax()) <= ONE_AND_A_BIT else 255.0
    return torch.tensor(0.0), torch.tensor(white)


def heatmap_picture(
    inputs: Tensor,
    panels: Sequence[Panel],
    *,
    captions: Sequence[str],
    title: str,
    labels: Tensor | None = None,
    unit: str = "logits",
    display: Display | None = None,
) -> Picture:
    """Draw every probe sample beside its heatmap, or beside those of several methods under their names.

    Args:
        inputs: [batch, channels, height, width] or [batch, height, width].
        panels: For each method its attributions, of the same shape or with other channels, and its colour scale.
        captions: What stands over each sample.
        title: What the picture shows.
        labels: Class of each sample: a balanced probe gets rows of its own for each class.
        unit: Unit of the attributions.
        display: How the inputs were normalised.

    Returns:
        uint8 [height, width, 3].
    """
    # a wide picture is shrunk on the page until its words cannot be read
    target = LARGE if len(panels) > 1 else SMALL
    columns = [
        _in_squares(input_pictures(inputs, display), inputs),
        *(list(signed_colours(shown_maps(p.values), p.scale)) for p in panels),
    ]
    rows = [[resized(picture, target=target) for picture in row] for row in zip(*columns, strict=True)]
    # maps of another resolution than the input may come out a little smaller
    width = max(picture.shape[1] for row in rows for picture in row)
    cells: list[Picture] = []
    for row, caption in zip(rows, captions, strict=True):
        row_picture = beside([padded(picture, height=1, width=width) for picture in row], gap=1)
        cells.append(below([text(caption, width=row_picture.shape[1]), row_picture]))
    most = 8 if len(panels) == 1 else max(1, MAX_WIDTH // cells[0].shape[1])
    across = min(len(cells), n_columns(len(cells), labels, most))
    body = grid(cells, across, gap=8)
    if len(panels) > 1:
        heads = beside([header(name, width=width) for name in ("input", *(panel.name for panel in panels))], gap=1)
        body = below([beside([heads] * across, gap=8), body], gap=2)
    return titled(body, f"{title} {image_note(inputs)}".strip(), legends(panels, unit))


def added_up(maps: Tensor, side: int) -> Tensor:
    """Add up squares of so many pixels of maps [batch, height, width]; the last ones may be cut off."""
    height, width = (-(-size // side) * side for size in maps.shape[1:])
    full = functional.pad(maps, (0, width - maps.shape[2], 0, height - maps.shape[1]))
    return functional.avg_pool2d(full[:, None].float(), side)[:, 0] * side**2


def _in_squares(pictures: Sequence[Picture], inputs: Tensor) -> list[Picture]:
    """Shrink pictures as their maps are, so that both have one size."""
    side = pixels_per_square(inputs.shape[-2:])
    return (
        [np.asarray(PilImage.fromarray(picture).reduce(side)) for picture in pictures] if side > 1 else list(pictures)
    )


def image_note(inputs: Tensor) -> str:
    """Describe the parts of an image that the picture cannot show: channels without colours, merged pixels."""
    words: list[str] = []
    if inputs.ndim == 4 and inputs.shape[1] not in (1, 3):
        words.append(f"Grey: mean of {inputs.shape[1]} channels.")
    side = pixels_per_square(inputs.shape[-2:])
    if side > 1:
        words.append(f"Heatmaps add up squares of {side} x {side} pixels.")
    return " ".join(words)


def filmstrip_picture(
    inputs: Tensor,
    films: Sequence[Tensor],
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    title: str,
    unit: str = "logits",
    display: Display | None = None,
) -> Picture:
    """Draw heatmaps over time: a row for each sample, a column for each explanation, one colour scale for all.

    Args:
        inputs: Inputs of the samples shown: [rows, ...].
        films: One tensor of maps [rows, height, width] for each column, in time order.
        row_names: Name of each row.
        column_names: Name of each column.
        title: What the picture shows.
        unit: Unit of the attributions.
        display: How the inputs were normalised.

    Returns:
        uint8 [height, width, 3].
    """
    scale = colour_scale(torch.stack([film.float() for film in films]))
    label_width = 44
    # a wide picture is shrunk on the page until its words cannot be read
    target = 56 if len(films) <= 5 else 32
    first = [resized(picture, target=target) for picture in _in_squares(input_pictures(inputs, display), inputs)]
    columns = [[resized(picture, target=target) for picture in signed_colours(film, scale)] for film in films]
    width = max(30, first[0].shape[1])
    header = [text("", width=label_width), text("input", width=width)]
    header += [text(name, width=width) for name in column_names]
    rows = [beside(header, gap=2)]
    for row, name in enumerate(row_names):
        height = first[row].shape[0]
        cells = [text(name, width=label_width, height=height), padded(first[row], height=height, width=width)]
        cells += [padded(column[row], height=height, width=width) for column in columns]
        rows.append(beside(cells, gap=2))
    return titled(below(rows, gap=2), title, legend(scale, unit))


class Image(Modality):
    """Images [batch, channels, height, width] or [batch, height, width]: a heatmap beside each."""

    precedence = 30
    caption_over = "pair"
    shapes: ClassVar[Mapping[int, str]] = {3: "[batch, height, width]", 4: "[batch, channels, height, width]"}

    def recognises(self, inputs: Tensor) -> bool:
        """Return True for two sides of more than one pixel."""
        return inputs.ndim in (3, 4) and min(inputs.shape[-2:]) > 1

    def check(self, shown: Shown) -> None:
        """Refuse inputs without height and width, and a normalisation of another number of channels."""
        super().check(shown)
        shown.display.as_seen(shown.inputs[:1])

    def scale(self, shown: Shown, values: Tensor) -> float:  # noqa: ARG002
        """Return the 99.5 % quantile of the maps."""
        return colour_scale(shown_maps(values))

    def frame(self, shown: Shown, values: Tensor, labels: Tensor | None) -> Tensor:
        """Return the maps of the film's samples [rows, height, width]."""
        return shown_maps(super().frame(shown, values, labels))

    def picture(self, shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
        """Draw each image beside its heatmaps."""
        return heatmap_picture(
            shown.inputs,
            panels,
            captions=words.captions,
            title=words.title,
            labels=words.labels,
            unit=words.unit,
            display=shown.display,
        )

    def film(self, shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
        """Draw a row of heatmaps for each image."""
        rows = film_rows(words.labels, len(shown.inputs))
        return filmstrip_picture(
            shown.inputs[torch.tensor(rows)],
            films,
            row_names=[words.captions[row] for row in rows],
            column_names=words.column_names,
            title=words.title,
            unit=words.unit,
            display=shown.display,
        )

    def legend_words(self, head: str, *, several: bool) -> str:
        """Return the sentence that tells how to read the picture."""
        return f"Over each {'row' if several else self.caption_over}: {head}."

    def tab_inputs(self, shown: Shown, rows: Sequence[int]) -> tuple[dict[str, Any], Sprite | None]:
        """Return the images as they are seen, and their size."""
        pictures = input_pictures(shown.inputs, shown.display)
        sprite = picture_sprite([pictures[row] for row in rows], max_pixels=PROBE_PIXELS)
        return {"size": list(shown.inputs.shape[-2:])}, sprite

    def window_axes(self, inputs: Tensor) -> tuple[int, ...]:  # noqa: ARG002
        """Return rows and columns."""
        return -2, -1

    def heat(self, values: Tensor) -> Tensor:
        """Return maps of at most 64 places a side."""
        maps = maps_of(values)
        return added_up(maps, -(-max(maps.shape[1:]) // LARGE))

    def exemplar_picture(self, exemplar: Exemplar, card: UnitCard, display: Display) -> Picture:
        """Draw the crop, and beside it what excites the unit."""
        pictures = input_pictures(exemplar.crop[None], display, limits=card.limits)
        if exemplar.heatmap is not None:
            pictures.append(signed_colours(exemplar.heatmap, card.scale))
        return beside([boxed(resized(picture, target=TILE, largest=LARGE)) for picture in pictures], gap=1)

    def tab_maps(self, shown: Shown, values: Tensor, rows: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return the maps that are drawn."""
        return shown_maps(values)


MODALITY = Image()
