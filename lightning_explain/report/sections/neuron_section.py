"""Section of a neuron monitor: scores by class, metrics of layers, neurons by class."""

import math
from collections.abc import Sequence
from typing import Any

from lightning_explain.report.charts import Line, chart, score_range
from lightning_explain.report.checked import class_name, indices, items, mapping, number, numbers, shares, whole, words
from lightning_explain.report.markup import Child, Markup, clean, el, join, percent, png_address, short_number, table
from lightning_explain.report.pictures import share_picture
from lightning_explain.report.reading import Series, points

MOST_LAYERS = 40
MOST_FED = 40
MOST_NAMES = 30
COUNTS = ("dead", "always_on", "exclusive")
MOST_METRICS = 20


def score_line(series: Series, name: str, *, of_class: str | None = None, colour: int = 0) -> Line:
    """Read the F1 of a class, or the mean over the classes, over time."""
    found: list[tuple[int, float, float]] = []
    for step, curve in points(series):
        f1 = mapping(curve.get("f1"))
        values = [number(value) for value in f1.values()] if of_class is None else [number(f1.get(of_class))]
        known = [value for value in values if not math.isnan(value)]
        if known:
            found.append((step, sum(known) / len(known), math.nan))
    return Line(name, found, colour, bold=of_class is None)


def _score_lines(series: Series) -> list[Line]:
    header = series.events[-1].header
    classes = indices(header.get("classes"))[:30]
    lines = [
        score_line(series, class_name(header, c), of_class=str(c), colour=place) for place, c in enumerate(classes)
    ]
    return [*lines, score_line(series, "mean", colour=-1)]


def score_charts(series: Series, beside: Sequence[Series] = ()) -> list[Markup | None]:
    """Draw one run's F1, by class and on average, on the scale that it shares with other runs."""
    lines, others = _score_lines(series), [line for other in beside for line in _score_lines(other)]
    range_ = score_range([*lines, *others])
    return [chart("F1 by class, in validation", lines, unit="F1", range_=range_, beside=others)]


def score_table(series: Series) -> Markup | None:
    """Tabulate precision, recall and F1 by class, at the first step and the last."""
    first, last = series.events[0], series.events[-1]
    then, now = mapping(first.header.get("curve")), mapping(last.header.get("curve"))
    if not mapping(now.get("f1")):
        return None

    def cell(what: str, c: str) -> Child:
        before, after = number(mapping(then.get(what)).get(c)), number(mapping(now.get(what)).get(c))
        return join(
            short_number(after), el("small", f" was {short_number(before)}") if first.step != last.step else None
        )

    classes = indices(last.header.get("classes"))
    rows: list[list[Child]] = [
        [
            el("bdi", clean(class_name(last.header, c), 30)),
            *(cell(what, str(c)) for what in ("precision", "recall", "f1")),
        ]
        for c in classes
    ]
    return table(["class", "precision", "recall", "F1"], rows, caption=f"Scores by class at step {last.step:,}")


def _layers(header: dict[str, Any]) -> list[dict[str, Any]]:
    return [mapping(layer) for layer in items(header.get("layers"))[:MOST_LAYERS]]


def _layer_name(layer: dict[str, Any]) -> str:
    """Name a layer as its tags do: the second call of relu is relu-1 there."""
    return clean(words(layer.get("name")).replace("#", "-"), 80)


def _metrics(layer: dict[str, Any]) -> dict[str, float]:
    """Return a layer's metrics by name; of events that have none, those that follow from its counts."""
    given = {words(name): number(value) for name, value in mapping(layer.get("metrics")).items()}
    if not given:
        n_neurons = whole(layer.get("n_neurons"), 0)
        given = {kind: number(layer.get(f"n_{kind}")) / n_neurons for kind in COUNTS if n_neurons}
        given["overlap"] = number(layer.get("overlap"))
    return {**given, "turnover": number(layer.get("turnover"))}


