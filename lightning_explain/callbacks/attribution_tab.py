"""What an attribution monitor writes for the Explain tab: one event per explanation, and the probe once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution import Attribution
from lightning_explain.callbacks.explanation import Explanation
from lightning_explain.callbacks.question import probabilities
from lightning_explain.callbacks.tab_names import LONGEST, names_of
from lightning_explain.drift import Drift
from lightning_explain.log import Journal
from lightning_explain.probe import Probe
from lightning_explain.render.canvas import shortened
from lightning_explain.render.explanation import kind_of
from lightning_explain.render.heatmaps import colour_scale, input_pictures, maps_of
from lightning_explain.render.sprites import Sprite, picture_sprite, value_sprite

MOST_SAMPLES = 100
"""Samples of a probe that the tab gets, evenly spread over a larger one."""

EVENT_PIXELS = 1 << 17
PROBE_PIXELS = 1 << 19
"""The inputs are written once, so they may be larger than the heatmaps."""

MOST_LETTERS = 600
"""Of an alert: class names in it may be long."""

MOST_FEATURES = 1024
MOST_NUMBERS = 1 << 14
"""Input values of tabular samples, which are written as numbers."""


def shown_samples(n_samples: int) -> list[int]:
    """Choose the samples that the tab gets.

    Example:
        >>> shown_samples(3), len(shown_samples(1000))
        ([0, 1, 2], 100)
    """
    if n_samples <= MOST_SAMPLES:
        return list(range(n_samples))
    return torch.linspace(0, n_samples - 1, MOST_SAMPLES).round().int().tolist()


def _form(inputs: Tensor) -> str | None:
    """Say how the tab draws this input; None for forms that it cannot draw."""
    kind = kind_of(inputs)
    return None if kind == "table" and inputs[0].numel() > MOST_FEATURES else kind


def _numbers(values: Tensor, *, digits: int = 3) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values.tolist()]


def _labels(probe: Probe, rows: Sequence[int]) -> list[int] | None:
    return None if probe.labels is None else [int(c) for c in probe.labels[list(rows)].tolist()]


def _maps(values: Tensor, rows: Sequence[int]) -> Tensor:
    """Return the maps of the samples shown: [samples, height, width]; a row for tabular values."""
    shown = values[list(rows)]
    return maps_of(shown) if kind_of(values) == "image" else shown.flatten(1)[:, None]


def probe_tab(probe: Probe) -> tuple[dict[str, Any], Sprite | None]:
    """Describe a probe: header and pictures of its inputs."""
    rows = shown_samples(len(probe))
    inputs = probe.parts[0]
    form = _form(inputs)
    labels = _labels(probe, rows)
    header: dict[str, Any] = {
        "kind": "probe",
        "probe": probe.fingerprint,
        "form": form,
        "n_samples": len(probe),
        "samples": rows,
        "labels": labels,
        "class_names": names_of(labels or [], probe.class_name),
    }
    if form == "image":
        sprite = picture_sprite([input_pictures(inputs)[row] for row in rows], max_pixels=PROBE_PIXELS)
        return {**header, "tile": sprite.tile, "size": list(inputs.shape[-2:])}, sprite
    if form == "table":
        values = inputs[rows].flatten(1).float()
        header["features"] = [shortened(name, LONGEST) for name in probe.feature_names]
        header["inputs"] = [_numbers(row) for row in values] if values.numel() <= MOST_NUMBERS else None
    return header, None


def _predictions(scores: Tensor, rows: Sequence[int]) -> dict[str, Any]:
    """Say what the model takes each sample for: class and confidence, or the output's value."""
    if scores.ndim != 2 or scores.shape[1] < 2:
        return {"outputs": _numbers(scores.flatten(1).mean(1)[list(rows)] if scores.ndim > 1 else scores[list(rows)])}
    shares = probabilities(scores)[list(rows)]
    confidence, predicted = shares.max(1)
    return {"predicted": predicted.tolist(), "confidence": _numbers(confidence)}


