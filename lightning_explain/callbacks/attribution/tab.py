"""Events of an attribution monitor for the Explain tab: one per explanation, and the probe once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution import Attribution
from lightning_explain.attribution.result import flat
from lightning_explain.callbacks.attribution.captions import independent_confidence
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.base.forward import probabilities
from lightning_explain.drift import Drift
from lightning_explain.log import Journal
from lightning_explain.log.tab_names import names_of
from lightning_explain.probe import Probe
from lightning_explain.render.modalities import is_of_units, modality_of
from lightning_explain.render.modality import EVENT_PIXELS, Shown, rounded
from lightning_explain.render.packed_numbers import packed_numbers
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.shown_inputs import shown_inputs
from lightning_explain.render.sprites import Sprite, value_sprite

MOST_SAMPLES = 100
"""Samples of a probe that the tab gets, evenly spread over a larger one."""

MOST_LETTERS = 600
"""Of an alert: class names in it may be long."""


def shown_samples(n_samples: int) -> list[int]:
    """Choose the samples that the tab gets.

    Example:
        >>> shown_samples(3), len(shown_samples(1000))
        ([0, 1, 2], 100)
    """
    if n_samples <= MOST_SAMPLES:
        return list(range(n_samples))
    return torch.linspace(0, n_samples - 1, MOST_SAMPLES).round().int().tolist()


def _is_drawn(shown: Shown) -> bool:
    return shown.form is not None and modality_of(shown).fits_tab(shown)


def _kind(shown: Shown, *, is_drawn: bool) -> dict[str, Any]:
    """Name the kind of an input, and its layout for readers that do not know the kind; None where it is not drawn."""
    return {"form": shown.form if is_drawn else None, "layout": modality_of(shown).layout if is_drawn else None}


def _numbers(values: Tensor, *, digits: int = 3) -> list[float]:
    return [rounded(value, digits) for value in values.tolist()]


def _labels(probe: Probe, rows: Sequence[int]) -> list[int] | None:
    return None if probe.labels is None else [int(c) for c in probe.labels[list(rows)].tolist()]


def probe_tab(
    probe: Probe, shown: Shown | None = None, *, rows: Sequence[int] | None = None
) -> tuple[dict[str, Any], Sprite | None]:
    """Describe a probe: header and pictures of its inputs.

    Args:
        probe: The probe.
        shown: Which of its inputs; the only one, or the first, by default.
        rows: Which of its samples; by default those that the tab gets.
    """
    shown = shown or shown_inputs(probe)[0]
    rows, is_drawn = list(rows or shown_samples(len(probe))), _is_drawn(shown)
    labels = _labels(probe, rows)
    header: dict[str, Any] = {
        "kind": "probe",
        "probe": probe.fingerprint,
        **_kind(shown, is_drawn=is_drawn),
        "n_samples": len(probe),
        "samples": rows,
        "labels": labels,
        "class_names": names_of(labels or [], probe.class_name),
    }
    fields, sprite = modality_of(shown).tab_inputs(shown, rows) if is_drawn else ({}, None)
    tile = {"tile": sprite.tile} if sprite else {}
    return {**header, **tile, **fields}, sprite


def _predictions(probe: Probe, explanation: Explanation, rows: Sequence[int]) -> dict[str, Any]:
    """Return the prediction for each sample: class and confidence, or the output's value."""
    scores, alone = explanation.scores, independent_confidence(probe, explanation)
    if alone is not None:
        return {"outputs": _numbers(alone[list(rows)])}
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


def _moved(attribution: Attribution, rows: Sequence[int]) -> dict[str, Any]:
    """Return the change of each sample's output from that of its baseline; nothing for methods without one."""
    if attribution.baseline is None or attribution.convergence_delta is None:
        return {}
    moved = flat(attribution.values).float().sum(1) - attribution.convergence_delta.float()
    return {"moved": _numbers(moved[list(rows)].cpu())}


def _values(maps: Tensor | None, sprite: Sprite | None, first: int, n_samples: int) -> dict[str, Any]:
    """Return the place of a method's attributions: the first tile in the picture, or here as numbers."""
    if maps is None:
        return {"first_tile": first, "scales": []}
    if sprite is None:
        return packed_numbers(maps.flatten(1))
    return {"first_tile": first, "scales": sprite.scales[first : first + n_samples]}


