"""Neuron pictures: rates of a layer by class, and the activation maps of a sample."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_explain.render.colour import Picture, share_colours, table
from lightning_explain.render.layout import below, beside, colour_bar, framed, grid, resized
from lightning_explain.render.text import font, paragraph, text, text_width

LABEL_WIDTH = 90
LARGEST_WIDTH = 440
"""A wider picture is shrunk on the page until its words cannot be read."""

MOST_CLASSES = 200
"""More rows would be too thin to be seen."""

SMALLEST_NAME = 12
"""Pixels that a class's name needs."""


def rates_picture(rates: Tensor, *, class_names: Sequence[str], title: str) -> Picture:
    """Draw activation rates as class x neuron: a row for each class, a column for each neuron in index order.

    Args:
        rates: [classes, neurons], 0 to 1; NaN for classes without samples.
        class_names: Name of each class.
        title: What the picture shows.

    Returns:
        uint8 [height, width, 3].
    """
    classes, neurons = _shown_classes(len(rates)), _shown_neurons(rates)
    title = " ".join([title, *_left_out(rates, len(classes), len(neurons))])
    shown = rates[classes][:, neurons]
    cell_width = min(24, max(1, LARGEST_WIDTH // len(neurons)))
    cell_height = 16 if len(classes) <= 40 else 640 // len(classes)
    cells = share_colours(shown).repeat(cell_width, axis=1).repeat(cell_height, axis=0)
    names = _row_names([class_names[c] for c in classes], cell_height)
    offset = names.shape[1] + 6
    cells = beside([names, cells], gap=6)
    axis = np.full((16, cells.shape[1], 3), 255, dtype=np.uint8)
    for place in range(0, len(neurons), max(1, -(-40 // cell_width))):
        left = offset + place * cell_width
        width = min(38, axis.shape[1] - left)
        if width > 20:
            axis[:, left : left + width] = text(str(neurons[place]), width=width, size=10)
    width = max(cells.shape[1], 420)
    bar = colour_bar(table("cividis"), "0 %", "100 % of the class's samples")
    return framed(below([paragraph(title, width=width), bar, below([cells, axis])], gap=6))


def notice_picture(words: str) -> Picture:
    """Draw words where there is nothing else to show: uint8 [height, width, 3]."""
    return framed(paragraph(words, width=420))


def _shown_classes(n_classes: int) -> list[int]:
    """Choose the classes that are drawn: all, or evenly spread ones."""
    return list(range(0, n_classes, -(-n_classes // MOST_CLASSES)))


def _shown_neurons(rates: Tensor) -> list[int]:
    """Choose the neurons that are drawn: all, or those whose rates differ most between classes."""
    if rates.shape[1] <= LARGEST_WIDTH:
        return list(range(rates.shape[1]))
    known = rates[~rates.isnan().any(1)]
    # of many classes some are always at both ends, so that the range tells nothing apart
    spread = known.std(0, correction=0) if len(known) else torch.zeros(rates.shape[1])
    return spread.topk(LARGEST_WIDTH).indices.sort().values.tolist()


def _left_out(rates: Tensor, n_classes: int, n_neurons: int) -> list[str]:
    """Describe the part that is drawn."""
    words: list[str] = []
    if n_classes < len(rates):
        words.append(f"Drawn are {n_classes} of {len(rates):,} classes, evenly spread.")
    if n_neurons < rates.shape[1]:
        words.append(
            f"Drawn are the {n_neurons} of {rates.shape[1]:,} neurons whose rates differ most between classes."
        )
    return words


def _row_names(names: Sequence[str], row_height: int) -> Picture:
    """Write the names of rows below each other; where rows are thin, of as many as there is room for."""
    every = -(-SMALLEST_NAME // row_height)
    width = min(LABEL_WIDTH, max(text_width(name) for name in names) + 2)
    heights = [row_height * len(names[first : first + every]) for first in range(0, len(names), every)]
    return below(
        [
            text(name if height >= SMALLEST_NAME else "", width=width, height=height, align="right")
            for name, height in zip(names[::every], heights, strict=True)
        ]
    )


def overlap_picture(overlap: Tensor, *, class_names: Sequence[str], title: str) -> Picture:
    """Draw the overlap of the active sets of every two classes: a row and a column for each class.

    Args:
        overlap: Jaccard indices [classes, classes]; NaN where both sets are empty.
        class_names: Name of each class.
        title: What the picture shows.

    Returns:
        uint8 [height, width, 3].
    """
    classes = _shown_classes(len(overlap))
    if len(classes) < len(overlap):
        title += f" Drawn are {len(classes)} of {len(overlap):,} classes, evenly spread."
    overlap, class_names = overlap[classes][:, classes], [class_names[c] for c in classes]
    n_classes = len(classes)
    side = max(1, min(34, LARGEST_WIDTH // n_classes))
    # few classes leave room for their names above the columns
    across = max(side, min(LARGEST_WIDTH // n_classes, max(text_width(name, 10) for name in class_names) + 6))
    cells = share_colours(overlap).repeat(across, axis=1).repeat(side, axis=0)
    if side >= 22:
        image = Image.fromarray(cells)
        pen = ImageDraw.Draw(image)
        for row, shares in enumerate(overlap.tolist()):
            for column, share in enumerate(shares):
                words = "-" if np.isnan(share) else f"{100 * share:.0f}"
                place = (column * across + across // 2, row * side + side // 2)
                pen.text(place, words, fill=(0, 0, 0) if share > 0.5 else (255, 255, 255), font=font(11), anchor="mm")
        cells = np.asarray(image)
    names = _row_names(class_names, side)
    if side >= SMALLEST_NAME:
        heads = beside([text(name, width=across, size=10, align="center") for name in class_names])
        corner = np.full((heads.shape[0], names.shape[1], 3), 255, dtype=np.uint8)
        cells = below([beside([corner, heads], gap=6), beside([names, cells], gap=6)])
    else:
        cells = beside([names, cells], gap=6)
    width = max(cells.shape[1], 420)
    bar = colour_bar(table("cividis"), "0 %", "100 % shared")
    return framed(below([paragraph(title, width=width), bar, cells], gap=6))


def maps_picture(
    sample: Picture, maps: Tensor, *, title: str, largest: int = 64, channels: Sequence[int] | None = None
) -> Picture:
    """Draw the channel maps of one layer for one sample, all in one scale.

    Args:
        sample: The input as a picture.
        maps: Activations [channels, height, width].
        title: What the picture shows.
        largest: Most channels drawn: those of the largest mean activation, in index order.
        channels: Draw these instead.

    Returns:
        uint8 [height, width, 3].
    """
    strongest = maps.flatten(1).mean(1).topk(min(largest, len(maps))).indices.sort().values.tolist()
    drawn = strongest if channels is None else list(channels)
    shown = maps[drawn]
    low, high = min(0.0, float(shown.min())), float(shown.max())
    unit = (shown - low) / max(high - low, 1e-12)
    cells: list[Picture] = []
    for channel, colours in zip(drawn, share_colours(unit), strict=True):
        picture = resized(colours)
        cells.append(below([text(str(channel), width=max(24, picture.shape[1])), picture]))
    n_columns = min(8, max(1, int(np.ceil(np.sqrt(len(cells))))))
    shown_input = below([text("input", width=44), resized(sample, target=112)])
    body = beside([shown_input, grid(cells, n_columns, gap=4)], gap=12)
    width = max(body.shape[1], 420)
    bar = colour_bar(table("cividis"), f"{low:.3g}", f"{high:.3g} activation")
    return framed(below([paragraph(title, width=width), bar, body], gap=6))


def has_maps(activation: Tensor) -> bool:
    """Return True if a layer's output [batch, channels, height, width] is worth drawing as maps."""
    return activation.ndim == 4 and min(activation.shape[-2:]) > 1 and bool(torch.isfinite(activation).all())
