"""The section of an attribution monitor: drift with its error, and attributions over time."""

import math
from collections.abc import Iterable, Sequence

from lightning_explain.report.charts import Line, chart
from lightning_explain.report.checked import class_name, mapping, numbers, words
from lightning_explain.report.distance import between, unlike
from lightning_explain.report.filmstrip import films, method_names
from lightning_explain.report.layouts import laid_out
from lightning_explain.report.markup import Markup, clean, el, join
from lightning_explain.report.reading import Series, points

ALWAYS = {"previous": "the previous explanation", "first": "the first explanation"}
MOST_REFERENCES = 8
LONGEST_REFERENCE = 40
CHARTS = {
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


def _drift_lines(series: Series, reference: str) -> list[Line]:
    header = series.events[-1].header
    lines = [
        drift_line(series, reference, class_name(header, int(c) if c.isdecimal() else -1), of_class=c, colour=place)
        for place, c in enumerate(_classes(series))
    ]
    return [*lines, Line("all samples", drift_line(series, reference, "").points, -1, bold=True)]


def _figure_line(series: Series, what: str, title: str) -> Line:
    return Line(title, [(step, value, math.nan) for step, value in series.metrics.get(what, [])], -1, bold=True)


def drift_charts(series: Series, beside: Sequence[Series] = ()) -> list[Markup | None]:
    """Draw one run's drift, in all and by class, on the scale that it shares with other runs."""
    made: list[Markup | None] = []
    for reference, said in references([series]).items():
        made.append(
            chart(
                f"Drift to {said} ({measure_of(series)} distance)",
                _drift_lines(series, reference),
                unit=f"{measure_of(series)} distance",
                note="The band is the error; drift below it is not distinguishable from none.",
                beside=[line for other in beside for line in _drift_lines(other, reference)],
            )
        )
    for what, title in CHARTS.items():
        others = [_figure_line(other, what, title) for other in beside]
        range_ = (0, 1) if what == "mass_in_mask" else None
        unit = {"mass_in_mask": "share", "total_attribution": "sum of |attributions|"}.get(what, "")
        made.append(chart(title, [_figure_line(series, what, title)], unit=unit, range_=range_, beside=others))
    return made


def between_charts(pairs: Sequence[tuple[str, Series]], most_steps: int) -> list[Markup | None]:
    """Draw the drift between the first run and each of the others, where they explain the same probe; else say why not.

    Args:
        pairs: Each run's name and events of the monitor.
        most_steps: Most points of a curve.
    """
    (name, first), *others = pairs
    reasons = [(other, unlike(first, series)) for other, series in others]
    made: list[Markup | None] = [
        el("p", f"No drift between {clean(name)} and {clean(other)}: {reason}.", class_="note")
        for other, reason in reasons
        if reason
    ]
    alike = [pair for pair, (_, reason) in zip(others, reasons, strict=True) if not reason]
    for method in method_names(first):
        lines = [
            Line(f"{name} and {other}", between(first, series, method, most_steps), place, bold=True)
            for place, (other, series) in enumerate(alike)
        ]
        without = [line for line in lines if not line.points]
        title = f"Drift between the runs, {clean(method, 60)} (cosine distance)"
        note = "Of the same samples, at the steps that both runs have. The band is the error."
        made.append(chart(title, lines, unit="cosine distance", note=note))
        made += [
            el("p", f"{clean(line.name)} have no step in common by {clean(method, 60)}.", class_="note")
            for line in without
        ]
    return made


def heatmap_block(series: Series, *, most_steps: int, most_samples: int, beside: Sequence[Series] = ()) -> Markup:
    """Show one run's heatmaps over time, method by method, on the scale that it shares with other runs."""
    made = [laid_out(film, series, most_samples) for film in films(series, most_steps, beside)]
    return join(*made) if made else el("p", "No heatmaps are in the events.", class_="note")