def layer_table(series: Series) -> Markup:
    """Tabulate the layers at the last step, with what was at the first."""
    first, last = series.events[0], series.events[-1]
    before = {words(layer.get("name")): layer for layer in _layers(first.header)}
    layers = _layers(last.header)
    names = list(dict.fromkeys(name for layer in layers for name in _metrics(layer)))[:MOST_METRICS]
    rows: list[list[Child]] = []
    for layer in layers:
        now, then = _metrics(layer), _metrics(before.get(words(layer.get("name")), {}))
        cells = [_share(now.get(name, math.nan), then.get(name, math.nan)) for name in names]
        rows.append([el("bdi", _layer_name(layer)), f"{whole(layer.get('n_neurons'), 0):,}", *cells])
    head: list[Child] = ["layer", "neurons", *(clean(name, 24).replace("_", " ") for name in names)]
    return table(head, rows, caption=f"Layers at step {last.step:,}; small: at step {first.step:,}")


def _share(now: float, then: float) -> Child:
    return join(percent(now), None if math.isnan(then) else el("small", f" was {percent(then)}"))


def rate_blocks(series: Series) -> Markup:
    """Show the class x neuron rates of every layer at the last step, and what feeds the neurons."""
    header = series.events[-1].header
    classes = indices(header.get("classes"))
    return join(*(_rates(layer, header, classes) for layer in _layers(header)))


def _rates(layer: dict[str, Any], header: dict[str, Any], classes: list[int]) -> Markup | None:
    shown = layer.get("neurons")
    n_neurons = whole(layer.get("n_neurons"), 0) if shown is None else len(items(shown))
    if not classes or not 0 < n_neurons <= 1 << 16:
        return None
    rates = shares(layer.get("rates"), len(classes), n_neurons)
    name = _layer_name(layer)
    said = (
        f"Rates of {n_neurons} neurons of {name} for {len(classes)} classes; a column is a neuron, bright fires often"
    )
    names = (
        [el("li", el("bdi", clean(class_name(header, c), 16))) for c in classes] if len(classes) <= MOST_NAMES else []
    )
    height = max(60, min(480, 16 * len(classes)))
    return el(
        "div",
        el("h4", f"{name}: how often each neuron fires for each class"),
        el(
            "div",
            el("ul", *names, class_="row-names"),
            el(
                "img", src=png_address(share_picture(rates)), alt=said, title=said, height=height, class_="pixels rates"
            ),
            class_="matrix",
        ),
        _fed(layer),
    )


def _fed(layer: dict[str, Any]) -> Markup | None:
    rows: list[list[Child]] = []
    for entry in items(layer.get("feeding"))[:MOST_FED]:
        parts = items(entry)
        if len(parts) != 3:
            continue
        fed = [items(feature) for feature in items(parts[2])[:6]]
        said = ", ".join(f"{clean(words(f[0]), 24)} {number(f[1]):+.2g}" for f in fed if len(f) == 2)
        rows.append([str(whole(parts[0])), el("bdi", clean(words(parts[1]), 24)), el("bdi", said)])
    if not rows:
        return None
    epoch = whole(layer.get("feeding_epoch"), -1)
    title = f"What feeds the neurons of {_layer_name(layer)}{f', as of epoch {epoch}' if epoch >= 0 else ''}"
    made = table(["neuron", "class", "strongest input features, with their sign"], rows, caption=title, class_="fed")
    return el("details", el("summary", title), made)


def summary(series: Series) -> tuple[float, float]:
    """Return the mean F1 and the share of dead neurons at the last step."""
    line = score_line(series, "")
    layers = _layers(series.events[-1].header)
    total = sum(whole(layer.get("n_neurons"), 0) for layer in layers)
    dead = sum(max(0, whole(layer.get("n_dead"), 0)) for layer in layers)
    return line.points[-1][1] if line.points else math.nan, dead / total if total else math.nan


def sample_counts(series: Series) -> str:
    """Describe the data that were counted."""
    header = series.events[-1].header
    n_samples = sum(n for n in numbers(header.get("n_samples")) if not math.isnan(n))
    stage = {"val": "validation", "train": "training"}.get(words(header.get("stage")), "")
    training = words(header.get("training"))
    spared = f" Training: {clean(training, 200)}" if training else ""
    return f"Counted over {n_samples:,.0f} samples of the {stage} data.{spared}"
