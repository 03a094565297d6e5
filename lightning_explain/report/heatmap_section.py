"""What a page says of an attribution monitor: drift with its error, and heatmaps over time."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lightning_explain.report.charts import Line, chart
from lightning_explain.report.checked import class_name, items, mapping, numbers, words
from lightning_explain.report.filmstrip import Frame, ReportFilm, films, inputs
from lightning_explain.report.markup import UNKNOWN, Child, Markup, clean, el, figure, join, png_address, table
from lightning_explain.report.pictures import RISE, Bytes, plain_picture, signed_picture
from lightning_explain.report.reading import Series, points

MOST_FEATURES = 12
SHADES = 6
"""Strengths of colour behind a word; the style sheet has them."""

MINUS = "\u2212"
ALWAYS = {"previous": "the previous explanation", "first": "the first explanation"}
MOST_REFERENCES = 8
LONGEST_REFERENCE = 40
FIGURES = {
    "mass_in_mask": "Share of the attribution inside the mask",
    "total_attribution": "Total attribution (usually rises as the scores grow)",
}


def references(series: Iterable[Series]) -> dict[str, str]:
    """Name what drift is measured against, and say what it is: the previous, the first, and what the user named."""
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
            chart(title, [*lines, whole], note="The band is the error; below it, drift cannot be told from none.")
        )
    for what, title in FIGURES.items():
        line = Line(title, [(step, value, math.nan) for step, value in series.figures.get(what, [])], -1, bold=True)
        made.append(chart(title, [line], range_=(0, 1) if what == "mass_in_mask" else None))
    return made


def heatmap_block(series: Series, *, most_steps: int, most_samples: int) -> Markup:
    """Show one run's heatmaps over time, method by method."""
    made = [_film(film, series, most_samples) for film in films(series, most_steps)]
    return join(*made) if made else el("p", "No heatmaps are in the events.", class_="note")


def _film(film: ReportFilm, series: Series, most_samples: int) -> Markup:
    form = words(film.frames[-1].header.get("form"))
    samples = film.chosen(most_samples)
    if form == "table":
        return _feature_block(film, series)
    if form == "tokens":
        return _texts(film, series, samples)
    if form not in ("image", "signal"):
        return el("p", f"{clean(film.method)}: inputs of this form have no picture.", class_="note")
    pictures = inputs(series, samples)
    head: list[Child] = ["label", "input", *(f"{frame.step:,}" for frame in film.frames)]
    rows = [[_named(film, sample), _input(pictures.get(sample)), *_cells(film, sample)] for sample in samples]
    kept = f"{len(samples)} of {film.n_samples} samples, " if len(samples) < film.n_samples else ""
    said = f"{kept}{len(film.frames)} of {len(series.events)} explanations; columns are training steps."
    return el(
        "div",
        el("h4", f"Heatmaps by {clean(film.method)}"),
        el("p", said, " Underlined in red: the network took the sample for another class.", class_="note"),
        _scale(film),
        table(head, rows, caption=f"Heatmaps by {clean(film.method)}, by sample and step", class_="film"),
    )


def _named(film: ReportFilm, sample: int) -> Child:
    return el("bdi", clean(film.sample_name(sample), 24))


def _picture(png: bytes, said: str, *, small: bool, class_: str = "") -> Markup:
    return el("img", src=png_address(png), alt=said, title=said, class_=f"{class_}{' pixels' if small else ''}".strip())


def _input(pixels: Bytes | None) -> Child:
    return None if pixels is None else _picture(plain_picture(pixels), "input", small=pixels.shape[0] < 64)


def _cells(film: ReportFilm, sample: int) -> list[Child]:
    return [_cell(frame, sample, film.full) for frame in film.frames]


def _cell(frame: Frame, sample: int, full: float) -> Child:
    values = frame.maps[sample] if sample < len(frame.maps) else None
    if values is None:
        return UNKNOWN
    name, right = frame.verdict(sample)
    said = f"step {frame.step:,}: taken for {clean(name, 40)}" if name else f"step {frame.step:,}"
    wrong = "wrong" if right is False else ""
    return _picture(signed_picture(values, full), said, small=len(values) < 64, class_=wrong)


