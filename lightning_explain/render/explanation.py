"""Which picture fits a probe: heatmaps for images, bars for tabular data, a map for sequences."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lightning_explain.render.colour import Picture
from lightning_explain.render.features import bars_picture, class_means, feature_film_picture
from lightning_explain.render.heatmaps import colour_scale, filmstrip_picture, heatmap_picture, maps_of
from lightning_explain.render.panels import Panel

Kind = Literal["image", "table"]

MOST_ROWS = 10


def kind_of(inputs: Tensor) -> Kind | None:
    """Say how a probe's input [batch, ...] is drawn; None where there is no picture for its form."""
    if inputs.ndim in (3, 4) and min(inputs.shape[-2:]) > 1:
        return "image"
    if inputs.ndim == 2 or (inputs.ndim > 2 and inputs[0].numel() == max(inputs.shape[1:])):
        return "table"
    return None


def film_rows(labels: Tensor | None, n_samples: int) -> list[int]:
    """Choose the samples of an image filmstrip: the first of each class, at most ten.

    Example:
        >>> film_rows(torch.tensor([0, 0, 1, 1]), 4)
        [0, 2]
    """
    if labels is None:
        return list(range(min(MOST_ROWS, n_samples)))
    first = [int((labels == c).nonzero()[0]) for c in labels.unique().tolist()]
    return first[:MOST_ROWS]


def film_frame(values: Tensor, labels: Tensor | None) -> Tensor:
    """Keep of one explanation what its filmstrip column needs: maps of some samples, or class means."""
    if kind_of(values) == "image":
        return maps_of(values)[film_rows(labels, len(values))]
    return class_means(values, labels)[0]


def full_scale(values: Tensor) -> float:
    """Return the absolute value that gets the full colour in heatmaps, or the full length as a bar."""
    return colour_scale(maps_of(values)) if kind_of(values) == "image" else float(values.detach().abs().max())


def explanation_picture(
    inputs: Tensor,
    panels: Sequence[Panel],
    *,
    labels: Tensor | None,
    captions: Sequence[str],
    group_names: Sequence[str],
    feature_names: Sequence[str],
    title: str,
) -> Picture:
    """Draw one explanation: input | heatmap per sample, or bars by feature and class; several methods side by side.

    Args:
        inputs: The probe's (first) input [batch, ...].
        panels: Each method's attributions and scale.
        labels: Class of each sample; None for regression.
        captions: Caption of each sample.
        group_names: Name of each class of the probe, in index order; one name for regression.
        feature_names: Names of tabular features.
        title: What the picture shows.
    """
    unit = "output" if labels is None else "logits"
    maps = [panel for panel in panels if kind_of(panel.values) == "image"]
    if kind_of(inputs) == "image" and maps:
        # units of a layer without positions have no place beside a picture, unless there is nothing else
        return heatmap_picture(inputs, maps, captions=captions, title=title, labels=labels, unit=unit)
    names = feature_names if kind_of(inputs) != "image" else [f"unit {i}" for i in range(panels[0].values.shape[1])]
    return bars_picture(panels, labels=labels, group_names=group_names, feature_names=names, title=title, unit=unit)


def film_picture(
    inputs: Tensor,
    films: Sequence[Tensor],
    *,
    labels: Tensor | None,
    column_names: Sequence[str],
    row_names: Sequence[str],
    group_names: Sequence[str],
    feature_names: Sequence[str],
    title: str,
) -> Picture:
    """Draw explanations over time, one column each: heatmaps of some samples, or features by class."""
    if kind_of(inputs) == "image" and films[0].ndim == 3:
        rows = film_rows(labels, len(inputs))
        return filmstrip_picture(
            inputs[torch.tensor(rows)],
            films,
            row_names=[row_names[row] for row in rows],
            column_names=column_names,
            title=title,
            unit="output" if labels is None else "logits",
        )
    names = feature_names if kind_of(inputs) != "image" else [f"unit {i}" for i in range(films[0].shape[1])]
    return feature_film_picture(
        films, group_names=group_names, column_names=column_names, feature_names=names, title=title
    )
