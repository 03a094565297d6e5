"""The section of an attribution monitor: drift with its error, and attributions over time."""

import math
from collections.abc import Iterable

from lightning_explain.report.charts import Line, chart
from lightning_explain.report.checked import class_name, mapping, numbers, words
from lightning_explain.report.filmstrip import films
from lightning_explain.report.layouts import laid_out
from lightning_explain.report.markup import Markup, clean, el, join
from lightning_explain.report.reading import Series, points

ALWAYS = {"previous": "the previous explanation", "first": "the first explanation"}
MOST_REFERENCES = 8
LONGEST_REFERENCE = 40
FIGURES = {
    "mass_in_mask": "Share of the attribution inside the mask",
    "total_attribution": "Total attribution (usually rises as the scores grow)",
}


def references(series: Iterable[Series]) -> dict[str, str]:
    """Return the references of drift with their descriptions: previous, first, and those that the user named."""
    curves = (curve for one in series for _, curve in points(one))
    named = dict.fromkeys(key for curve in curves for key in mapping(curve.get("drift")) if key not in ALWAYS)
    return {**ALWAYS, **{name: clean(name, LONGEST_REFERENCE) for name in list(named)[:MOST_REFERENCES]}}


def drift_line(series: Series, reference: str, name: str, *, of_class: str | None = None, colour: int = 0) -> Line:
    """Read a drift curve: (step, distance, error) each."""
    found: list[tuple[int, float, float]] = []
    for step, curve in points(series):
        drift = mapping(mapping(curve.get("drift")).get(reference))
        pair = numbers(drift.get("all") if of_class is None else mapping(drift.get("classes")).get(of_class))
        if len(pair) == 2:
            found.append((step, pair[0], pair[1]))
    return Line(name, found, colour, bold=of_class is None)


def measure_of(series: Series) -> str:
    """Name the measure of drift."""
    drifts = [mapping(mapping(curve.get("drift")).get("previous")) for _, curve in points(series)]
    return next((words(drift.get("measure")) for drift in drifts if drift.get("measure")), "cosine")


def _classes(series: Series) -> list[str]:
    found: set[str] = set()
    for _, curve in points(series):
        found.update(mapping(mapping(mapping(curve.get("drift")).get("previous")).get("classes")))
    return sorted(found, key=lambda c: (len(c), c))[:30]


def drift_charts(series: Series) -> list[Markup | None]:
    """Draw one run's drift, in all and by class."""
    header = series.events[-1].header
    made: list[Markup | None] = []
    for reference, said in references([series]).items():
        lines = [
            drift_line(series, reference, class_name(header, int(c) if c.isdecimal() else -1), of_class=c, colour=place)
            for place, c in enumerate(_classes(series))
        ]
        whole = Line("all samples", drift_line(series, reference, "").points, -1, bold=True)
        title = f"Drift to {said} ({measure_of(series)} distance)"
        made.append(
            chart(
                title, [*lines, whole], note="The band is the error; drift below it is not distinguishable from none."
            )
        )
    for what, title in FIGURES.items():
        line = Line(title, [(step, value, math.nan) for step, value in series.metrics.get(what, [])], -1, bold=True)
        made.append(chart(title, [line], range_=(0, 1) if what == "mass_in_mask" else None))
    return made


def heatmap_block(series: Series, *, most_steps: int, most_samples: int) -> Markup:
    """Show one run's heatmaps over time, method by method."""
    made = [laid_out(film, series, most_samples) for film in films(series, most_steps)]
    return join(*made) if made else el("p", "No heatmaps are in the events.", class_="note")
