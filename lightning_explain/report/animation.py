"""Heatmaps over time as an animated GIF: each sample beside its heatmap, a frame for each explanation."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightning_explain.report.filmstrip import ReportFilm, films, inputs, spread
from lightning_explain.report.layouts import layout_of
from lightning_explain.report.pictures import AGAINST, FOR, RISE, Numbers
from lightning_explain.report.reading import LoggedRun, Series

MOST_FRAMES = 60
SIDE = 56
"""Pixels of a picture's longer side."""

GAP, HEAD = 6, 30
COLUMNS = 5
FRAME_MS, LAST_MS = 500, 2000


def heatmap_film(run: LoggedRun) -> tuple[Series, ReportFilm] | None:
    """Find the heatmaps that an animation shows: the first monitor's, by its first method; None if there are none."""
    for series in run.of("attribution"):
        for film in films(series, MOST_FRAMES):
            if layout_of(film) == "pictures":
                return series, film
    return None


def _painted(values: Numbers, full: float) -> Image.Image:
    """Paint a heatmap on white."""
    strength = np.clip(np.abs(np.nan_to_num(values)) / (full if full > 0 else 1), 0, 1)[..., None] ** RISE
    colour = np.where((np.nan_to_num(values) >= 0)[..., None], np.array(FOR), np.array(AGAINST))
    pixels = np.rint(255 + strength * (colour - 255)).astype(np.uint8)
    pixels[np.isnan(values)] = 160
    return Image.fromarray(pixels)


def _fitted(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)


def write_animation(path: Path, series: Series, film: ReportFilm, *, most_samples: int) -> None:
    """Write the GIF.

    Args:
        path: Where to; what is there is replaced.
        series: The monitor's events, for the inputs.
        film: Its heatmaps.
        most_samples: Most samples, of each class in turn.
    """
    samples = film.chosen(most_samples)
    pictures = {sample: _fitted(Image.fromarray(pixels)) for sample, pixels in inputs(series, samples).items()}
    n_columns = min(COLUMNS, len(samples))
    cell = 2 * SIDE + 2 + GAP
    size = (GAP + n_columns * cell, HEAD + -(-len(samples) // n_columns) * (SIDE + GAP))
    frames: list[Image.Image] = []
    for place in spread(len(film.frames), MOST_FRAMES):
        frame = film.frames[place]
        canvas = Image.new("RGB", size, (255, 255, 255))
        font = ImageFont.load_default(size=16)
        ImageDraw.Draw(canvas).text((GAP, 6), f"step {frame.step:,}", fill=(28, 36, 48), font=font)
        for k, sample in enumerate(samples):
            left, top = GAP + k % n_columns * cell, HEAD + k // n_columns * (SIDE + GAP)
            if sample in pictures:
                canvas.paste(pictures[sample], (left, top))
            values = frame.maps[sample] if sample < len(frame.maps) else None
            if values is not None:
                canvas.paste(_fitted(_painted(values, film.full)), (left + SIDE + 2, top))
        frames.append(canvas.quantize(128, dither=Image.Dither.NONE))
    waits = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=waits, loop=0)
