"""Time series and audio: the signal as a line, on the colours of its attribution."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_explain.display import Display
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.lanes import MOST_COLUMNS, bin_of_step, binned, lane_picture, lanes_of
from lightning_explain.render.layout import below, beside, grid
from lightning_explain.render.modality import (
    PROBE_PIXELS,
    Annotations,
    Modality,
    Named,
    Shown,
    film_rows,
    rounded,
    spread_rows,
    top_places,
)
from lightning_explain.render.page_layout import Panel, colour_scale, in_words, legend, legends, titled
from lightning_explain.render.sprites import Sprite, picture_sprite
from lightning_explain.render.text import text

FEW_LANES, LONG = 16, 4
"""A [batch, a, b] input whose shorter side has at most so many entries, and whose longer one has so many times more,
is a time series; others are grey images."""

SHORTEST_SIGNAL = 32
"""A single row [batch, 1, n] of fewer numbers is a table."""

TAB_COLUMNS, TAB_HEIGHT = 120, 40
"""Size of a signal in the Explain tab."""

MOST_SAMPLES = 24
MOST_LANES = 8
"""Channels drawn: those of the largest attribution."""

LANE_HEIGHT = 44
FEWEST_PIXELS = 18
FILM_ROW = 12
LABEL_WIDTH = 44


def bins_note(signals: Tensor) -> str:
    """Describe the number of time steps that a column adds up; empty where each has its own."""
    n_steps = lanes_of(signals).shape[-1]
    if n_steps <= MOST_COLUMNS:
        return ""
    sizes = torch.bincount(bin_of_step(n_steps, MOST_COLUMNS))
    low, high = int(sizes.min()), int(sizes.max())
    words = str(low) if low == high else f"{low} to {high}"
    return f"Each column adds up the attribution of {words} of {n_steps:,} time steps; the line spans their values."


def _shown_lanes(panels: Sequence[Panel]) -> list[int]:
    size = torch.stack([lanes_of(p.values).abs().mean((0, 2)) / max(p.scale, 1e-30) for p in panels]).amax(0)
    return size.topk(min(MOST_LANES, len(size))).indices.sort().values.tolist()


def _lane_height(n_lanes: int) -> int:
    return max(FEWEST_PIXELS, LANE_HEIGHT - 8 * (n_lanes - 1))


def _limits(lanes: Tensor) -> list[tuple[float, float]]:
    """Return each channel's range over all samples, so that samples compare."""
    return list(zip(lanes.amin((0, 2)).tolist(), lanes.amax((0, 2)).tolist(), strict=True))


