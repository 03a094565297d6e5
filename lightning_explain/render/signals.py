"""Time series and audio: the signal as a line, on the colours of its attribution."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_explain.render.canvas import INK, below, beside, grid, text
from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.page_layout import colour_scale, legend, legends, titled
from lightning_explain.render.panels import Panel, in_words
from lightning_explain.render.shown_inputs import spread_rows

MOST_COLUMNS = 240
"""Longer signals are put together to so many columns."""

MOST_SAMPLES = 24
MOST_LANES = 8
"""Channels drawn: those of the largest attribution."""

SHADE = 0.85
"""Brightness of what lies inside the outline of a dense signal."""

LANE_HEIGHT = 44
FEWEST_PIXELS = 18
FILM_ROW = 12
LABEL_WIDTH = 44

Values = npt.NDArray[np.float64]


def lanes_of(signals: Tensor) -> Tensor:
    """Bring signals [batch, time], [batch, channels, time] or [batch, time, channels] to [batch, channels, time].

    The longer side is the time.
    """
    if signals.ndim == 2:
        return signals[:, None]
    return signals if signals.shape[2] >= signals.shape[1] else signals.transpose(1, 2)


def binned(values: Tensor, n_bins: int = MOST_COLUMNS) -> Tensor:
    """Add up neighbouring time steps [..., time] into at most so many columns, so that the sum stays the same.

    Example:
        >>> binned(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), 2)
        tensor([6., 9.])
    """
    n_steps = values.shape[-1]
    if n_steps <= n_bins:
        return values
    total = torch.zeros(*values.shape[:-1], n_bins, dtype=values.dtype)
    return total.index_add_(-1, bin_of_step(n_steps, n_bins), values)


def bin_of_step(n_steps: int, n_bins: int) -> Tensor:
    """Return the column of each time step."""
    return torch.arange(n_steps) * n_bins // n_steps


def said_of_bins(signals: Tensor) -> str:
    """Say how many time steps a column adds up; empty where each has its own."""
    n_steps = lanes_of(signals).shape[-1]
    if n_steps <= MOST_COLUMNS:
        return ""
    sizes = torch.bincount(bin_of_step(n_steps, MOST_COLUMNS))
    low, high = int(sizes.min()), int(sizes.max())
    words = str(low) if low == high else f"{low} to {high}"
    return f"Each column adds up the attribution of {words} of {n_steps:,} time steps; the line spans their values."


def _envelope(signal: Values, n_bins: int) -> tuple[Values, Values]:
    """Return the smallest and largest value of each column."""
    starts = np.unique((np.arange(n_bins) * len(signal) + n_bins - 1) // n_bins)
    return np.minimum.reduceat(signal, starts), np.maximum.reduceat(signal, starts)


def _span(signal: Values, width: int) -> tuple[Values, Values]:
    """Return lower and upper end of the line in each of `width` pixel columns, joined to its neighbour."""
    if len(signal) > width:
        low, high = _envelope(signal, width)
    else:
        at = (np.arange(width) + 0.5) * len(signal) / width - 0.5
        low = high = np.interp(at, np.arange(len(signal)), signal)
    joined_low = np.minimum(low[1:], high[:-1])
    joined_high = np.maximum(high[1:], low[:-1])
    # each column reaches to where the one before ends
    return np.r_[low[:1], np.minimum(low[1:], joined_low)], np.r_[high[:1], np.maximum(high[1:], joined_high)]


def lane_picture(signal: Tensor, colours: Picture | None, limits: tuple[float, float], *, height: int) -> Picture:
    """Draw one channel: uint8 [height, width, 3].

    Args:
        signal: [time].
        colours: What is behind the line in each column [columns, 3]; None for white.
        limits: Values at the lower and the upper edge.
        height: In pixels.
    """
    n_columns = min(len(signal), MOST_COLUMNS)
    times = max(1, MOST_COLUMNS // n_columns)
    ground = np.full((n_columns, 3), 255, dtype=np.uint8) if colours is None else colours
    picture = np.repeat(np.repeat(ground, times, axis=0)[None], height, axis=0)
    low, high = _span(signal.double().numpy(), n_columns * times)
    size = max(limits[1] - limits[0], 1e-12)
    top, bottom = (
        np.rint((1 - (ends - limits[0]) / size) * (height - 3) + 1).clip(0, height - 1) for ends in (high, low)
    )
    rows = np.arange(height)[:, None]
    span = (rows >= top) & (rows <= bottom)
    inside = _inside(span)
    # of what is dense only the outline is ink, or it would hide the colours
    picture[inside] = (picture[inside] * SHADE).astype(np.uint8)
    picture[span & ~inside] = INK
    return picture


def _inside(span: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels whose four neighbours are marked too."""
    padded = np.pad(span, 1, constant_values=False)
    return span & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


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
    words = [title, said_of_bins(inputs), _said_of_choice(len(rows), len(lanes), channels, lanes.shape[1])]
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
    words = f"{title}{summed} {said_of_bins(inputs)}".strip()
    return titled(grid(cells, min(2, len(cells)), gap=14), words, legend(scale, unit))