def _scale(film: ReportFilm) -> Markup:
    ramp = signed_picture(np.linspace(-1, 1, 64, dtype=np.float32)[None], 1.0)
    ends = figure(film.full)
    low, high = ("lowers the output", "raises it") if film.unit == "output" else ("against", "for the class")
    return el(
        "p",
        f"{low} {MINUS}{ends} ",
        el("img", src=png_address(ramp), alt="blue over nothing to red", class_="ramp"),
        f" +{ends} {high}, in {clean(film.unit)}",
        class_="scale",
    )


def _texts(film: ReportFilm, series: Series, samples: Sequence[int]) -> Markup:
    """Show texts at the last step, each word in the colour of its attribution."""
    last = film.frames[-1]
    texts = [items(text) for text in items(mapping(series.probe.header if series.probe else {}).get("tokens"))]
    rows: list[list[Child]] = []
    for sample in samples:
        values = last.maps[sample] if sample < len(last.maps) else None
        words_of = texts[sample] if sample < len(texts) else []
        if values is not None:
            rows.append([_named(film, sample), _coloured(words_of, values.ravel().tolist(), film.full)])
    title = f"Texts by {clean(film.method)} at step {last.step:,}"
    return join(el("h4", title), _scale(film), table(["label", "text"], rows, caption=title, class_="texts"))


def _coloured(text: list[Any], values: list[float], full: float) -> Markup:
    made: list[Child] = []
    for word, value in zip(text, values, strict=False):
        if not isinstance(word, str):
            continue  # padding
        strength = 0 if math.isnan(value) else round(SHADES * min(1.0, abs(value) / (full or 1)) ** RISE)
        kind = f"{'for' if value > 0 else 'against'}-{strength}" if strength else None
        made += [el("span", clean(word, 40), class_=kind, title=figure(value)), " "]
    return el("bdi", *made)


def _feature_block(film: ReportFilm, series: Series) -> Markup:
    """Show tabular attributions: for each class the mean of every feature over time."""
    header = film.frames[-1].header
    labels = [film.sample_name(sample) for sample in range(film.n_samples)]
    names = [words(name) for name in items(mapping(series.probe.header if series.probe else {}).get("features"))]
    blocks: list[Markup] = []
    for label in list(dict.fromkeys(labels if header.get("labels") else ["all samples"] * len(labels)))[:30]:
        members = [sample for sample, name in enumerate(labels) if name == label or not header.get("labels")]
        blocks.append(_class_features(film, members, label, names))
    return join(el("h4", f"Attributions by {clean(film.method)}, mean of each class"), _scale(film), *blocks)


def _class_features(film: ReportFilm, members: Sequence[int], label: str, names: list[str]) -> Markup:
    columns: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    for frame in film.frames:
        maps = [frame.maps[sample] for sample in members if sample < len(frame.maps)]
        there = [values.ravel() for values in maps if values is not None]
        columns.append(np.mean(there, axis=0).astype(np.float32) if there else np.full(1, np.nan, np.float32))
    width = min(len(column) for column in columns)
    over_time = np.stack([column[:width] for column in columns], axis=1)
    order = np.argsort(-np.abs(np.nan_to_num(over_time[:, -1])))[:MOST_FEATURES]
    rows: list[list[Child]] = [
        [
            el("bdi", clean(names[f] if f < len(names) else f"feature {f}", 30)),
            _picture(signed_picture(over_time[f][None], film.full), "over the steps", small=True, class_="strip"),
            figure(float(over_time[f, 0])),
            figure(float(over_time[f, -1])),
        ]
        for f in order.tolist()
    ]  # fmt: skip
    steps = [frame.step for frame in film.frames]
    head: list[Child] = ["feature", "over time", f"step {steps[0]:,}", f"step {steps[-1]:,}"]
    return table(head, rows, caption=f"{clean(label, 40)}", class_="features")
