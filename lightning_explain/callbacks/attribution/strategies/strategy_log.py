"""Metrics, record and pictures of strategies."""

import math
from typing import Any

import torch

from lightning_explain.callbacks.attribution.metrics import MetricValue
from lightning_explain.callbacks.attribution.strategies.strategy_report import ClassReport, StrategyReport
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.log import tag
from lightning_explain.log.tags import class_parts
from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.layout import below, beside, boxed, resized
from lightning_explain.render.map_pages import class_map_page
from lightning_explain.render.modalities import drawn_as, modality_of
from lightning_explain.render.modality import rounded
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.text import paragraph, text
from lightning_explain.render.words import LONGEST, markdown_safe

SHARE = "share"
FILMSTRIP = "filmstrip"
TAKEN = (FILMSTRIP, "tab", "probe")
"""Tags of a monitor's strategies that are those of no class."""

MOST_CLASSES = 6
"""Classes of a picture: those whose strategies are furthest apart."""

PICTURE_WORDS = (
    "The strategies of classes that are decided in several ways: the mean map of each, and its typical samples."
)
FILM_WORDS = "How strategies form as the network learns: the mean map of each, a column for each explanation."

MOST_EXEMPLARS = 6
HEAD = 230


def strategy_metrics(name: str, report: StrategyReport) -> dict[str, MetricValue]:
    """Return the number of strategies of each class, and the share of the smaller ones, by tag."""
    found: dict[str, MetricValue] = {}
    reports = list(report.classes.values())
    for part, one in zip(class_parts([each.name for each in reports], taken=TAKEN), reports, strict=True):
        of = markdown_safe(one.name, longest=LONGEST)
        found[tag(name, "strategies", part)] = MetricValue(
            one.n_strategies,
            f"Ways in which the network decides for {of}: clusters of the {markdown_safe(report.method)} maps of "
            f"{len(one.rows)} samples with a gap between them; 1 is one way for all.",
            telling=True,
        )
        found[tag(name, "strategies", part, SHARE)] = MetricValue(
            one.share_of_smaller,
            f"Share of the samples of {of} that do not follow the class's largest strategy.",
            telling=True,
        )
    return found


def strategy_record(report: StrategyReport) -> dict[str, Any]:
    """Return the strategies as plain values; members as places in the data set where that is known."""
    return {
        "method": report.method,
        "sample": report.sample.fingerprint,
        "classes": {str(c): _class_record(each, report) for c, each in report.classes.items()},
        "alerts": [str(alert) for alert in report.alerts],
    }


def _class_record(one: ClassReport, report: StrategyReport) -> dict[str, Any]:
    indices = report.sample.indices
    listed: list[dict[str, Any]] = []
    for number, strategy in enumerate(one.strategies.strategies):
        followed, rows = one.followed[number], one.members(number)
        listed.append(
            {
                "share": rounded(strategy.share),
                "separation": rounded(strategy.separation),
                "stability": rounded(strategy.stability),
                "effect": rounded(strategy.effect),
                "where": one.where[number],
                "inside": rounded(one.inside[number]),
                "outside": rounded(one.outside[number]),
                "since_epoch": None if followed is None else followed.epoch,
                "since_step": None if followed is None else followed.step,
                # the largest one's are all that are not listed elsewhere
                "members": [indices[row] if indices else row for row in rows] if number else None,
            }
        )
    p_value = one.strategies.p_value
    return {
        "name": one.name,
        "n_samples": len(one.rows),
        "p_value": float(f"{p_value:.3g}"),
        "caveat": one.strategies.caveat,
        "strategies": listed,
    }


def shown_classes(report: StrategyReport) -> list[ClassReport]:
    """Choose the classes with several strategies, those that are furthest apart first."""
    several = [each for each in report.classes.values() if len(each.strategies.strategies) > 1]
    return sorted(several, key=lambda each: -each.strategies.strategies[1].separation)