def attribution_tab(
    probe: Probe,
    explanation: Explanation,
    drifts: Mapping[str, Drift],
    methods: Mapping[str, Attribution],
    shown: Shown | None = None,
) -> tuple[dict[str, Any], Sprite | None]:
    """Describe an explanation: header, and a sprite of all heatmaps, method by method; what is read travels as numbers.

    Args:
        probe: What is explained.
        explanation: Its scores.
        drifts: Drift against each reference.
        methods: The attributions by the name of their method.
        shown: Which of the probe's inputs; the only one, or the first, by default.

    Returns:
        Header (see `docs/tab.md`) and sprite; None where the probe's form has no picture, or is read as numbers.

    Cost: none through the model; a few milliseconds for 64 maps of 28 x 28.
    """
    rows = shown_samples(len(probe))
    shown = shown or shown_inputs(probe)[0]
    # a layer's units have no place in a picture of the input
    fitting = {n: found for n, found in methods.items() if not is_of_units(shown, found.parts[shown.index])}
    is_drawn = bool(fitting) and _is_drawn(shown)
    methods = fitting or methods
    labels = _labels(probe, rows)
    predictions = _predictions(probe, explanation, rows)
    parts = [found.parts[shown.index].float()[rows] for found in methods.values()] if is_drawn else []
    maps = [modality_of(shown).tab_maps(shown, values, rows) for values in parts]
    # a picture is looked at; words, bars and lists are read, number by number
    is_picture = is_drawn and modality_of(shown).layout == "pictures"
    sprite = value_sprite(torch.cat(maps), max_pixels=EVENT_PIXELS) if maps and is_picture else None
    entries: list[dict[str, Any]] = [
        {
            "name": name,
            "full_colour": colour_scale(maps[position]) if maps else None,
            "error": None if attribution.error is None else _numbers(attribution.error[rows], digits=2),
            **_moved(attribution, rows),
            **_values(maps[position] if maps else None, sprite, position * len(rows), len(rows)),
            **({} if attribution.contrast is None else {"contrast": attribution.contrast[list(rows)].tolist()}),
        }
        for position, (name, attribution) in enumerate(methods.items())
    ]
    contrasts = [c for entry in entries for c in entry.get("contrast", [])]
    header = {
        "kind": "attribution",
        "probe": probe.fingerprint,
        **_kind(shown, is_drawn=is_drawn),
        "unit": explanation.unit,
        "tile": sprite.tile if sprite else None,
        "labels": labels,
        "class_names": names_of([*(labels or []), *predictions.get("predicted", []), *contrasts], probe.class_name),
        **predictions,
        "methods": entries,
        "curve": {
            "drift": _drift_curve(drifts, probe),
            "full_colour": {e["name"]: e["full_colour"] for e in entries},
            # whose drift it is, where others are shown too
            **({"method": explanation.primary} if len(explanation.attributions) > 1 else {}),
        },
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
    inputs: Sequence[Shown],
    alert: str | None = None,
    caveat: str = "",
) -> None:
    """Write an explanation's events for the Explain tab, and the probe's where the event file has none yet.

    Where a sample has several explained inputs, each is a monitor of its own there.

    Args:
        journal: Where to.
        name: The monitor's name.
        probe: What is explained.
        explanation: The explanation.
        drifts: Drift against each reference.
        epoch: The epoch it was made in.
        count: How many explanations were made so far, this one included.
        methods: The attributions by the name of their method.
        inputs: The probe's explained inputs.
        alert: What was unusual, if there is an alert.
        caveat: What must be known to read the drift; empty if nothing.
    """
    if not journal.shows_tab:
        return
    for shown in inputs:
        described, tiles = probe_tab(probe, shown)
        journal.tab_probe(name, {**described, "name": name}, tiles.picture if tiles else None, part=shown.name)
        header, sprite = attribution_tab(probe, explanation, drifts, methods, shown)
        if alert is not None:
            header["curve"]["alert"] = alert[:MOST_LETTERS]
        moment = {"name": name, "step": journal.step, "epoch": epoch, "count": count, "caveat": caveat}
        journal.tab(name, {**header, **moment}, sprite.picture if sprite else None, part=shown.name)
