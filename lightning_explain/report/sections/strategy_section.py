"""Strategies of an attribution monitor: their number over time by class, and the last picture of them."""

import math
import re
from collections.abc import Sequence

from lightning_explain.report.charts import Line, chart
from lightning_explain.report.markup import Markup, clean, el, percent, png_address
from lightning_explain.report.pictures import opened, plain_picture
from lightning_explain.report.reading import Series

NUMBER = re.compile(r"strategies/([^/]+)")
MOST_LINES = 30


def strategy_block(series: Series, beside: Sequence[Series] = ()) -> Markup | None:
    """Show in how many ways the classes are decided; None where no strategies were looked for.

    Args:
        series: The monitor's events.
        beside: The same monitor of other runs, which share the scales of the charts.
    """
    classes = _classes(series)
    if not classes:
        return None
    return el(
        "div",
        el("h3", "Strategies: the ways in which each class is decided"),
        el("p", _summary(series, classes), class_="note"),
        el("div", *_charts(series, classes, beside), class_="charts"),
        _picture(series, "strategies", "Mean map and most typical samples of each strategy"),
        _picture(series, "strategies/filmstrip", "Mean map of each strategy over time"),
        class_="strategies",
    )


def _classes(series: Series) -> list[str]:
    """List the classes, those that ever had several strategies first."""
    named = [found[1] for found in map(NUMBER.fullmatch, series.metrics) if found is not None]
    return sorted(named, key=lambda name: (not _has_several(series, name), len(name), name))


def _has_several(series: Series, name: str) -> bool:
    return any(value > 1 for _, value in series.metrics[f"strategies/{name}"])


def _summary(series: Series, classes: Sequence[str]) -> str:
    last = max(step for name in classes for step, _ in series.metrics[f"strategies/{name}"])
    several = [
        f"{clean(name, 40)}: {number:.0f} ({percent(_at(series, f'strategies/{name}/share', last))} of its samples do "
        "not follow the largest)"
        for name in classes
        if (number := _at(series, f"strategies/{name}", last)) > 1
    ]
    more = f"; and {len(several) - MOST_LINES} more classes" if len(several) > MOST_LINES else ""
    return f"At step {last:,}: {'; '.join(several[:MOST_LINES]) or 'one for each class'}{more}."


def _at(series: Series, what: str, step: int) -> float:
    return dict(series.metrics.get(what, [])).get(step, math.nan)


def _lines(series: Series, classes: Sequence[str], suffix: str = "") -> list[Line]:
    found = {name: series.metrics.get(f"strategies/{name}{suffix}", []) for name in classes[:MOST_LINES]}
    return [
        Line(name, [(step, value, math.nan) for step, value in points], place)
        for place, (name, points) in enumerate(found.items())
    ]


def _charts(series: Series, classes: Sequence[str], beside: Sequence[Series]) -> list[Markup | None]:
    several = [name for name in classes if _has_several(series, name)]
    left = len(classes) - MOST_LINES
    note = f"{left} more classes are not drawn." if left > 0 else ""
    others = [line for other in beside for line in _lines(other, _classes(other))]
    return [
        chart("Number of strategies", _lines(series, classes), unit="strategies", note=note, beside=others),
        chart(
            "Share of the samples that do not follow the largest strategy",
            _lines(series, several, "/share"),
            unit="share",
            range_=(0, 1),
        ),
    ]


def _picture(series: Series, what: str, title: str) -> Markup | None:
    """Show the last picture that was logged of something."""
    found = series.pictures.get(what)
    pixels = None if found is None else opened(found[1])
    if found is None or pixels is None:
        return None
    words = f"{title}, at step {found[0]:,}"
    image = el("img", src=png_address(plain_picture(pixels)), alt=words, width=pixels.shape[1], height=pixels.shape[0])
    return el("div", image, class_="scroll", tabindex="0", role="region", aria_label=words)
