"""Line charts as SVG: bands for errors, a tooltip at every point, and the same values as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_explain.report.markup import Child, Markup, clean, el, join, short_number, table

WIDTH, HEIGHT = 460, 206
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 8, 38
DASHES = (None, "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "2 2 6 2")
MOST_ROWS = 40
MUCH = 8
"""How many times the middle value the largest one is, for the scale to be logarithmic."""


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: What the legend calls it.
        points: (step, value, error) each; NaN where undefined.
        colour: Number of its colour; -1 for that of the words.
        bold: Whether it stands out.
    """

    name: str
    points: list[tuple[int, float, float]]
    colour: int = 0
    bold: bool = False

    @property
    def dash(self) -> str | None:
        """Neighbours differ by their dashes, too, for colour-blind eyes; colours begin again at ten."""
        return None if self.colour < 0 else DASHES[(self.colour % 10 + self.colour // 10) % len(DASHES)]

    @property
    def kind(self) -> str:
        """The class of its colour in the style sheet."""
        return f"c{self.colour % 10}" if self.colour >= 0 else "whole"


def _marks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most or 1.0
    size = 10 ** math.floor(math.log10(rough))
    step = next(k * size for k in (1, 2, 5, 10) if k * size >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class _Frame:
    """Scales of steps and values."""

    first: float
    last: float
    low: float
    high: float
    log: bool = False

    def x(self, step: float) -> float:
        return LEFT + (step - self.first) / ((self.last - self.first) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / ((self.high - self.low) or 1)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.0, max(0.0, share)))


def _log_marks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(decades) > 3 else (1, 2, 5)
    return [k * 10.0**decade for decade in decades for k in steps if low <= k * 10.0**decade <= high]


def _frame(lines: list[Line], range_: tuple[float, float] | None) -> _Frame:
    """Choose the scales of steps and values; logarithmic where a few values are far above all others."""
    steps = [step for line in lines for step, _, _ in line.points]
    values = sorted(value for line in lines for _, value, _ in line.points if not math.isnan(value))
    tops = [value + error for line in lines for _, value, error in line.points if not math.isnan(value + error)]
    low, high = range_ or (0.0, max([*tops, *values], default=1.0) * 1.04 or 1.0)
    if range_ is None and values[0] > 0 and values[-1] > MUCH * values[len(values) // 2]:
        return _Frame(min(steps), max(steps), values[0] * 0.7, high * 1.2, log=True)
    return _Frame(min(steps), max(steps), low, high)


def _path(points: list[tuple[float, float]]) -> str:
    words, pen = "", False
    for x, y in points:
        there = not math.isnan(y)
        if there:
            words += f"{'L' if pen else 'M'}{x:.1f} {y:.1f}"
        pen = there
    return words


def _band(line: Line, frame: _Frame) -> str:
    known = [point for point in line.points if not math.isnan(point[1] + point[2])]
    if len(known) < 2:
        return ""
    upper = [(frame.x(step), frame.y(value + error)) for step, value, error in known]
    lower = [(frame.x(step), frame.y(max(frame.low, value - error))) for step, value, error in reversed(known)]
    return _path(upper) + _path(lower).replace("M", "L") + "Z"


def _drawn(line: Line, frame: _Frame) -> Markup:
    places = [(frame.x(step), frame.y(value) if not math.isnan(value) else math.nan) for step, value, _ in line.points]
    dots = [
        el("circle", el("title", _said(line, point)), cx=round(x, 1), cy=round(y, 1), r=2.6 if line.bold else 1.8)
        for point, (x, y) in zip(line.points, places, strict=True)
        if not math.isnan(y)
    ]
    return el(
        "g",
        el("path", d=_band(line, frame), class_="band"),
        el("path", d=_path(places), class_="bold line" if line.bold else "line", stroke_dasharray=line.dash),
        *(dots if len(dots) <= 80 else []),
        class_=line.kind,
    )


def _said(line: Line, point: tuple[int, float, float]) -> str:
    error = "" if math.isnan(point[2]) else f" ± {short_number(point[2])}"
    return f"{clean(line.name)}, step {point[0]:,}: {short_number(point[1])}{error}"


def score_range(lines: list[Line]) -> tuple[float, float]:
    """Choose the range of scores: up to 1, from below the lowest.

    Example:
        >>> score_range([Line("F1", [(0, 0.87, 0.0)])])
        (0.8, 1.0)
    """
    values = [value for line in lines for _, value, _ in line.points if not math.isnan(value)]
    return max(0.0, math.floor((min([*values, 1.0]) - 0.05) * 10) / 10), 1.0


def _known(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if any(not math.isnan(value) for _, value, _ in line.points)]


def _axis_titles(unit: str) -> list[Markup]:
    middle = (HEIGHT - BOTTOM + TOP) / 2
    across = el(
        "text", "training step", x=(WIDTH + LEFT - RIGHT) / 2, y=HEIGHT - 5, text_anchor="middle", class_="axis"
    )
    up = el(
        "text", unit, x=0, y=0, transform=f"translate(11 {middle}) rotate(-90)", text_anchor="middle", class_="axis"
    )
    return [across, up]


def chart(
    title: str,
    lines: list[Line],
    *,
    unit: str = "",
    range_: tuple[float, float] | None = None,
    note: str = "",
    beside: Sequence[Line] = (),
) -> Markup | None:
    """Draw a chart; None where no line has a point.

    Args:
        title: What is drawn.
        lines: The curves; bold ones come last, on top.
        unit: Title of the axis of values.
        range_: Lowest and highest value; by default from 0 to the highest.
        note: Said below it.
        beside: Curves of other charts that share its scales.
    """
    lines = _known(lines)
    if not lines:
        return None
    frame = _frame([*lines, *_known(beside)], range_)
    grid = [
        el(
            "g",
            el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=round(frame.y(mark), 1), y2=round(frame.y(mark), 1)),
            el("text", short_number(mark), x=LEFT - 6, y=round(frame.y(mark) + 3.5, 1), text_anchor="end"),
            class_="tick",
        )
        for mark in (_log_marks(frame.low, frame.high) if frame.log else _marks(frame.low, frame.high, 4))
    ]
    below = [
        el("text", f"{mark:,.0f}", x=round(frame.x(mark), 1), y=HEIGHT - 21, text_anchor="middle", class_="tick")
        for mark in _marks(frame.first, frame.last, 5)
        if mark == int(mark)
    ]
    drawn = [_drawn(line, frame) for line in sorted(lines, key=lambda line: line.bold)]
    plot = el(
        "svg",
        *grid,
        *below,
        *_axis_titles(f"{unit}, logarithmic" if frame.log else unit),
        *drawn,
        view_box=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: values below",
    )
    return el(
        "div",
        el("h4", title, el("small", ", logarithmic") if frame.log else None),
        plot,
        _legend(lines) if len(lines) > 1 else None,
        el("p", note, class_="note") if note else None,
        _values_table(title, lines),
        class_="chart",
    )


def _legend(lines: list[Line]) -> Markup:
    keys = [
        el(
            "li",
            el(
                "svg",
                el("line", x1=0, x2=22, y1=5, y2=5, class_="bold line" if line.bold else "line",
                   stroke_dasharray=line.dash),
                class_=f"swatch {line.kind}", view_box="0 0 22 10", aria_hidden="true",
            ),
            el("bdi", clean(line.name, 40)),
        )
        for line in lines
    ]  # fmt: skip
    return el("ul", *keys, class_="legend")


def _values_table(title: str, lines: list[Line]) -> Markup:
    steps = sorted({step for line in lines for step, _, _ in line.points})
    shown = (
        steps if len(steps) <= MOST_ROWS else [steps[k * (len(steps) - 1) // (MOST_ROWS - 1)] for k in range(MOST_ROWS)]
    )
    by_step = [{step: (value, error) for step, value, error in line.points} for line in lines]

    def cell(found: dict[int, tuple[float, float]], step: int) -> Child:
        value, error = found.get(step, (math.nan, math.nan))
        return (
            short_number(value)
            if math.isnan(error)
            else join(short_number(value), el("small", f" ± {short_number(error)}"))
        )

    rows: list[list[Child]] = [[f"{step:,}", *(cell(found, step) for found in by_step)] for step in shown]
    head: list[Child] = ["step", *(el("bdi", clean(line.name, 24)) for line in lines)]
    return el("details", el("summary", "The values"), table(head, rows, caption=title))
