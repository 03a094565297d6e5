"""What an attribution monitor says of an explanation: figures by tag, and a record for machines."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.baselines import baseline_name
from lightning_explain.attribution.integrated_gradients import IntegratedGradients
from lightning_explain.attribution.result import Attribution, flat
from lightning_explain.callbacks.explanation import Explanation
from lightning_explain.drift import Drift
from lightning_explain.faithfulness import mass_in_mask
from lightning_explain.log import class_parts, tag
from lightning_explain.probe import Probe

Drifts = dict[str, Drift]
"""Drift against each reference: `previous`, `first`."""

MAIN = "cosine"
"""The measure behind `drift/previous` and `drift/first`; the others are `drift_<measure>/...`."""


REFERENCES = ("previous", "previous_error", "first", "first_error")


def _classes(probe: Probe) -> list[tuple[str, Tensor]]:
    """Give every class of the probe a tag part and mark its samples; empty for regression."""
    labels = probe.labels
    if labels is None:
        return []
    classes = labels.unique().tolist()
    parts = class_parts([probe.class_name(c) for c in classes], taken=REFERENCES)
    return [(part, labels == c) for part, c in zip(parts, classes, strict=True)]


def drift_scalars(name: str, drifts: Drifts, probe: Probe) -> dict[str, float]:
    """Return the drift figures by tag: every measure against every reference with its error, and by class."""
    figures: dict[str, float] = {}
    for reference, drift in drifts.items():
        for measure in drift.values:
            group = "drift" if measure == MAIN else f"drift_{measure}"
            figures[tag(name, group, reference)] = drift.mean(measure)
            figures[tag(name, group, f"{reference}_error")] = drift.error(measure)
    if "previous" in drifts:
        main = next(iter(drifts["previous"].values))
        group = "drift" if main == MAIN else f"drift_{main}"
        for class_name, members in _classes(probe):
            figures[tag(name, group, class_name)] = drifts["previous"].mean(main, members)
    return figures


def quality_scalars(name: str, attribution: Attribution, probe: Probe) -> dict[str, float]:
    """Return what is known of an explanation itself: completeness, error, size, cost, share inside the masks."""
    figures = {
        tag(name, "total_attribution"): float(flat(attribution.values).abs().sum(1).mean()),
        tag(name, "n_evaluations"): float(attribution.n_evaluations.float().mean()),
    }
    if attribution.convergence_delta is not None:
        figures[tag(name, "convergence_delta")] = float(attribution.convergence_delta.abs().mean())
    if attribution.error is not None:
        figures[tag(name, "error")] = float(attribution.error.nanmean())
    if probe.masks is not None:
        figures[tag(name, "mass_in_mask")] = float(mass_in_mask(attribution.parts[0], probe.masks).nanmean())
    return figures


def method_name(method: Callable[..., Any]) -> str:
    """Name a method in titles and records, with its baseline where it has one.

    Example:
        >>> method_name(IntegratedGradients())
        'IntegratedGradients (baseline: zeros)'
    """
    name = getattr(method, "__name__", type(method).__name__)
    return f"{name} (baseline: {baseline_name(method.baseline)})" if isinstance(method, IntegratedGradients) else name


def _numbers(values: Tensor | None) -> list[float] | None:
    return None if values is None else [float(f"{value:.6g}") for value in values.tolist()]


def record(explanation: Explanation, drifts: Drifts, probe: Probe, *, method: str, epoch: int) -> dict[str, Any]:
    """Return one explanation's figures per sample as plain lists."""
    attribution = explanation.attribution
    labels = probe.labels
    scores = explanation.scores
    return {
        "epoch": epoch,
        "method": method,
        "probe": probe.fingerprint,
        "labels": None if labels is None else [probe.class_name(c) for c in labels.tolist()],
        "target": None if attribution.target is None else attribution.target.tolist(),
        "predicted": scores.argmax(1).tolist() if scores.ndim == 2 and scores.shape[1] > 1 else None,
        "total_attribution": _numbers(flat(attribution.values).abs().sum(1)),
        "convergence_delta": _numbers(attribution.convergence_delta),
        "error": _numbers(attribution.error),
        "n_evaluations": attribution.n_evaluations.tolist(),
        "drift": {
            reference: {measure: _numbers(values) for measure, values in drift.values.items()}
            for reference, drift in drifts.items()
        },
    }


def drift_charts(name: str) -> dict[str, list[str]]:
    """Group the drift curves for the Custom Scalars dashboard: chart title to tags."""
    return {
        f"{name}: drift against the previous explanation, and its error": [
            tag(name, "drift", "previous"),
            tag(name, "drift", "previous_error"),
        ],
        f"{name}: drift against the first explanation, and its error": [
            tag(name, "drift", "first"),
            tag(name, "drift", "first_error"),
        ],
        f"{name}: drift by class and in all": [f"{tag(name, 'drift')}/(?!first|.*_error).*"],
    }


def summary(drifts: Drifts, names: Sequence[str]) -> str:
    """Write the drift figures as a markdown table: a row for each measure."""
    lines = ["| distance | " + " | ".join(f"to {r} (error)" for r in names) + " |", "|---" * (len(names) + 1) + "|"]
    for measure in drifts[names[0]].values:
        cells = [f"{drifts[r].mean(measure):.4f} ({drifts[r].error(measure):.4f})" for r in names]
        lines.append(f"| {measure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def trust(attribution: Attribution, drifts: Drifts) -> str:
    """Say in a picture's title how far it can be trusted."""
    words: list[str] = []
    error = attribution.error
    if error is not None and not bool(error.isnan().all()):
        words.append(f"Estimated error {_percent(error.nanmean())} of the attribution (worst {_percent(error.max())}).")
    for reference, moved in drifts.items():
        measure = next(iter(moved.values))
        distance, noise = moved.mean(measure), moved.error(measure)
        below = " (below its own error: not to be told from no change)" if distance < noise else ""
        words.append(f"Drift to {reference}: {distance:.3f} ± {noise:.3f}{below}.")
    return " ".join(words)


def _percent(share: Tensor) -> str:
    return f"{float(torch.nan_to_num(share)) * 100:.1f} %"
