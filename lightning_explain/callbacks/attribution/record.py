"""Summary of an explanation in words, and its record for machines."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.result import Attribution, Method, flat
from lightning_explain.attribution.traits import traits_of
from lightning_explain.callbacks.attribution.captions import explained_inputs
from lightning_explain.callbacks.attribution.comparison import Comparison
from lightning_explain.callbacks.attribution.history import Drifts
from lightning_explain.callbacks.attribution.methods import Methods, full_name, versus
from lightning_explain.callbacks.attribution.top_features import input_records
from lightning_explain.drift import Drift
from lightning_explain.drift_alert import Alert
from lightning_explain.faithfulness import mass_in_mask
from lightning_explain.log import tag, tag_part
from lightning_explain.probe import Probe
from lightning_explain.render.words import LONGEST, markdown_safe

WORTH_SAYING = 0.01
"""The share of an output from which on it is said that offsets took it."""

MOST_SAID = 10.0
"""The largest share that is written as a number."""


def _numbers(values: Tensor | None) -> list[float] | None:
    return None if values is None else [float(f"{value:.6g}") for value in values.tolist()]


def _class_names(classes: Tensor | None, probe: Probe) -> list[str] | None:
    return None if classes is None else [probe.class_name(c) for c in classes.tolist()]


def record(comparison: Comparison, probe: Probe, *, methods: Methods, epoch: int) -> dict[str, Any]:
    """Return one explanation's metrics per sample as plain lists.

    The first method's stand at the top, those of all methods under `methods`, by name; pairs under `agreement`.
    """
    explanation = comparison.explanation
    labels, scores = probe.labels, explanation.scores
    by_method = {name: _method_record(name, comparison, probe, methods) for name in explanation.attributions}
    primary = explanation.primary
    return {
        "epoch": epoch,
        "probe": probe.fingerprint,
        "labels": _class_names(labels, probe),
        "predicted": scores.argmax(1).tolist() if scores.ndim == 2 and scores.shape[1] > 1 else None,
        **by_method.get(primary, {"method": full_name(primary, methods[primary]), "failed": True}),
        "agreement": {versus(a, b): _numbers(values) for (a, b), values in comparison.agreement.items()},
        "methods": {name: entry for name, entry in by_method.items() if name != primary},
    }


def _method_record(name: str, comparison: Comparison, probe: Probe, methods: Methods) -> dict[str, Any]:
    explanation = comparison.explanation
    attribution = explanation.attributions[name]
    masks = probe.masks
    return {
        "method": full_name(name, methods[name]),
        "baseline": traits_of(methods[name]).baseline_name,
        "target": None if attribution.target is None else attribution.target.tolist(),
        "contrast": _class_names(attribution.contrast, probe),
        "total_attribution": _numbers(flat(attribution.values).abs().sum(1)),
        "convergence_delta": _numbers(attribution.convergence_delta),
        "error": _numbers(attribution.error),
        "absorbed_share": _numbers(attribution.absorbed_share),
        "softmax_share": _numbers(attribution.softmax_share),
        "n_evaluations": attribution.n_evaluations.tolist(),
        "missed_tolerance": missed(attribution, methods[name]),
        "drift_below_error": [ref for ref, drift in comparison.drifts.get(name, {}).items() if below_error(drift)],
        "inputs": input_records(attribution, explained_inputs(probe, methods)),
        **({} if masks is None else {"mass_in_mask": _numbers(mass_in_mask(attribution.parts[0], masks))}),
        "faithfulness": {metric: _numbers(values) for metric, values in explanation.faithfulness.get(name, {}).items()},
        "drift": {
            reference: {measure: _numbers(values) for measure, values in drift.values.items()}
            for reference, drift in comparison.drifts.get(name, {}).items()
        },
    }


def completeness_gaps(attribution: Attribution) -> Tensor | None:
    """Return the completeness gap relative to the output's change [batch]; None where there is no such promise."""
    delta = attribution.convergence_delta
    if delta is None:
        return None
    change = (flat(attribution.values).sum(1) - delta).abs()
    return torch.where(delta == 0, torch.zeros_like(delta), delta.abs() / change)


