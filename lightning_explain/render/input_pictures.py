"""Which picture fits an input: heatmaps for images, lines for signals, words for tokens, bars for tables."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_explain.display import Form, form_by_shape
from lightning_explain.render.colour import Picture
from lightning_explain.render.features import bars_picture, class_means, feature_film_picture
from lightning_explain.render.heatmaps import filmstrip_picture, heatmap_picture, shown_maps
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.panels import Panel
from lightning_explain.render.shown_inputs import Shown, is_of_units
from lightning_explain.render.signals import binned, lanes_of, signal_film_picture, signal_frame, signal_picture
from lightning_explain.render.tokens import scale_of_tokens, token_film_picture, token_picture

MOST_ROWS = 10


def kind_of(inputs: Tensor) -> Form | None:
    """Say how a probe's input [batch, ...] is drawn by its shape; None where there is no picture for its form."""
    return form_by_shape(inputs)


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


def _unit_names(values: Tensor) -> list[str]:
    return [f"unit {i}" for i in range(values.shape[1])]


def film_frame(shown: Shown, values: Tensor, labels: Tensor | None) -> Tensor:
    """Keep of one explanation what its filmstrip column needs: maps of some samples, or class means."""
    if shown.form == "table" or is_of_units(shown, values):
        return class_means(values, labels)[0]
    some = values[film_rows(labels, len(values))]
    if shown.form == "image":
        return shown_maps(some)
    return signal_frame(some) if shown.form == "signal" else some


def full_scale(shown: Shown, values: Tensor) -> float:
    """Return the absolute value that gets the full colour, or the full length as a bar."""
    if is_of_units(shown, values):
        return float(values.detach().abs().max())
    if shown.form == "image":
        return colour_scale(shown_maps(values))
    if shown.form == "signal":
        return colour_scale(binned(lanes_of(values)))
    return scale_of_tokens(shown, values) if shown.form == "tokens" else float(values.detach().abs().max())


def explanation_picture(
    shown: Shown,
    panels: Sequence[Panel],
    *,
    labels: Tensor | None,
    captions: Sequence[str],
    group_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw one explanation: each sample with its attributions, or bars by feature and class; several methods together.

    Args:
        shown: The input, and how it is drawn.
        panels: Each method's attributions and scale.
        labels: Class of each sample; None for regression.
        captions: Caption of each sample.
        group_names: Name of each class of the probe, in index order; one name for regression.
        title: What the picture shows.
        unit: `"logits"` where each sample's explained class has an output of its own, `"output"` where all have one.
    """
    drawn = [panel for panel in panels if not is_of_units(shown, panel.values)]
    if shown.form == "table" or not drawn:
        names = shown.feature_names if shown.form == "table" else _unit_names(panels[0].values)
        return bars_picture(panels, labels=labels, group_names=group_names, feature_names=names, title=title, unit=unit)
    if shown.form == "image":
        return heatmap_picture(
            shown.inputs, drawn, captions=captions, title=title, labels=labels, unit=unit, display=shown.display
        )
    if shown.form == "signal":
        return signal_picture(shown.inputs, drawn, captions=captions, title=title, labels=labels, unit=unit)
    return token_picture(shown, drawn, captions=captions, title=title, labels=labels, unit=unit)


def film_picture(
    shown: Shown,
    films: Sequence[Tensor],
    *,
    labels: Tensor | None,
    column_names: Sequence[str],
    row_names: Sequence[str],
    group_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw explanations over time: maps, stripes or words of some samples, or features by class."""
    # frames of samples have positions, class means of units have none
    of_units = shown.form in ("image", "signal") and films[0].ndim == 2
    if shown.form == "table" or of_units:
        names = _unit_names(films[0]) if of_units else shown.feature_names
        return feature_film_picture(
            films, group_names=group_names, column_names=column_names, feature_names=names, title=title, unit=unit
        )
    rows = film_rows(labels, len(shown.inputs))
    names = [row_names[row] for row in rows]
    if shown.form == "tokens":
        return token_film_picture(
            shown, films, rows, row_names=names, column_names=column_names, title=title, unit=unit
        )
    some = shown.inputs[torch.tensor(rows)]
    if shown.form == "signal":
        return signal_film_picture(some, films, row_names=names, column_names=column_names, title=title, unit=unit)
    return filmstrip_picture(
        some, films, row_names=names, column_names=column_names, title=title, unit=unit, display=shown.display
    )