def signal_picture(
    inputs: Tensor,
    panels: Sequence[Panel],
    *,
    captions: Sequence[str],
    title: str,
    labels: Tensor | None = None,
    unit: str = "logits",
) -> Picture:
    """Draw samples as lines on the colours of their attribution, once for each method.

    Args:
        inputs: [batch, time], [batch, channels, time] or [batch, time, channels].
        panels: For each method its attributions, shaped like the inputs, and its colour scale.
        captions: What stands over each sample.
        title: What the picture shows.
        labels: Class of each sample, for the choice of samples.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    lanes = lanes_of(inputs.float())
    rows, channels, limits = spread_rows(labels, len(lanes), MOST_SAMPLES), _shown_lanes(panels), _limits(lanes)
    colours = {panel.name: signed_colours(binned(lanes_of(panel.values)), panel.scale) for panel in panels}
    height = _lane_height(len(channels))

    def strip(row: int, name: str) -> Picture:
        pictures = [lane_picture(lanes[row, c], colours[name][row, c], limits[c], height=height) for c in channels]
        if len(panels) == 1:
            return below(pictures, gap=1)
        return below([text(in_words(name), width=pictures[0].shape[1], size=11), *pictures], gap=1)

    cells: list[Picture] = []
    for row in rows:
        strips = [strip(row, name) for name in colours]
        cells.append(below([text(captions[row], width=strips[0].shape[1]), *strips], gap=1))
    words = [title, bins_note(inputs), _said_of_choice(len(rows), len(lanes), channels, lanes.shape[1])]
    return titled(grid(cells, min(3, len(cells)), gap=10), " ".join(filter(None, words)), legends(panels, unit))


def _said_of_choice(n_rows: int, n_samples: int, channels: list[int], n_channels: int) -> str:
    words = f"{n_rows} of {n_samples} samples. " if n_rows < n_samples else ""
    if len(channels) < n_channels:
        listed = ", ".join(str(channel) for channel in channels)
        return f"{words}Below each other the {len(channels)} strongest of {n_channels} channels: {listed}."
    return f"{words}Channels below each other." if n_channels > 1 else words.strip()


def signal_frame(values: Tensor) -> Tensor:
    """Keep of attributions what a film needs: channels added up, [rows, columns]."""
    return binned(lanes_of(values).sum(1))


def signal_film_picture(
    inputs: Tensor,
    films: Sequence[Tensor],
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw attributions over training: under each signal a stripe for each explanation, the first on top.

    Args:
        inputs: Inputs of the samples shown.
        films: For each explanation the attributions of these samples [rows, columns], in time order.
        row_names: Name of each sample.
        column_names: Name of each explanation.
        title: What the picture shows.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    scale = colour_scale(torch.stack([film.float() for film in films]))
    stripes = [signed_colours(film.float(), scale) for film in films]
    lanes = lanes_of(inputs.float()).mean(1, keepdim=True)
    (limits,) = _limits(lanes)
    cells: list[Picture] = []
    for row, name in enumerate(row_names):
        signal = lane_picture(lanes[row, 0], None, limits, height=30)
        lines = [beside([text(name, width=LABEL_WIDTH, height=30), signal])]
        for step, stripe in zip(column_names, stripes, strict=True):
            times = signal.shape[1] // stripe.shape[1]
            colours = np.repeat(np.repeat(stripe[row], times, axis=0)[None], FILM_ROW, axis=0)
            lines.append(beside([text(step, width=LABEL_WIDTH, height=FILM_ROW, size=10), colours]))
        cells.append(below(lines, gap=1))
    summed = " The line is the mean of the channels, the colours their sum." if lanes_of(inputs).shape[1] > 1 else ""
    words = f"{title}{summed} {bins_note(inputs)}".strip()
    return titled(grid(cells, min(2, len(cells)), gap=14), words, legend(scale, unit))


class Signal(Modality):
    """Time series and audio [batch, channels, time] or [batch, time]: a line on colours."""

    precedence = 20
    caption_over = "signal"
    film_part = "stripe"
    if_named = "table"
    shapes: ClassVar[Mapping[int, str]] = {
        2: "[batch, time]",
        3: "[batch, channels, time] or [batch, time, channels]",
    }

    def recognises(self, inputs: Tensor) -> bool:
        """Return True for few channels of many steps."""
        if inputs.ndim != 3:
            return False
        short, long = sorted(inputs.shape[1:])
        is_row = short == 1 and inputs.shape[1] == 1 and long >= SHORTEST_SIGNAL
        return is_row or (1 < short <= FEW_LANES and long >= max(SHORTEST_SIGNAL, LONG * short))

    def scale(self, shown: Shown, values: Tensor) -> float:  # noqa: ARG002
        """Return the 99.5 % quantile of the columns."""
        return colour_scale(binned(lanes_of(values)))

    def frame(self, shown: Shown, values: Tensor, labels: Tensor | None) -> Tensor:
        """Return the columns of the film's samples, channels added up [rows, columns]."""
        return signal_frame(super().frame(shown, values, labels))

    def picture(self, shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
        """Draw each signal on the colours of its attribution."""
        return signal_picture(
            shown.inputs, panels, captions=words.captions, title=words.title, labels=words.labels, unit=words.unit
        )

    def film(self, shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
        """Draw a stripe for each explanation under each signal."""
        rows = film_rows(words.labels, len(shown.inputs))
        return signal_film_picture(
            shown.inputs[torch.tensor(rows)],
            films,
            row_names=[words.captions[row] for row in rows],
            column_names=words.column_names,
            title=words.title,
            unit=words.unit,
        )

    def top_features(self, shown: Shown, values: Tensor, row: int) -> Named | None:  # noqa: ARG002
        """Return [channel, time step, value] of the strongest time steps."""
        lanes = lanes_of(values)[row]
        own, n_steps = lanes.flatten(), lanes.shape[1]
        return [[place // n_steps, place % n_steps, rounded(float(own[place]))] for place in top_places(own)]

    def tab_inputs(self, shown: Shown, rows: Sequence[int]) -> tuple[dict[str, Any], Sprite | None]:
        """Return the mean over the channels of each signal as a line, all in one range."""
        lanes = lanes_of(shown.inputs.float())
        lines = lanes.mean(1)
        limits = (float(lines.min()), float(lines.max()))
        pictures = [lane_picture(lines[row], None, limits, height=TAB_HEIGHT) for row in rows]
        return {"size": list(lanes.shape[1:])}, picture_sprite(pictures, max_pixels=2 * PROBE_PIXELS)

    def window_axes(self, inputs: Tensor) -> tuple[int, ...]:
        """Return the axis of time."""
        return (-1,) if inputs.ndim == 2 or inputs.shape[2] >= inputs.shape[1] else (-2,)

    def heat(self, values: Tensor) -> Tensor:
        """Return attributions by time step, channels added up."""
        return lanes_of(values).sum(1)

    def exemplar_words(self, shown: Shown, heat: Tensor, row: int) -> tuple[str, ...]:  # noqa: ARG002
        """Return none: the picture says it."""
        return ()

    def exemplar_picture(self, exemplar: Exemplar, card: UnitCard, display: Display) -> Picture:  # noqa: ARG002
        """Draw the mean of the channels as a line, on the colours of what excites the unit."""
        n_steps = exemplar.box[0][1] - exemplar.box[0][0]
        line = exemplar.crop.float()
        line = line if line.ndim == 1 else line.mean(0 if line.shape[1] == n_steps else 1)
        colours = None if exemplar.heatmap is None else signed_colours(binned(exemplar.heatmap), card.scale)
        return lane_picture(line, colours, card.limits, height=LANE_HEIGHT)

    def tab_maps(self, shown: Shown, values: Tensor, rows: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return a row for each channel."""
        return binned(lanes_of(values), TAB_COLUMNS)


MODALITY = Signal()
