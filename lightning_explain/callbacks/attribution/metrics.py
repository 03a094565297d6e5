"""An attribution monitor's metrics by tag, each with its description."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from lightning_explain.attribution.result import Attribution, flat
from lightning_explain.callbacks.attribution.comparison import Comparison
from lightning_explain.callbacks.attribution.history import Drifts
from lightning_explain.callbacks.attribution.methods import versus
from lightning_explain.faithfulness import mass_in_mask
from lightning_explain.log import class_parts, tag, tag_part
from lightning_explain.probe import Probe
from lightning_explain.render.shown_inputs import shown_inputs
from lightning_explain.render.words import LONGEST, markdown_safe

MAIN = "cosine"
"""The measure behind `drift/previous` and `drift/first`; the others are `drift_<measure>/...`."""

ERROR = "_error"
"""What the tag of a figure's error has after that of the figure."""

MEASURE_MEANINGS = {
    "cosine": "mean cosine distance of the samples' attributions; 0: unchanged, 1: unrelated, 2: reversed",
    "spearman": "1 - rank correlation of the signed attributions; 0: the same order, 1: unrelated, 2: reversed",
    "spearman_absolute": "1 - rank correlation of the absolute attributions; 0: the same order, 1: unrelated",
    "top_k": "share of the strongest tenth of the features that are no longer among them; 0 to 1",
    "relative_l1": "sum of the absolute changes relative to the sum of the absolute attributions before; 0: unchanged",
    "ssim": "1 - structural similarity of the heatmaps; 0: the same",
}

FAITHFULNESS_MEANINGS = {
    "deletion_auc": "mean probability of the explained class (of a single output: its mean) while features go, the "
    "strongest first; low is good",
    "insertion_auc": "mean probability of the explained class (of a single output: its mean) while features come, the "
    "strongest first; high is good",
    "infidelity": "mean squared error of the output's change under small noise as a straight line foretells it, with "
    "the attributions (divided by the input minus the baseline) as its slopes; in squared units of the output. It "
    "measures local linearity: 0 where the output is linear in the input; an exact explanation of a curved output gets "
    "more, so compare methods on one model, not with 0",
    "max_sensitivity": "largest relative change of the attributions when the inputs change by at most 0.02; 0 is best",
    "randomisation": "rank correlation with the explanation of a copy whose weights are random; an explanation that "
    "depends on what was learnt comes near 0",
    "randomisation_absolute": "the same of absolute attributions; near 1 means that the input's form decides, not the "
    "network",
}


MOST_INPUT_SHARES = 4
"""With more inputs their shares are logged with `detail="full"` only."""


class MetricValue(NamedTuple):
    """A number, what it means, and whether it is logged with `detail="terse"` too."""

    value: float
    meaning: str
    telling: bool = False


def method_prefix(name: str, method: str, primary: str) -> tuple[str, ...]:
    """Return the first parts of a method's tags: the first method's stand directly under the monitor's name."""
    return (name,) if method == primary else (name, method)


def metrics(
    name: str, comparison: Comparison, probe: Probe, *, descriptions: Mapping[str, str], removal_baseline: str
) -> dict[str, MetricValue]:
    """Return every metric of an explanation by tag.

    Args:
        name: The monitor's name.
        comparison: The explanation and its comparisons.
        probe: What was explained.
        descriptions: What is said of each method, its baseline included.
        removal_baseline: What deleted features become, in words.
    """
    found: dict[str, MetricValue] = {}
    explanation = comparison.explanation
    for method, attribution in explanation.attributions.items():
        prefix, words = method_prefix(name, method, explanation.primary), descriptions[method]
        own = {
            **drift_metrics(prefix, comparison.drifts.get(method, {}), probe, references=comparison.references),
            **quality_metrics(prefix, attribution, probe),
            **_faithfulness_metrics(prefix, explanation.faithfulness.get(method, {}), removal_baseline),
        }
        words = markdown_safe(words)
        found |= {key: metric._replace(meaning=f"{words}: {metric.meaning}.") for key, metric in own.items()}
    for (a, b), values in comparison.agreement.items():
        found[tag(name, "agreement", versus(a, b))] = MetricValue(
            float(values.nanmean()),
            f"Rank correlation of the signed attributions of {markdown_safe(descriptions[a])} and "
            f"{markdown_safe(descriptions[b])}, mean over the "
            "probe; 1: the same order of features, 0: unrelated, -1: reversed.",
            telling=True,
        )
    return found


def _classes(probe: Probe, references: Iterable[str]) -> list[tuple[str, str, Tensor]]:
    """Give every class of the probe a tag part and mark its samples; empty for regression."""
    labels = probe.labels
    if labels is None:
        return []
    classes = labels.unique().tolist()
    names = [probe.class_name(c) for c in classes]
    parts = class_parts(names, taken=[tag_part(name) for name in references], suffix=ERROR)
    return [(part, name, labels == c) for part, name, c in zip(parts, names, classes, strict=True)]


def _error_meaning(of: str) -> str:
    return (
        f"estimated numerical error of {of}; 95 % of true errors lie below it, and a drift below it cannot be "
        "distinguished from no change"
    )