def strategies_picture(report: StrategyReport) -> Picture | None:
    """Draw the strategies of the classes that have several: mean map and exemplars; None for no class.

    A row for each strategy: in words what it is, the mean of its maps, and its most typical samples with theirs.
    """
    several = shown_classes(report)
    if not several:
        return None
    rows = [
        _row(one, number, report) for one in several[:MOST_CLASSES] for number in range(len(one.strategies.strategies))
    ]
    left = f" {len(several) - MOST_CLASSES} more classes are not drawn." if len(several) > MOST_CLASSES else ""
    title = (
        f"Strategies after epoch {report.epoch} ({report.method}): classes that are decided in several ways, with a "
        f"gap between them. The mean map of each, then its most typical samples.{left}"
    )
    return class_map_page(title, below(rows, gap=10))


def strategy_words(one: ClassReport, number: int) -> str:
    """Describe a strategy in a few words."""
    strategy, followed = one.strategies.strategies[number], one.followed[number]
    words = f"{one.name}, strategy {number + 1}: {strategy.share:.0%} of {len(one.rows)}, by {one.where[number]}"
    if number:
        words += "" if math.isnan(strategy.effect) else f" ({strategy.effect:.0%} of their relevance)"
        words += f", separation {strategy.separation:.1f}, stability {strategy.stability:.2f}"
    if followed is not None:
        words += f", since epoch {followed.epoch}"
    if not math.isnan(one.inside[number]):
        words += f"; {one.inside[number]:.0%} recognised, {one.outside[number]:.0%} of the others"
    return words


def _row(one: ClassReport, number: int, report: StrategyReport) -> Picture:
    head = paragraph(strategy_words(one, number), width=HEAD)
    cells = [head, *_mean(one, number, report), *_exemplars(one, number, report)]
    return beside(cells, gap=6)


def _mean(one: ClassReport, number: int, report: StrategyReport) -> list[Picture]:
    """Draw the mean map of a strategy, where it is a map."""
    profile = report.profile[0]
    n_places = profile.values[0].numel()
    mean = one.strategies.strategies[number].mean[:n_places].reshape(profile.values.shape[1:])
    if mean.ndim != 2:
        return []
    scale = max(colour_scale(each.mean[:n_places]) for each in one.strategies.strategies)
    return [below([text("mean", width=40, size=10), boxed(resized(signed_colours(mean, scale), target=64))])]


def _exemplars(one: ClassReport, number: int, report: StrategyReport) -> list[Picture]:
    card = exemplar_card(one, number, report)
    if card.form is None:
        return []
    kind = modality_of(report.shown[0])
    return [kind.exemplar_picture(exemplar, card, report.shown[0].display) for exemplar in card.exemplars]


def exemplar_card(one: ClassReport, number: int, report: StrategyReport) -> UnitCard:
    """Return the most typical samples of a strategy with their maps, to be drawn as exemplars are."""
    shown, rows = report.shown[0], one.members(number)[:MOST_EXEMPLARS]
    drawn = drawn_as(shown, report.heat[:1])
    samples = shown.inputs[rows]
    form = shown.form if drawn.form == shown.form else None
    kind = None if form is None else modality_of(shown)
    exemplars = tuple(
        Exemplar(
            sample=row,
            label=one.index,
            value=0.0,
            position=(),
            box=tuple(
                (0, shown.inputs.shape[axis]) for axis in (() if kind is None else kind.window_axes(shown.inputs))
            ),
            crop=shown.inputs[row],
            heatmap=report.heat[row],
            words=() if kind is None else kind.exemplar_words(shown, report.heat, row),
        )
        for row in rows
    )
    return UnitCard(
        layer="",
        unit=number,
        reason="",
        form=form,
        by="relevance",
        method=report.method,
        scale=colour_scale(report.heat[rows]),
        limits=(float(samples.min()), float(samples.max())) if samples.dtype != torch.bool else (0.0, 1.0),
        epoch=report.epoch,
        exemplars=exemplars,
    )
