"""Tables: attribution by feature and class, as bars and over time."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from lightning_explain.render.colour import Picture
from lightning_explain.render.modality import N_WORDS, Annotations, Modality, Named, Shown, rounded, top_places
from lightning_explain.render.page_layout import Panel, sign_words
from lightning_explain.render.sprites import Sprite
from lightning_explain.render.text import shortened
from lightning_explain.render.words import LONGEST

RED, BLUE = "#b2182b", "#2166ac"
LARGEST = 20
"""Most features drawn: those of the largest mean |attribution|."""

MOST_ACROSS = 5
"""Panels beside each other: a wider picture is shrunk on the page until its words cannot be read."""

MOST_FEATURES = 1024
"""Features of a sample that the Explain tab draws."""

MOST_NUMBERS = 1 << 14
"""Input values that the Explain tab gets, as numbers."""

MOST_BARS, FEWEST = 48, 4
"""With several methods each class has a row of its own: fewer features where there are many classes."""


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


def _grid(n_rows: int, n_columns: int, *, width: float, height: float, title: str) -> tuple[Figure, list[list[Any]]]:
    figure = Figure(figsize=(1.8 + width * n_columns, height), dpi=90, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharey=True, sharex="col", squeeze=False)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10, wrap=True)
    return figure, [list(row) for row in axes]


def bars_picture(
    panels: Sequence[Panel],
    *,
    labels: Tensor | None,
    group_names: Sequence[str],
    feature_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw mean attribution by feature as bars, and single samples as points.

    One method: a panel for each class, side by side. Several methods: a column for each, a row for each class.

    Args:
        panels: For each method its attributions [batch, features], and the value that fills half its panels.
        labels: Class of each sample [batch]; None for one group.
        group_names: Name of each class, in the order of the sorted class indices.
        feature_names: Name of each feature; empty for numbers.
        title: What the picture shows.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    rows = [panel.values.detach().cpu().flatten(1) for panel in panels]
    groups = [slice(None)] if labels is None else [labels == c for c in labels.unique().tolist()]
    shown = _shown(rows, most=LARGEST if len(panels) == 1 else max(FEWEST, MOST_BARS // len(groups)))
    names = _names(feature_names, rows[0].shape[1])
    several = len(panels) > 1
    n_rows, n_columns = (len(groups), len(panels)) if several else _wrapped(len(groups))
    height = 1.5 + n_rows * (0.28 * len(shown) + 0.5 * (n_rows > 1))
    figure, axes = _grid(n_rows, n_columns, width=2.4, height=height, title=title)
    _hide(axes, n_used=len(groups) * len(panels))
    for (i, panel), (j, group) in itertools.product(enumerate(panels), enumerate(groups)):
        axis = axes[j][i] if several else axes[j // n_columns][j % n_columns]
        _draw_bars(axis, rows[i][group][:, shown], limit=panel.scale)
        name = _plain(group_names[j], 24)
        axis.set_title(f"{_plain(panel.name, 34)}\n{name}" if several else name, fontsize=8 if several else 9)
    low, high = sign_words(unit)
    for axis in axes[-1]:
        axis.set_xlabel(f"$\\leftarrow$ {low} | {high} $\\rightarrow$", fontsize=7)
    figure.supxlabel(f"mean attribution, in {'units of the output' if unit == 'output' else unit}", fontsize=8)
    # the axes share their features
    axes[0][0].set_yticks(np.arange(len(shown)), [names[i] for i in shown])
    axes[0][0].invert_yaxis()
    return drawn(figure)


def _wrapped(n_panels: int) -> tuple[int, int]:
    """Return rows and columns of panels.

    Example:
        >>> _wrapped(3), _wrapped(10)
        ((1, 3), (2, 5))
    """
    n_rows = -(-n_panels // MOST_ACROSS)
    return n_rows, -(-n_panels // n_rows)


def _hide(axes: list[list[Any]], *, n_used: int) -> None:
    """Take away the panels at the end that nothing is drawn in."""
    for axis in [axis for row in axes for axis in row][n_used:]:
        axis.set_axis_off()


def _shown(rows: Sequence[Tensor], *, most: int) -> list[int]:
    """Choose the features that any of the methods finds strong: by sample, since signs may cancel out in a mean."""
    size = torch.stack([row.abs().mean(0) / row.abs().mean().clamp_min(1e-30) for row in rows]).amax(0)
    return size.topk(min(most, len(size))).indices.sort().values.tolist()


def _draw_bars(axis: Any, samples: Tensor, *, limit: float) -> None:
    place, mean = np.arange(samples.shape[1]), samples.mean(0)
    axis.barh(place, mean.numpy(), color=[RED if value > 0 else BLUE for value in mean.tolist()])
    for sample in samples:
        axis.plot(sample.numpy(), place, ".", color="black", alpha=0.35, markersize=3)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_xlim(-1.05 * limit or -1.0, 1.05 * limit or 1.0)
    axis.tick_params(labelsize=8)


def feature_film_picture(
    films: Sequence[Tensor],
    *,
    group_names: Sequence[str],
    column_names: Sequence[str],
    feature_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw mean attribution over time: a panel for each class, features down, explanations across.

    Args:
        films: For each explanation the class means [classes, features], in time order.
        group_names: Name of each panel.
        column_names: Name of each explanation.
        feature_names: Name of each feature; empty for numbers.
        title: What the picture shows.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    stacked = torch.stack([film.float() for film in films])
    shown = _strongest(stacked.flatten(0, 1))
    names = _names(feature_names, stacked.shape[2])
    n_rows, n_columns = _wrapped(stacked.shape[1])
    height = 1.9 + 0.26 * len(shown) + (n_rows - 1) * (0.26 * len(shown) + 0.5)
    figure, grid = _grid(n_rows, n_columns, width=2.8, height=height, title=title)
    _hide(grid, n_used=stacked.shape[1])
    axes = [axis for row in grid for axis in row][: stacked.shape[1]]
    limit = float(stacked.abs().max()) or 1.0
    image: Any = None
    for panel, (axis, name) in enumerate(zip(axes, group_names, strict=True)):
        film = stacked[:, panel, shown].T.numpy()
        image = axis.imshow(film, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        ticks = np.unique(np.linspace(0, len(films) - 1, min(4, len(films))).astype(int))
        axis.set_xticks(ticks, [column_names[i] for i in ticks], fontsize=7)
        axis.set_title(_plain(name, 24), fontsize=9)
        axis.tick_params(axis="y", labelsize=8)
    axes[0].set_yticks(np.arange(len(shown)), [names[i] for i in shown], fontsize=8)
    bar = figure.colorbar(image, ax=axes)
    # in two short lines: with few features the picture is low
    low, high = sign_words(unit)
    bar.set_label(f"mean attribution:\nblue {low},\nred {high}", fontsize=8)
    return drawn(figure)


class Table(Modality):
    """Tables [batch, features]: bars by feature and class."""

    precedence = 40
    layout = "bars"

    def recognises(self, inputs: Tensor) -> bool:
        """Return True for rows of features, whatever other dimensions of one element there are."""
        return inputs.ndim == 2 or (inputs.ndim > 2 and inputs[0].numel() == max(inputs.shape[1:]))

    def scale(self, shown: Shown, values: Tensor) -> float:  # noqa: ARG002
        """Return the largest absolute value: bars are not cut off."""
        return float(values.detach().abs().max())

    def frame(self, shown: Shown, values: Tensor, labels: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the means by class [classes, features]."""
        return class_means(values, labels)[0]

    def picture(self, shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
        """Draw bars by feature, a panel for each class."""
        return bars_picture(
            panels,
            labels=words.labels,
            group_names=words.group_names,
            feature_names=shown.feature_names,
            title=words.title,
            unit=words.unit,
        )

    def film(self, shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
        """Draw features down, explanations across, a panel for each class."""
        return feature_film_picture(
            films,
            group_names=words.group_names,
            column_names=words.column_names,
            feature_names=shown.feature_names,
            title=words.title,
            unit=words.unit,
        )

    def legend_words(self, head: str, *, several: bool) -> str:  # noqa: ARG002
        """Return the sentence that tells how to read the picture."""
        return "Bars: means; points: samples."

    def top_features(self, shown: Shown, values: Tensor, row: int) -> Named | None:
        """Return [name, value] of the strongest features."""
        own, names = values[row].flatten(), shown.feature_names
        return [[names[i] if names else f"feature {i}", rounded(float(own[i]))] for i in top_places(own)]

    def exemplar_words(self, shown: Shown, heat: Tensor, row: int) -> tuple[str, ...]:
        """Return the strongest features: name, value, and what it adds."""
        inputs, own, names = shown.inputs[row].flatten(), heat[row].flatten(), shown.feature_names
        return tuple(
            f"{names[i] if names else f'feature {i}'} = {float(inputs[i]):.3g} ({float(own[i]):+.3g})"
            for i in top_places(own)[:N_WORDS]
        )

    def fits_tab(self, shown: Shown) -> bool:
        """Return True for so many features as a page can hold."""
        return shown.inputs[0].numel() <= MOST_FEATURES

    def tab_inputs(self, shown: Shown, rows: Sequence[int]) -> tuple[dict[str, Any], Sprite | None]:
        """Return the names of the features, and the samples as numbers."""
        values = shown.inputs[list(rows)].flatten(1).float()
        numbers = [[rounded(value, 3) for value in row] for row in values.tolist()]
        return {
            "features": [shortened(name, LONGEST) for name in shown.feature_names],
            "inputs": numbers if values.numel() <= MOST_NUMBERS else None,
        }, None


MODALITY = Table()
