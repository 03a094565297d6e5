"""Layouts of samples and their attributions: pictures, words, bars by class, or a list for each sample."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from lightning_explain.report.checked import items, mapping, words
from lightning_explain.report.filmstrip import Frame, ReportFilm, inputs
from lightning_explain.report.markup import UNKNOWN, Child, Markup, clean, el, join, png_address, short_number, table
from lightning_explain.report.pictures import RISE, Bytes, plain_picture, signed_picture
from lightning_explain.report.reading import Series

MOST_FEATURES = 12
SHADES = 6
"""Strengths of colour behind a word; the style sheet has them."""

MINUS = "\u2212"

BEFORE_LAYOUTS = {"image": "pictures", "signal": "pictures", "tokens": "words", "table": "bars"}
"""Layouts of the kinds of input that were written before events named a layout."""


def layout_of(film: ReportFilm) -> str:
    """Return the layout that the events of a film name; empty for none."""
    header = film.frames[-1].header
    return words(header.get("layout")) or BEFORE_LAYOUTS.get(words(header.get("form")), "")


def laid_out(film: ReportFilm, series: Series, most_samples: int) -> Markup:
    """Show one method's attributions of a probe over time, whatever kind of input it holds."""
    layout = LAYOUTS.get(layout_of(film))
    if layout is None:
        return el("p", f"{clean(film.method)}: inputs of this form have no picture.", class_="note")
    return layout(film, series, film.chosen(most_samples))


def _pictures(film: ReportFilm, series: Series, samples: Sequence[int]) -> Markup:
    """Show a heatmap for each sample and step."""
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
    ends = short_number(film.full)
    low, high = ("lowers the output", "raises it") if film.unit == "output" else ("against", "for the class")
    return el(
        "p",
        f"{low} {MINUS}{ends} ",
        el("img", src=png_address(ramp), alt="blue over nothing to red", class_="ramp"),
        f" +{ends} {high}, in {clean(film.unit)}",
        class_="scale",
    )


def _words(film: ReportFilm, series: Series, samples: Sequence[int]) -> Markup:
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
        made += [el("span", clean(word, 40), class_=kind, title=short_number(value)), " "]
    return el("bdi", *made)


def _bars(film: ReportFilm, series: Series, samples: Sequence[int]) -> Markup:  # noqa: ARG001 - means are of all
    """Show the mean of every feature over time, for each class."""
    header = film.frames[-1].header
    labels = [film.sample_name(sample) for sample in range(film.n_samples)]
    names = [words(name) for name in items(mapping(series.probe.header if series.probe else {}).get("features"))]
    blocks: list[Markup] = []
    for label in list(dict.fromkeys(labels if header.get("labels") else ["all samples"] * len(labels)))[:30]:
        members = [sample for sample, name in enumerate(labels) if name == label or not header.get("labels")]
        blocks.append(_features(film, members, label, names))
    return join(el("h4", f"Attributions by {clean(film.method)}, mean of each class"), _scale(film), *blocks)


def _lists(film: ReportFilm, series: Series, samples: Sequence[int]) -> Markup:
    """Show the strongest named positions of each sample over time."""
    all_names = [items(names) for names in items(mapping(series.probe.header if series.probe else {}).get("names"))]
    blocks: list[Markup] = []
    for sample in samples:
        names: list[Any] = all_names[sample] if sample < len(all_names) else []
        label, right = film.frames[-1].verdict(sample)
        said = f", taken for {clean(label, 40)}" if right is False else ""
        # padding has no name
        hidden = {place for place, name in enumerate(names) if name is None}
        listed = [words(name) for name in names]
        blocks.append(_features(film, [sample], f"{sample + 1}: {film.sample_name(sample)}{said}", listed, hidden))
    kept = f", {len(samples)} of {film.n_samples} samples" if len(samples) < film.n_samples else ""
    return join(el("h4", f"Attributions by {clean(film.method)}, by sample{kept}"), _scale(film), *blocks)


def _features(
    film: ReportFilm, members: Sequence[int], label: str, names: list[str], hidden: Collection[int] = ()
) -> Markup:
    """Show the strongest features over time, averaged over some samples."""
    columns: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    for frame in film.frames:
        maps = [frame.maps[sample] for sample in members if sample < len(frame.maps)]
        there = [values.ravel() for values in maps if values is not None]
        columns.append(np.mean(there, axis=0).astype(np.float32) if there else np.full(1, np.nan, np.float32))
    width = min(len(column) for column in columns)
    over_time = np.stack([column[:width] for column in columns], axis=1)
    sizes = np.abs(np.nan_to_num(over_time[:, -1]))
    order = np.array([f for f in np.argsort(-sizes).tolist() if f not in hidden][:MOST_FEATURES], dtype=int)
    rows: list[list[Child]] = [
        [
            el("bdi", clean(names[f] if f < len(names) else f"feature {f}", 30)),
            _picture(signed_picture(over_time[f][None], film.full), "over the steps", small=True, class_="strip"),
            short_number(float(over_time[f, 0])),
            short_number(float(over_time[f, -1])),
        ]
        for f in order.tolist()
    ]  # fmt: skip
    steps = [frame.step for frame in film.frames]
    head: list[Child] = ["feature", "over time", f"step {steps[0]:,}", f"step {steps[-1]:,}"]
    return table(head, rows, caption=f"{clean(label, 40)}", class_="features")


LAYOUTS: dict[str, Callable[[ReportFilm, Series, Sequence[int]], Markup]] = {
    "pictures": _pictures,
    "words": _words,
    "bars": _bars,
    "lists": _lists,
}