def missed(attribution: Attribution, method: Method) -> list[int]:
    """Name the samples whose completeness gap or estimated error is beyond what the method promises."""
    tolerance, gaps = traits_of(method).tolerance, completeness_gaps(attribution)
    if tolerance is None or gaps is None:
        return []
    beyond = gaps > tolerance
    if attribution.error is not None:
        beyond = beyond | (attribution.error > tolerance)
    return beyond.nonzero().flatten().tolist()


def missed_words(attribution: Attribution, method: Method) -> str:
    """Describe the samples beyond the tolerance: their number and distance; empty if none is."""
    rows, gaps = missed(attribution, method), completeness_gaps(attribution)
    if not rows or gaps is None:
        return ""
    share = f"{traits_of(method).tolerance:.0%}".replace("%", " %")
    return (
        f"{len(rows)} of {len(gaps)} samples miss the tolerance of {share} (worst completeness gap "
        f"{_percent(_worst(gaps))}); ? marks them where they have names."
    )


def unexplained_words(attribution: Attribution) -> str:
    """Return sentences about what reached no input of the explained output; empty if that is not worth one."""
    said: list[str] = []
    for words, shares in (
        ("Offsets (biases, positions, class tokens) took", attribution.absorbed_share),
        ("Softmaxes lost", attribution.softmax_share),
    ):
        share = None if shares is None else shares.nanmedian()
        if share is not None and bool(share.abs() >= WORTH_SAYING):
            said.append(f"{words} {_percent(share)} of the output (median).")
    return " ".join(said)


def below_error(moved: Drift) -> bool:
    """Describe a drift that is smaller than its own error, and so cannot be distinguished from none; else empty."""
    measure = next(iter(moved.values))
    return moved.mean(measure) < moved.error(measure)


def charts(name: str, methods: Methods, named: Sequence[str] = (), *, by_class: bool = True) -> dict[str, list[str]]:
    """Group the curves for the Custom Scalars dashboard: chart title to tags.

    Args:
        name: The monitor's name.
        methods: Its methods.
        named: What the user wants explanations compared with, beside the previous and the first.
        by_class: The drift of each class is logged too.
    """
    drift = tag(name, "drift")
    found = {
        f"{name}: drift against {what}, and its error": [
            tag(name, "drift", reference),
            f"{tag(name, 'drift', reference)}_error",
        ]
        for reference, what in {
            "previous": "the previous explanation",
            "first": "the first explanation",
            **{one: one for one in named},
        }.items()
    }
    if by_class:
        # the chart takes regular expressions
        others = "|".join(["first$", *(f"{re.escape(tag_part(one))}$" for one in named), ".*_error$"])
        found[f"{name}: drift by class and in all"] = [f"{drift}/(?!{others}).*"]
    if len(methods) > 1:
        further = [tag(name, method, "drift", "previous") for method in list(methods)[1:]]
        found[f"{name}: drift against the previous explanation, by method"] = [f"{drift}/previous", *further]
        found[f"{name}: agreement of the methods"] = [f"{tag(name, 'agreement')}/.*"]
    return found


def summary(comparison: Comparison, methods: Methods, caveat: str = "") -> str:
    """Write drift, agreement and faithfulness as markdown tables; empty where there is nothing to say yet."""
    parts = [markdown_safe(caveat)] if caveat else []
    for name, attribution in comparison.explanation.attributions.items():
        words = f"{missed_words(attribution, methods[name])} {unexplained_words(attribution)}".strip()
        if words:
            parts.append(f"{markdown_safe(name)}: {words}")
    parts += [
        f"**{_plain(full_name(name, methods[name]))}**\n\n{_drift_table(drifts)}"
        for name, drifts in comparison.drifts.items()
        if drifts
    ]
    if comparison.agreement:
        rows = {
            f"{_plain(a)} and {_plain(b)}": f"{_mean(values):.4f}" for (a, b), values in comparison.agreement.items()
        }
        parts.append(_table("rank correlation of the methods", "mean over the probe", rows))
    for name, measured in comparison.explanation.faithfulness.items():
        if measured:
            rows = {metric: f"{_mean(values):.4g}" for metric, values in measured.items()}
            parts.append(_table(f"faithfulness of {_plain(name)}", "mean over the probe", rows))
    return "\n\n".join(parts)


