"""Tabular probes: attribution by feature and class, as bars and over time."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from lightning_explain.render.canvas import shortened
from lightning_explain.render.colour import Picture

RED, BLUE = "#b2182b", "#2166ac"
LARGEST = 20
"""Most features drawn: those of the largest mean |attribution|."""


def drawn(figure: Figure) -> Picture:
    """Turn a figure into uint8 [height, width, 3], without pyplot's global state."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # a name in letters that the font lacks is drawn as boxes; telling so at every picture helps nobody
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def class_means(values: Tensor, labels: Tensor | None) -> tuple[Tensor, list[int]]:
    """Average attributions [batch, features] over the samples of each class: ([classes, features], class indices).

    Without labels (regression) all samples make one group, numbered 0.
    """
    rows = values.flatten(1)
    if labels is None:
        return rows.mean(0, keepdim=True), [0]
    classes = labels.unique().tolist()
    return torch.stack([rows[labels == c].mean(0) for c in classes]), classes


def _names(feature_names: Sequence[str], n_features: int) -> list[str]:
    names = [shortened(name, 28) for name in feature_names] or [f"feature {i}" for i in range(n_features)]
    # a lone dollar sign would start matplotlib's mathematics
    return [name.replace("$", r"\$") for name in names]


def _strongest(rows: Tensor) -> list[int]:
    size = rows.abs().mean(0)
    return size.topk(min(LARGEST, len(size))).indices.sort().values.tolist()


def _plain(words: str, n_letters: int) -> str:
    return shortened(words, n_letters).replace("$", r"\$")


def _panels(n_panels: int, height: float, title: str, *, panel_width: float = 2.4) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(1.8 + panel_width * n_panels, height), dpi=90, layout="constrained")
    axes = figure.subplots(1, n_panels, sharey=True, squeeze=False)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10, wrap=True)
    return figure, list(axes[0])


def bars_picture(
    values: Tensor,
    *,
    labels: Tensor | None,
    group_names: Sequence[str],
    feature_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw mean attribution by feature, a panel of bars for each class; points are the single samples.

    Args:
        values: Attributions [batch, features].
        labels: Class of each sample [batch]; None for one group.
        group_names: Name of each panel, in the order of the sorted class indices.
        feature_names: Name of each feature; empty for numbers.
        title: What the picture shows.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    rows = values.detach().cpu().flatten(1)
    means, classes = class_means(rows, labels)
    # by sample: attributions of both signs may cancel out in the mean of a feature that matters most
    shown = _strongest(rows)
    names = _names(feature_names, rows.shape[1])
    figure, axes = _panels(len(classes), 1.5 + 0.28 * len(shown), title)
    place = np.arange(len(shown))
    limit = float(rows[:, shown].abs().max()) * 1.05 or 1.0
    for axis, c, mean, name in zip(axes, classes, means[:, shown], group_names, strict=True):
        axis.barh(place, mean.numpy(), color=[RED if value > 0 else BLUE for value in mean.tolist()])
        members = rows if labels is None else rows[labels == c]
        for sample in members[:, shown]:
            axis.plot(sample.numpy(), place, ".", color="black", alpha=0.35, markersize=3)
        axis.axvline(0, color="black", linewidth=0.6)
        axis.set_xlim(-limit, limit)
        axis.set_title(_plain(name, 24), fontsize=9)
        axis.set_xlabel(unit, fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(place, [names[i] for i in shown])
    axes[0].invert_yaxis()
    return drawn(figure)


def feature_film_picture(
    films: Sequence[Tensor],
    *,
    group_names: Sequence[str],
    column_names: Sequence[str],
    feature_names: Sequence[str],
    title: str,
) -> Picture:
    """Draw mean attribution over time: a panel for each class, features down, explanations across.

    Args:
        films: For each explanation the class means [classes, features], in time order.
        group_names: Name of each panel.
        column_names: Name of each explanation.
        feature_names: Name of each feature; empty for numbers.
        title: What the picture shows.

    Returns:
        uint8 [height, width, 3].
    """
    stacked = torch.stack([film.float() for film in films])
    shown = _strongest(stacked.flatten(0, 1))
    names = _names(feature_names, stacked.shape[2])
    figure, axes = _panels(stacked.shape[1], 1.9 + 0.26 * len(shown), title, panel_width=2.8)
    limit = float(stacked.abs().max()) or 1.0
    image: Any = None
    for panel, (axis, name) in enumerate(zip(axes, group_names, strict=True)):
        film = stacked[:, panel, shown].T.numpy()
        image = axis.imshow(film, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        ticks = np.unique(np.linspace(0, len(films) - 1, min(4, len(films))).astype(int))
        axis.set_xticks(ticks, [column_names[i] for i in ticks], fontsize=7)
        axis.set_title(_plain(name, 24), fontsize=9)
    axes[0].set_yticks(np.arange(len(shown)), [names[i] for i in shown], fontsize=8)
    bar = figure.colorbar(image, ax=axes)
    # in two short lines: with few features the picture is low
    bar.set_label("mean attribution:\nred for, blue against", fontsize=8)
    return drawn(figure)
