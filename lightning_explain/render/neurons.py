"""Neuron pictures: rates of a layer by class, and the activation maps of a sample."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_explain.render.canvas import (
    below,
    beside,
    colour_bar,
    font,
    framed,
    grid,
    paragraph,
    resized,
    text,
    text_width,
)
from lightning_explain.render.colour import Picture, share_colours, table

LABEL_WIDTH = 90
LARGEST_WIDTH = 440
"""A wider picture is shrunk on the page until its words cannot be read."""


def rates_picture(rates: Tensor, *, class_names: Sequence[str], title: str) -> Picture:
    """Draw activation rates as class x neuron: a row for each class, a column for each neuron in index order.

    Args:
        rates: [classes, neurons], 0 to 1; NaN for classes without samples.
        class_names: Name of each class.
        title: What the picture shows.

    Returns:
        uint8 [height, width, 3].
    """
    n_classes, n_neurons = rates.shape
    cell_width = min(24, max(1, LARGEST_WIDTH // n_neurons))
    cell_height = 16 if n_classes <= 40 else max(1, 640 // n_classes)
    cells = share_colours(rates).repeat(cell_width, axis=1).repeat(cell_height, axis=0)
    if cell_height >= 12:
        label_width = min(LABEL_WIDTH, max(text_width(name) for name in class_names) + 2)
        names = [text(name, width=label_width, height=cell_height, align="right") for name in class_names]
        cells = beside([below(names), cells], gap=6)
        offset = label_width + 6
    else:
        offset = 0
    axis = np.full((16, cells.shape[1], 3), 255, dtype=np.uint8)
    for neuron in range(0, n_neurons, max(1, -(-40 // cell_width))):
        left = offset + neuron * cell_width
        width = min(38, axis.shape[1] - left)
        if width > 20:
            axis[:, left : left + width] = text(str(neuron), width=width, size=10)
    width = max(cells.shape[1], 420)
    bar = colour_bar(table("cividis"), "0 %", "100 % of the class's samples")
    return framed(below([paragraph(title, width=width), bar, below([cells, axis])], gap=6))


def notice_picture(words: str) -> Picture:
    """Draw words where there is nothing else to show: uint8 [height, width, 3]."""
    return framed(paragraph(words, width=420))


def overlap_picture(overlap: Tensor, *, class_names: Sequence[str], title: str) -> Picture:
    """Draw how much of their active sets every two classes share: a row and a column for each class.

    Args:
        overlap: Jaccard indices [classes, classes]; NaN where both sets are empty.
        class_names: Name of each class.
        title: What the picture shows.

    Returns:
        uint8 [height, width, 3].
    """
    n_classes = len(overlap)
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
    if side >= 12:
        label_width = min(LABEL_WIDTH, max(text_width(name) for name in class_names) + 2)
        names = [text(name, width=label_width, height=side, align="right") for name in class_names]
        heads = beside([text(name, width=across, size=10, align="center") for name in class_names])
        corner = np.full((heads.shape[0], label_width, 3), 255, dtype=np.uint8)
        cells = below([beside([corner, heads], gap=6), beside([below(names), cells], gap=6)])
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
    """Say whether a layer's output [batch, channels, height, width] is worth drawing as maps."""
    return activation.ndim == 4 and min(activation.shape[-2:]) > 1 and bool(torch.isfinite(activation).all())