def alert_record(alert: Alert) -> dict[str, Any]:
    """Return an alert as plain values."""
    return {
        "measure": alert.measure,
        "groups": [
            {"group": each.group, "value": each.value, "usual": each.usual, "error": each.error, "times": each.times}
            for each in alert.excesses
        ],
        "samples": list(alert.samples),
        "indices": list(alert.indices),
        "words": str(alert),
    }


def alert_summary(alert: Alert) -> str:
    """Write an alert as markdown: its words, and a row for each group."""
    if not alert.excesses:
        return f"**Alert**: {_plain(str(alert))}"
    rows = [
        f"| {_plain(each.group)} | {each.value:.4g} | {each.usual:.4g} | {each.error:.2g} | {each.times:.1f} |"
        for each in alert.excesses
    ]
    head = f"| | {alert.measure} | usual | error | times |\n|---|---|---|---|---|"
    return "\n".join([f"**Alert**: {_plain(str(alert))}", "", head, *rows])


def _plain(words: str) -> str:
    """Take out of a name what a markdown table or HTML would take for its own."""
    return markdown_safe(words, longest=LONGEST)


def _table(what: str, value: str, rows: Mapping[str, str]) -> str:
    return "\n".join([f"| {what} | {value} |", "|---|---|", *(f"| {key} | {cell} |" for key, cell in rows.items())])


def _drift_table(drifts: Drifts) -> str:
    lines = ["| distance | " + " | ".join(f"to {r} (error)" for r in drifts) + " |", "|---" * (len(drifts) + 1) + "|"]
    for measure in next(iter(drifts.values())).values:
        cells = [f"{drift.mean(measure):.4f}{_margin(drift, measure)}" for drift in drifts.values()]
        lines.append(f"| {measure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _margin(drift: Drift, measure: str) -> str:
    error = drift.error(measure)
    below = ", below its error" if drift.mean(measure) < error else ""
    return "" if math.isnan(error) else f" ({error:.4f}{below})"


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


def trust(attribution: Attribution, drifts: Drifts, method: Method) -> str:
    """Return the sentence of a picture's title about its error."""
    beyond = missed_words(attribution, method)
    words = [said for said in (beyond, unexplained_words(attribution)) if said]
    error = attribution.error
    if error is not None and not bool(error.isnan().all()):
        words.append(
            f"Estimated error {_percent(error.nanmean())} of the attribution (worst {_percent(_worst(error))})."
        )
    for reference, moved in drifts.items():
        measure = next(iter(moved.values))
        distance, noise = moved.mean(measure), moved.error(measure)
        below = " (below its own error: not distinguishable from no change)" if below_error(moved) else ""
        margin = "" if math.isnan(noise) else f" ± {noise:.3f}"
        words.append(f"Drift to {reference}: {distance:.3f}{margin}{below}.")
    return " ".join(words)


def agreement_words(comparison: Comparison) -> str:
    """Return the sentence of a picture's title about the agreement of methods."""
    pairs = [f"{a} and {b} {_mean(values):.2f}" for (a, b), values in comparison.agreement.items()]
    return f"Agreement (rank correlation): {', '.join(pairs)}." if pairs else ""


def _worst(shares: Tensor) -> Tensor:
    """Return the largest share of those that are defined."""
    return torch.nan_to_num(shares, nan=0.0, posinf=math.inf).max()


def _percent(share: Tensor) -> str:
    """Write a share; relative to almost nothing it may have any size."""
    return "over 1,000 %" if share > MOST_SAID else f"{float(share) * 100:.1f} %"
