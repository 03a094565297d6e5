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
)
from lightning_explain.render.colour import Picture, grey, signed_colours, table

QUANTILE = 0.995
"""Values beyond this share of all get the full colour, so that one outlier does not whiten the rest."""

MIN_WIDTH = 420

SMALL = 40
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
    small = max(maps.shape[-2:]) <= SMALL
    return list(grey(unit.mean(1), step=15 if small else 3))


def _n_columns(n_cells: int, labels: Tensor | None) -> int:
    """Give each class its own row where the probe is balanced; otherwise a landscape block."""
    if labels is not None:
        counts = labels.unique_consecutive(return_counts=True)[1]
        if len(counts) > 1 and bool((counts == counts[0]).all()) and 2 <= int(counts[0]) <= 8:
            return int(counts[0])
    return min(8, max(1, int(np.ceil(np.sqrt(n_cells)))))


def _legend(scale: float, unit: str) -> Picture:
    low, high = ("lowers the output", "raises it") if unit == "output" else ("against the class", "for it")
    return colour_bar(table("RdBu_r"), f"{low}  -{scale:.3g}", f"+{scale:.3g} {unit}  {high}")


def _titled(body: Picture, title: str, legend: Picture) -> Picture:
    width = max(body.shape[1], legend.shape[1], MIN_WIDTH)
    return framed(below([paragraph(title, width=width), legend, padded(body, height=1, width=width)], gap=6))


def heatmap_picture(
    inputs: Tensor,
    values: Tensor,
    *,
    captions: Sequence[str],
    title: str,
    scale: float,
    labels: Tensor | None = None,
    unit: str = "logits",
) -> Picture:
    """Draw every probe sample beside its heatmap, all in one colour scale.

    Args:
        inputs: [batch, channels, height, width] or [batch, height, width].
        values: Attributions of the same shape.
        captions: What stands over each pair.
        title: What the picture shows.
        scale: Absolute value of the full colour.
        labels: Class of each sample: a balanced probe gets one row per class.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    heatmaps = signed_colours(maps_of(values), scale)
    cells: list[Picture] = []
    for picture, heatmap, caption in zip(input_pictures(inputs), heatmaps, captions, strict=True):
        pair = beside([resized(picture), resized(heatmap)], gap=1)
        cells.append(below([text(caption, width=pair.shape[1]), pair]))
    body = grid(cells, _n_columns(len(cells), labels), gap=8)
    return _titled(body, title, _legend(scale, unit))


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
