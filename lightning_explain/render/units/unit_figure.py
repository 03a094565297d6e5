"""One unit as a matplotlib figure for notebooks: exemplars, rates by class, accuracy of each class without the unit."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_explain.display import Display
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.render.modalities.image import input_pictures

MOST_BARS = 12
"""Classes with a bar."""

MOST_WORDS = 30
RED, BLUE, GREEN = "#b2182b", "#2166ac", "#14713f"


def unit_figure(
    card: UnitCard | None,
    *,
    title: str,
    captions: Sequence[str],
    rates: Sequence[tuple[str, float]],
    changes: Sequence[tuple[str, float, float]],
    display: Display | None = None,
) -> Figure:
    """Draw what is known of a unit.

    Args:
        card: Its `UnitCard`; None where no exemplars of it were fetched.
        title: What the figure shows.
        captions: Of the exemplars.
        rates: Class and share of its samples for which the unit is active, the largest first.
        changes: Class, change of its accuracy without the unit, and standard error; the worst first; empty where that
            was not measured.
        display: How samples are shown.
    """
    shown = [] if card is None else list(card.exemplars)
    figure = Figure(figsize=(max(7.0, 1.9 * len(shown)), 6.2 if shown else 3.2), layout="constrained")
    bars: Any = figure
    if shown:
        # numpy arrays, which their annotations do not tell
        above_bars, bars = cast(Any, figure.subfigures(2, 1, height_ratios=(3, 2)))
        places = above_bars.subplots(2, len(shown), squeeze=False)
        for exemplar, caption, above, below in zip(shown, captions, places[0], places[1], strict=True):
            assert card is not None  # it has exemplars
            above.set_axis_off()
            below.set_axis_off()
            DRAWN.get(card.form, _words)(above, below, card, exemplar, display)
            above.set_title(_plain(caption), fontsize=8)
    left, right = bars.subplots(1, 2)
    _rates(left, rates[:MOST_BARS])
    _changes(right, changes[:MOST_BARS])
    figure.suptitle(_plain(title), fontsize=10)
    return figure


def _plain(words: str) -> str:
    # a lone dollar sign would start matplotlib's mathematics
    return words.replace("$", r"\$")


def _image(above: Axes, below: Axes, card: UnitCard, exemplar: Exemplar, display: Display | None) -> None:
    """Draw the crop, and below it what excites the unit over the crop in grey."""
    picture = input_pictures(exemplar.crop[None], display, limits=card.limits)[0]
    above.imshow(picture)
    if exemplar.heatmap is not None:
        rows, columns = picture.shape[:2]
        place = (-0.5, columns - 0.5, rows - 0.5, -0.5)
        below.imshow(picture.mean(2), cmap="gray", vmin=0, vmax=255)
        strength = np.sqrt(np.clip(np.abs(exemplar.heatmap.numpy()) / (card.scale or 1), 0, 1))
        below.imshow(
            exemplar.heatmap.numpy(),
            cmap="RdBu_r",
            alpha=0.85 * strength,
            vmin=-card.scale,
            vmax=card.scale,
            extent=place,
        )


def _bars(axes: Axes, values: Sequence[float]) -> None:
    axes.bar(np.arange(len(values)), values, width=1.0, color=[RED if value > 0 else BLUE for value in values])
    axes.axhline(0, color="#999999", linewidth=0.6)


def _signal(above: Axes, below: Axes, card: UnitCard, exemplar: Exemplar, display: Display | None) -> None:  # noqa: ARG001
    """Draw the mean of the channels over time, and below it what excites the unit."""
    line = exemplar.crop.float()
    n_steps = exemplar.box[0][1] - exemplar.box[0][0] if exemplar.box else line.shape[-1]
    above.plot((line if line.ndim == 1 else line.mean(0 if line.shape[-1] == n_steps else -1)).numpy(), linewidth=1)
    if exemplar.heatmap is not None:
        _bars(below, exemplar.heatmap.tolist())


def _tokens(above: Axes, below: Axes, card: UnitCard, exemplar: Exemplar, display: Display | None) -> None:
    """Write the tokens, and draw below them what each adds."""
    _words(above, below, card, exemplar, display)
    if exemplar.heatmap is not None:
        values = exemplar.heatmap[:MOST_WORDS].tolist()
        _bars(below, values)
        for place, word in enumerate(exemplar.words[:MOST_WORDS]):
            below.text(place, 0, _plain(word[:12]), rotation=90, fontsize=6, ha="center", va="bottom")


def _words(above: Axes, below: Axes, card: UnitCard, exemplar: Exemplar, display: Display | None) -> None:  # noqa: ARG001
    """Write the strongest features, or the tokens."""
    gap = " " if card.form == "tokens" else "\n"
    words = _plain(gap.join(exemplar.words[:MOST_WORDS]))
    above.text(0, 1, words, va="top", fontsize=8, wrap=True, transform=above.transAxes)


Draw = Callable[[Axes, Axes, UnitCard, Exemplar, Display | None], None]
DRAWN: dict[str | None, Draw] = {
    "image": _image,
    "signal": _signal,
    "tokens": _tokens,
}
"""How exemplars of a form are drawn; of other forms their words are written."""


def _rates(axes: Axes, rates: Sequence[tuple[str, float]]) -> None:
    places = np.arange(len(rates))[::-1]
    axes.barh(places, [100 * rate for _, rate in rates], color=GREEN)
    axes.set_yticks(places, [_plain(name[:20]) for name, _ in rates])
    axes.set_xlim(0, 100)
    axes.set_title("active for, % of samples", fontsize=9)
    axes.tick_params(labelsize=8)


def _changes(axes: Axes, changes: Sequence[tuple[str, float, float]]) -> None:
    axes.set_title("accuracy without it, change in points", fontsize=9)
    axes.tick_params(labelsize=8)
    if not changes:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, fontsize=9)
        axes.set_axis_off()
        return
    places = np.arange(len(changes))[::-1]
    points, errors = [100 * change for _, change, _ in changes], [100 * error for _, _, error in changes]
    axes.errorbar(points, places, xerr=errors, fmt="o", color=BLUE)
    axes.set_yticks(places, [_plain(name[:20]) for name, _, _ in changes])
    axes.axvline(0, color="#999999", linewidth=0.8)