def drift_metrics(
    prefix: tuple[str, ...], drifts: Drifts, probe: Probe, *, references: Mapping[str, str]
) -> dict[str, MetricValue]:
    """Return the drift metrics by tag: every measure against every reference with its error, and by class.

    Args:
        prefix: First parts of the tags.
        drifts: Drift against each reference that is known.
        probe: What is explained.
        references: Every reference that there may be, and what it is in words.
    """
    found: dict[str, MetricValue] = {}
    for reference, drift in drifts.items():
        for place, measure in enumerate(drift.values):
            group = "drift" if measure == MAIN else f"drift_{measure}"
            what = f"how far the explanation is from {markdown_safe(references[reference])}"
            found[tag(*prefix, group, reference)] = MetricValue(
                drift.mean(measure), f"{what}: {MEASURE_MEANINGS[measure]}", telling=place == 0
            )
            found[f"{tag(*prefix, group, reference)}{ERROR}"] = MetricValue(
                drift.error(measure), _error_meaning(f"{group}/{reference}"), telling=place == 0
            )
    if "previous" in drifts:
        main = next(iter(drifts["previous"].values))
        group = "drift" if main == MAIN else f"drift_{main}"
        for part, class_name, members in _classes(probe, references):
            of_class = markdown_safe(class_name, longest=LONGEST)
            found[tag(*prefix, group, part)] = MetricValue(
                drifts["previous"].mean(main, members),
                f"how far the explanations of class {of_class} are from the previous ones: {MEASURE_MEANINGS[main]}",
            )
            found[f"{tag(*prefix, group, part)}{ERROR}"] = MetricValue(
                drifts["previous"].error(main, members), _error_meaning(f"{group}/{markdown_safe(part)}")
            )
    return found


def quality_metrics(prefix: tuple[str, ...], attribution: Attribution, probe: Probe) -> dict[str, MetricValue]:
    """Return the metrics of a single explanation: completeness, error, size, cost, share inside the masks."""
    found = {
        "total_attribution": MetricValue(
            float(flat(attribution.values).abs().sum(1).mean()),
            "sum of the absolute attributions, mean over the probe, in output units; usually rises as scores grow",
            telling=True,
        ),
        "n_evaluations": MetricValue(
            float(attribution.n_evaluations.float().mean()), "gradient evaluations for each sample, mean over the probe"
        ),
    }
    if attribution.convergence_delta is not None:
        found["convergence_delta"] = MetricValue(
            float(attribution.convergence_delta.abs().mean()),
            "mean absolute completeness gap: how far the attributions' sum is from the output's change between "
            "baseline and input (without a baseline: from the output), in units of the output; 0 is exact",
            telling=attribution.error is None,
        )
    if attribution.absorbed_share is not None:
        found["absorbed_share"] = MetricValue(
            float(attribution.absorbed_share.nanmedian()),
            "part of the explained output that offsets took (biases, norm offsets, positions, class tokens), so that "
            "it reached no input; median over the probe; 0 is none",
            telling=True,
        )
    if attribution.softmax_share is not None:
        found["softmax_share"] = MetricValue(
            float(attribution.softmax_share.nanmedian()),
            "part of the explained output that the Taylor expansion of softmaxes lost on the way to the inputs (0 with "
            'LRP(attention="cp") and no other softmax); median over the probe',
            telling=True,
        )
    if attribution.error is not None:
        found["error"] = MetricValue(
            float(attribution.error.nanmean()),
            "estimated relative L1 error of the attributions, mean over the probe",
            telling=True,
        )
    found |= _input_shares(attribution, probe)
    if probe.masks is not None:
        found["mass_in_mask"] = MetricValue(
            float(mass_in_mask(attribution.parts[0], probe.masks).nanmean()),
            "share of the absolute attribution inside the probe's masks, 0 to 1",
            telling=True,
        )
    return {tag(*prefix, *name.split("/")): metric for name, metric in found.items()}


def _input_shares(attribution: Attribution, probe: Probe) -> dict[str, MetricValue]:
    """Return each input's share of the absolute attribution, where a sample has several inputs."""
    shown = shown_inputs(probe)
    if len(shown) < 2:
        return {}
    sizes = [flat(attribution.parts[part.index]).abs().sum(1) for part in shown]
    total = sum(sizes)
    return {
        f"input_share/{part}": MetricValue(
            float((size / total).nanmean()),
            f"share of the absolute attribution that falls on {one.name[:80]}, 0 to 1, mean over the probe",
            telling=len(shown) <= MOST_INPUT_SHARES,
        )
        for part, one, size in zip(class_parts([one.name for one in shown]), shown, sizes, strict=True)
    }


def _faithfulness_metrics(
    prefix: tuple[str, ...], measured: Mapping[str, Tensor], removal_baseline: str
) -> dict[str, MetricValue]:
    found: dict[str, MetricValue] = {}
    for metric, values in measured.items():
        removed = f"; a feature that is gone is at the baseline {removal_baseline}" if metric.endswith("_auc") else ""
        mean = float(values.nanmean())
        found[tag(*prefix, metric)] = MetricValue(mean, f"{FAITHFULNESS_MEANINGS[metric]}{removed}", telling=True)
    return found