def _drift_curve(drifts: Mapping[str, Drift], probe: Probe) -> dict[str, Any]:
    """Return the drift against each reference with its error, in all and by class: what the curves are drawn from."""
    curve: dict[str, Any] = {}
    labels = probe.labels
    for reference, drift in drifts.items():
        measure = next(iter(drift.values))
        by_class: dict[str, list[float]] = {}
        for c in [] if labels is None else labels.unique().tolist():
            members = labels == c
            by_class[str(c)] = [drift.mean(measure, members), drift.error(measure, members)]
        curve[reference] = {
            "measure": measure,
            "all": [drift.mean(measure), drift.error(measure)],
            "classes": by_class,
        }
    return curve


def attribution_tab(
    probe: Probe,
    explanation: Explanation,
    drifts: Mapping[str, Drift],
    methods: Mapping[str, Attribution],
) -> tuple[dict[str, Any], Sprite | None]:
    """Describe an explanation: header, and a sprite of all heatmaps, method by method.

    Args:
        probe: What is explained.
        explanation: Its scores.
        drifts: Drift against each reference.
        methods: The attributions by the name of their method.

    Returns:
        Header (see `docs/tab.md`) and sprite; None where the probe's form has no picture.

    Cost: none through the model; a few milliseconds for 64 maps of 28 x 28.
    """
    rows = shown_samples(len(probe))
    form = _form(probe.parts[0])
    labels = _labels(probe, rows)
    predictions = _predictions(explanation.scores, rows)
    maps = [_maps(attribution.parts[0].float(), rows) for attribution in methods.values()] if form else []
    sprite = value_sprite(torch.cat(maps), max_pixels=EVENT_PIXELS) if form else None
    entries = [
        {
            "name": name,
            "first_tile": position * len(rows),
            "scales": sprite.scales[position * len(rows) : (position + 1) * len(rows)] if sprite else [],
            "full_colour": colour_scale(maps[position]) if form else None,
            "error": None if attribution.error is None else _numbers(attribution.error[rows], digits=2),
        }
        for position, (name, attribution) in enumerate(methods.items())
    ]
    header = {
        "kind": "attribution",
        "probe": probe.fingerprint,
        "form": form,
        "unit": "output" if labels is None else "logits",
        "tile": sprite.tile if sprite else None,
        "labels": labels,
        "class_names": names_of([*(labels or []), *predictions.get("predicted", [])], probe.class_name),
        **predictions,
        "methods": entries,
        "curve": {"drift": _drift_curve(drifts, probe), "full_colour": {e["name"]: e["full_colour"] for e in entries}},
    }
    return header, sprite


def log_attribution_tab(
    journal: Journal,
    name: str,
    probe: Probe,
    explanation: Explanation,
    drifts: Mapping[str, Drift],
    *,
    epoch: int,
    count: int,
    methods: Mapping[str, Attribution],
    alert: str | None = None,
) -> None:
    """Write an explanation's event for the Explain tab, and the probe's where the event file has none yet.

    Args:
        journal: Where to.
        name: The monitor's name.
        probe: What is explained.
        explanation: The explanation.
        drifts: Drift against each reference.
        epoch: The epoch it was made in.
        count: How many explanations were made so far, this one included.
        methods: The attributions by the name of their method.
        alert: What was unusual, if there is an alert.
    """
    if not journal.shows_tab:
        return
    inputs, tiles = probe_tab(probe)
    journal.tab_probe(name, {**inputs, "name": name}, tiles.picture if tiles else None)
    header, sprite = attribution_tab(probe, explanation, drifts, methods)
    if alert is not None:
        header["curve"]["alert"] = alert[:MOST_LETTERS]
    moment = {"name": name, "step": journal.step, "epoch": epoch, "count": count}
    journal.tab(name, {**header, **moment}, sprite.picture if sprite else None)
