"""The page: runs side by side, monitor by monitor, with a policy that lets it load nothing from anywhere."""

import base64
import hashlib
import math
from collections.abc import Callable, Sequence
from importlib import resources

from lightning_explain.report.charts import Line, chart, score_range
from lightning_explain.report.markup import UNKNOWN, Child, Markup, clean, el, join, percent, short_number, table
from lightning_explain.report.reading import LoggedRun, Series
from lightning_explain.report.sections import (
    heatmap_section,
    neuron_section,
    path_section,
    strategy_section,
    unit_section,
)

KINDS = {"attribution": "What it looks at", "neurons": "Which neurons it uses", "paths": "Which way it decides"}

Pairs = list[tuple[LoggedRun, Series]]


def page(runs: Sequence[LoggedRun], *, title: str, version: str, most_steps: int, most_samples: int) -> str:
    """Write the page.

    Args:
        runs: What was read.
        title: Its title.
        version: Of this package, for the record.
        most_steps: Most columns of a filmstrip.
        most_samples: Most rows of it.

    Returns:
        HTML, complete in itself.
    """
    style = resources.files("lightning_explain.report").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    sections = [
        _section(kind, name, _pairs(runs, kind, name), most_steps=most_steps, most_samples=most_samples)
        for kind in KINDS
        for name in _names(runs, kind)
    ]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", clean(title)),
        Markup(f"<style>{style}</style>"),
    )
    body = el("body", _head(runs, title, version), el("main", _overview(runs), *sections))
    html = f'<!DOCTYPE html>\n<html lang="en">{head.code}{body.code}</html>\n'
    # lone halves of letters can be in any name that came as JSON
    return html.encode("utf-8", "replace").decode("utf-8")


def _names(runs: Sequence[LoggedRun], kind: str) -> list[str]:
    return list(dict.fromkeys(series.name for run in runs for series in run.of(kind)))


def _pairs(runs: Sequence[LoggedRun], kind: str, name: str) -> Pairs:
    return [(run, series) for run in runs for series in run.of(kind) if series.name == name]


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _heading(kind: str, name: str) -> str:
    return KINDS[kind] if name in (kind, kind.removesuffix("s")) else f"{KINDS[kind]}: {clean(name, 40)}"


def _head(runs: Sequence[LoggedRun], title: str, version: str) -> Markup:
    links = [
        el("a", _heading(kind, name), href=f"#{_anchor(kind, name)}") for kind in KINDS for name in _names(runs, kind)
    ]
    return el(
        "header",
        el("h1", el("bdi", clean(title))),
        el("nav", el("a", "Overview", href="#overview"), *links, aria_label="Sections"),
        el("p", f"Made by lightning-explain {version} from what its monitors logged. Loads nothing from anywhere.",
           class_="note"),
    )  # fmt: skip


def _overview(runs: Sequence[LoggedRun]) -> Markup:
    rows = [_overview_row(run) for run in runs]
    head: list[Child] = ["run", "explanations", "steps", "last drift to previous", "mean F1", "dead neurons"]
    return el(
        "section",
        el("h2", "Overview"),
        table(head, rows, caption="Runs, at their last step"),
        *(
            el("p", f"{clean(run.name)}: {run.n_unreadable} events could not be read and are left out.", class_="note")
            for run in runs
            if run.n_unreadable
        ),
        id="overview",
    )


def _overview_row(run: LoggedRun) -> list[Child]:
    steps = sorted({event.step for series in run.series for event in series.events})
    drift = next(
        (heatmap_section.drift_line(series, "previous", "").points[-1:] for series in run.of("attribution")), []
    )
    f1, dead = next((neuron_section.summary(series) for series in run.of("neurons")), (math.nan, math.nan))
    most = max(len(series.events) for series in run.series)
    return [
        el("bdi", clean(run.name)),
        f"{most:,}",
        f"{steps[0]:,} to {steps[-1]:,}",
        f"{short_number(drift[0][1])} ± {short_number(drift[0][2])}" if drift else UNKNOWN,
        short_number(f1),
        percent(dead),
    ]


def _section(kind: str, name: str, pairs: Pairs, *, most_steps: int, most_samples: int) -> Markup:
    together, alone = _together(kind, pairs, most_steps), _alone(kind, pairs, most_steps, most_samples)
    columns = [
        el("div", el("h3", el("bdi", clean(run.name))) if len(pairs) > 1 else None, *alone(series), class_="run")
        for run, series in pairs
    ]
    return el(
        "section",
        el("h2", _heading(kind, name)),
        el("div", *together, class_="charts") if together else None,
        el("div", *columns, class_="runs"),
        id=_anchor(kind, name),
    )


def _together(kind: str, pairs: Pairs, most_steps: int) -> list[Markup | None]:
    """Draw several runs in one chart."""
    if len(pairs) < 2 or kind == "paths":
        return []
    numbered = list(enumerate(pairs))
    if kind == "neurons":
        lines = [
            Line(run.name, neuron_section.score_line(series, "").points, k, bold=True) for k, (run, series) in numbered
        ]
        return [chart("Mean F1 of every run", lines, unit="F1", range_=score_range(lines))]
    drifts = [
        chart(
            f"Drift of every run to {said}",
            [
                Line(run.name, heatmap_section.drift_line(series, reference, "").points, k, bold=True)
                for k, (run, series) in numbered
            ],
            unit="distance",
        )
        for reference, said in heatmap_section.references(series for _, series in pairs).items()
    ]
    return [*heatmap_section.between_charts([(run.name, series) for run, series in pairs], most_steps), *drifts]


def _alone(kind: str, pairs: Pairs, most_steps: int, most_samples: int) -> Callable[[Series], list[Markup | None]]:
    """Return the function that shows one run's monitor, on the scales that all runs share."""

    def others(series: Series) -> list[Series]:
        return [each for _, each in pairs if each is not series]

    def of_attribution(series: Series) -> list[Markup | None]:
        film = heatmap_section.heatmap_block(
            series, most_steps=most_steps, most_samples=most_samples, beside=others(series)
        )
        strategies = strategy_section.strategy_block(series, others(series))
        return [el("div", *heatmap_section.drift_charts(series, others(series)), class_="charts"), film, strategies]

    def of_neurons(series: Series) -> list[Markup | None]:
        charts = neuron_section.score_charts(series, others(series))
        scores = el("div", *charts, neuron_section.score_table(series), class_="charts")
        counted = el("p", neuron_section.sample_counts(series), class_="note")
        units = unit_section.unit_cards(series)
        return [scores, counted, neuron_section.layer_table(series), units, neuron_section.rate_blocks(series)]

    def of_paths(series: Series) -> list[Markup | None]:
        return [join(el("div", path_section.path_blocks(series, others(series)), class_="paths"))]

    return {"attribution": of_attribution, "neurons": of_neurons, "paths": of_paths}[kind]
