"""Pictures of feeding features: a small heatmap for each neuron of a class, or a table of features and neurons."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_explain.render.colour import Picture, signed_colours, table
from lightning_explain.render.layout import below, beside, boxed, colour_bar, framed, grid, padded, resized
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.text import paragraph, text, text_width

LABEL_WIDTH = 110
WIDEST = 640
"""A wider picture is shrunk on the page until its words cannot be read."""
MOST_CLASSES = 20
MOST_FEATURES = 20
CELL = 20


def _by_class(classes: Tensor) -> dict[int, list[int]]:
    """Return the places of each class's pairs, classes in order; the first ones only where there are many."""
    places: dict[int, list[int]] = {}
    for place, c in enumerate(classes.tolist()):
        places.setdefault(c, []).append(place)
    return {c: places[c] for c in sorted(places)[:MOST_CLASSES]}


def _legend(scale: float) -> Picture:
    return colour_bar(table("RdBu_r"), f"against, {-scale:.2g}", f"{scale:.2g}, for")


def fed_images_picture(
    classes: Tensor, neurons: Tensor, maps: Tensor, *, class_names: Sequence[str], title: str
) -> Picture:
    """Draw for each class the heatmaps of what feeds its neurons, all in one scale.

    Args:
        classes: Class of each map: int64 [pairs].
        neurons: Neuron of each map: int64 [pairs].
        maps: Signed values [pairs, height, width].
        class_names: Name of each class.
        title: What the picture shows.

    Returns:
        uint8 [height, width, 3].
    """
    scale = colour_scale(maps)
    rows: list[Picture] = []
    label_width = min(LABEL_WIDTH, max(text_width(name) for name in class_names) + 4)
    for c, places in _by_class(classes).items():
        cells: list[Picture] = []
        for place in places:
            picture = boxed(resized(signed_colours(maps[place], scale), target=52, largest=64))
            cells.append(below([text(f"n {int(neurons[place])}", width=picture.shape[1], size=10), picture]))
        n_columns = max(1, (WIDEST - label_width) // (cells[0].shape[1] + 6))
        block = grid(cells, n_columns, gap=6)
        rows.append(beside([text(class_names[c], width=label_width, height=block.shape[0]), block], gap=6))
    body = _in_columns(rows)
    width = max(body.shape[1], 420)
    return framed(below([paragraph(title, width=width), _legend(scale), body], gap=8))


def _in_columns(rows: list[Picture]) -> Picture:
    """Set rows below each other, in two columns where they are narrow and many."""
    widest = max(row.shape[1] for row in rows)
    if len(rows) < 6 or 2 * widest + 20 > WIDEST:
        return below(rows, gap=6)
    half = -(-len(rows) // 2)
    return beside([below(rows[:half], gap=6), below(rows[half:], gap=6)], gap=20)


def _matrix(features: Tensor, values: Tensor, order: list[int], shown: list[int]) -> Tensor:
    """Return values as [shown features, pairs]; NaN where a feature is not among a neuron's strongest."""
    matrix = torch.full((len(shown), len(order)), torch.nan)
    row_of = {feature: row for row, feature in enumerate(shown)}
    for column, place in enumerate(order):
        for feature, value in zip(features[place].tolist(), values[place].tolist(), strict=True):
            if feature in row_of:
                matrix[row_of[feature], column] = value
    return matrix


def _strongest(features: Tensor, values: Tensor) -> list[int]:
    """Return the features of the largest sum of sizes over all neurons, in index order."""
    total = torch.zeros(int(features.max()) + 1)
    total.index_add_(0, features.flatten(), values.abs().flatten())
    n_met = int((torch.bincount(features.flatten()) > 0).sum())
    return total.topk(min(MOST_FEATURES, n_met)).indices.sort().values.tolist()


def _head(words: str, n_cells: int) -> Picture:
    return text(words, width=n_cells * CELL, size=10)


def fed_table_picture(
    classes: Tensor,
    neurons: Tensor,
    features: Tensor,
    values: Tensor,
    *,
    name_of: Callable[[int], str],
    class_names: Sequence[str],
    title: str,
) -> Picture:
    """Draw features (down) against the neurons of each class (across); red feeds a neuron, blue stills it.

    Args:
        classes: Class of each neuron: int64 [pairs].
        neurons: int64 [pairs].
        features: Strongest features of each: int64 [pairs, top].
        values: Signed: [pairs, top].
        name_of: Names a feature.
        class_names: Name of each class.
        title: What the picture shows.

    Returns:
        uint8 [height, width, 3]; grey where a feature is not among those kept of a neuron.
    """
    shown = _strongest(features, values)
    scale = colour_scale(values)
    label_width = min(190, max(text_width(name_of(feature)) for feature in shown) + 4)
    n_across = max(1, (WIDEST - label_width) // CELL)
    groups = list(_by_class(classes).items())
    blocks: list[Picture] = []
    while groups:
        band, n_cells = [], 0
        while groups and (not band or n_cells + len(groups[0][1]) <= n_across):
            band.append(groups.pop(0))
            n_cells += len(band[-1][1])
        columns: list[Picture] = []
        for c, places in band:
            colours = signed_colours(_matrix(features, values, places, shown), scale)
            cells = boxed(colours.repeat(CELL, axis=1).repeat(CELL, axis=0))
            numbers = beside([text(str(int(neurons[place])), width=CELL, size=9) for place in places])
            columns.append(below([_head(class_names[int(c)], len(places)), numbers, cells]))
        # two lines of heads and the line around the cells come first
        names = below([text(name_of(feature), width=label_width, height=CELL, align="right") for feature in shown])
        top = columns[0].shape[0] - names.shape[0] - 1
        names = np.pad(names, ((top, 0), (0, 0), (0, 0)), constant_values=255)
        blocks.append(beside([names, *columns], gap=6))
    body = padded(below(blocks, gap=12), height=1, width=420)
    if len(features.unique()) > features.shape[1]:
        title = f"{title} Grey: not among the {features.shape[1]} strongest of the neuron."
    return framed(below([paragraph(title, width=body.shape[1]), _legend(scale), body], gap=8))
