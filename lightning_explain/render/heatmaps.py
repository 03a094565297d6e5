"""Image probes: the inputs beside their heatmaps, and the filmstrip of heatmaps over time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_explain.render.canvas import (
    below,
    beside,
    colour_bar,
    framed,
    grid,
    padded,
    paragraph,
    resized,
    text,
    text_width,
)
from lightning_explain.render.colour import Picture, grey, signed_colours, table
from lightning_explain.render.panels import Panel, header

QUANTILE = 0.995
"""Values beyond this share of all get the full colour, so that one outlier does not whiten the rest."""

MIN_WIDTH = 420

MAX_WIDTH = 720
"""With several methods, samples stand beside each other up to this width."""

LONGEST_NAME = 200
"""Pixels for the name of a method beside its colour bar."""

SMALL, LARGE = 56, 64
"""Side of a picture in pixels; larger where a method's name must stand over it."""

FEW_PIXELS = 40
"""Pictures of so few pixels are enlarged, which costs bytes; 18 greys show all there is in them."""


def maps_of(values: Tensor) -> Tensor:
    """Reduce attributions to one map per sample: [batch, height, width]; channels are added up.

    Adding keeps the sign and the sum: a map still adds up to its sample's attribution.
    """
    return values.sum(1) if values.ndim == 4 else values.reshape(len(values), *values.shape[1:3])


def colour_scale(maps: Tensor) -> float:
    """Return the absolute value that gets the full colour: the 99.5 % quantile of all maps together."""
    return float(np.quantile(maps.detach().abs().cpu().numpy(), QUANTILE))


def input_pictures(inputs: Tensor) -> list[Picture]:
    """Draw inputs [batch, channels, height, width] or [batch, height, width]; one value range for all of them.

    Three channels are drawn as colours, any other number as the grey mean over channels.
    """
    maps = inputs if inputs.ndim == 4 else inputs.reshape(len(inputs), 1, *inputs.shape[1:3])
    low, high = maps.amin(), maps.amax()
    unit = (maps - low) / (high - low).clamp_min(1e-12)
    if maps.shape[1] == 3:
        colours = (unit.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        return list(colours)
    small = max(maps.shape[-2:]) <= FEW_PIXELS
    return list(grey(unit.mean(1), step=15 if small else 3))


def _n_columns(n_cells: int, labels: Tensor | None, most: int) -> int:
    """Give each class its own rows where the probe is balanced; otherwise a landscape block."""
    if labels is not None:
        counts = labels.unique_consecutive(return_counts=True)[1]
        per_class = int(counts[0])
        if len(counts) > 1 and bool((counts == per_class).all()) and 2 <= per_class <= 8:
            return max(n for n in range(1, per_class + 1) if per_class % n == 0 and n <= most)
    return min(most, max(1, int(np.ceil(np.sqrt(n_cells)))))


def _legend(scale: float, unit: str) -> Picture:
    low, high = ("lowers the output", "raises it") if unit == "output" else ("against the class", "for it")
    return colour_bar(table("RdBu_r"), f"{low}  -{scale:.3g}", f"+{scale:.3g} {unit}  {high}")


def _legends(panels: Sequence[Panel], unit: str) -> Picture:
    """Draw the colour bar, or one for each method."""
    if len(panels) == 1:
        return _legend(panels[0].scale, unit)
    width = min(LONGEST_NAME, max(text_width(panel.name) for panel in panels) + 8)
    return below([beside([text(panel.name, width=width), _legend(panel.scale, unit)]) for panel in panels], gap=2)


def _titled(body: Picture, title: str, legend: Picture) -> Picture:
    width = max(body.shape[1], legend.shape[1], MIN_WIDTH)
    return framed(below([paragraph(title, width=width), legend, padded(body, height=1, width=width)], gap=6))


def heatmap_picture(
    inputs: Tensor,
    panels: Sequence[Panel],
    *,
    captions: Sequence[str],
    title: str,
    labels: Tensor | None = None,
    unit: str = "logits",
) -> Picture:
    """Draw every probe sample beside its heatmap, or beside those of several methods under their names.

    Args:
        inputs: [batch, channels, height, width] or [batch, height, width].
        panels: For each method its attributions, of the same shape or with other channels, and its colour scale.
        captions: What stands over each sample.
        title: What the picture shows.
        labels: Class of each sample: a balanced probe gets rows of its own for each class.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    # a wide picture is shrunk on the page until its words cannot be read
    target = LARGE if len(panels) > 1 else SMALL
    columns = [input_pictures(inputs), *(list(signed_colours(maps_of(p.values), p.scale)) for p in panels)]
    rows = [[resized(picture, target=target) for picture in row] for row in zip(*columns, strict=True)]
    # maps of another resolution than the input may come out a little smaller
    width = max(picture.shape[1] for row in rows for picture in row)
    cells: list[Picture] = []
    for row, caption in zip(rows, captions, strict=True):
        row_picture = beside([padded(picture, height=1, width=width) for picture in row], gap=1)
        cells.append(below([text(caption, width=row_picture.shape[1]), row_picture]))
    most = 8 if len(panels) == 1 else max(1, MAX_WIDTH // cells[0].shape[1])
    n_columns = min(len(cells), _n_columns(len(cells), labels, most))
    body = grid(cells, n_columns, gap=8)
    if len(panels) > 1:
        heads = beside([header(name, width=width) for name in ("input", *(panel.name for panel in panels))], gap=1)
        body = below([beside([heads] * n_columns, gap=8), body], gap=2)
    return _titled(body, title, _legends(panels, unit))


def filmstrip_picture(
    inputs: Tensor,
    films: Sequence[Tensor],
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw heatmaps over time: a row for each sample, a column for each explanation, one colour scale for all.

    Args:
        inputs: Inputs of the samples shown: [rows, ...].
        films: One tensor of maps [rows, height, width] for each column, in time order.
        row_names: Name of each row.
        column_names: Name of each column.
        title: What the picture shows.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    scale = colour_scale(torch.stack([film.float() for film in films]))
    label_width = 44
    # a wide picture is shrunk on the page until its words cannot be read
    target = 56 if len(films) <= 5 else 32
    first = [resized(picture, target=target) for picture in input_pictures(inputs)]
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
    return _titled(below(rows, gap=2), title, _legend(scale, unit))
