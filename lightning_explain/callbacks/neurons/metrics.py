"""Metrics, tables and pictures of a neuron monitor's report."""

import math
from collections.abc import Callable, Sequence

from lightning_explain.callbacks.neurons.ablated_units import ablation_table, effect_words
from lightning_explain.callbacks.neurons.counting.not_counted import silent_layers_message
from lightning_explain.callbacks.neurons.counting.watch import Profiles, Stage
from lightning_explain.callbacks.neurons.layer_report import LayerReport
from lightning_explain.callbacks.neurons.overview import drawn_last, macro_f1
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.feeding import FeedingFeatures, feature_name
from lightning_explain.log import Journal, class_parts, tag
from lightning_explain.neurons.profile import LayerProfile, rate_gap
from lightning_explain.render.colour import Picture
from lightning_explain.render.units.neuron_features import fed_images_picture, fed_table_picture
from lightning_explain.render.units.neurons import notice_picture, overlap_picture, rates_picture
from lightning_explain.render.words import LONGEST, markdown_safe

MOST_CURVES = 100
"""Classes that get curves of their own: each is three tags in every logger."""

TOLD = 5
"""Feeding features told of each neuron in the text."""


def layer_scalars(name: str, profiles: Profiles, *prefix: str) -> dict[str, float]:
    """Return every layer's metrics by tag.

    Args:
        name: The monitor's name.
        profiles: By layer.
        *prefix: More tag parts before the layer's name.
    """
    return {
        tag(name, *prefix, layer, metric): value
        for layer, profile in profiles.items()
        for metric, value in profile.scalars().items()
    }


def report_scalars(name: str, report: NeuronReport) -> dict[str, float]:
    """Return all metrics of a report by tag: of the layers, and of the first 100 classes."""
    metrics = layer_scalars(name, report.profiles)
    for layer, found in report.layers.items():
        turnover = found.history.mean_turnover()
        if not math.isnan(turnover):
            metrics[tag(name, layer, "turnover")] = turnover
    metrics |= exemplar_scalars(name, report)
    parts = class_parts(report.class_names)[:MOST_CURVES]
    for metric, values in report.scores.items():
        metrics |= {tag(name, metric, part): value for part, value in zip(parts, values, strict=False)}
    return metrics | macro_f1(name, report.scores)


def exemplar_scalars(name: str, report: NeuronReport) -> dict[str, float]:
    """Return the metrics of the exemplars of a validation by tag."""
    return {
        tag(name, layer, metric): value
        for layer, found in report.layers.items()
        if found.exemplars is not None and report.stage == "val"
        for metric, value in found.exemplars.scalars().items()
    }


def gap_scalars(name: str, train: Profiles, validation: Profiles) -> dict[str, float]:
    """Return the mean absolute difference between training and validation rates by layer."""
    return {
        tag(name, layer, "gap"): rate_gap(train[layer], profile)
        for layer, profile in validation.items()
        if layer in train
    }


def _percent(share: float) -> str:
    return "an unknown share" if math.isnan(share) else f"{share:.0%}".replace("%", " %")


def layer_doubts(profile: LayerProfile) -> str:
    """Return the limits of a layer's rates as text; empty if there are none."""
    words: list[str] = []
    n_odd = int(profile.not_finite.sum())
    if n_odd:
        words.append(f"{n_odd} of {len(profile.alive)} neurons gave NaN or infinity, which counts as not active.")
    if profile.saturated:
        words.append(
            "Saturated: nearly every neuron is active for nearly every sample, so these rates say nothing of the "
            "classes. Raise threshold= or min_fraction=."
        )
    return " ".join(words)


def doubts(report: NeuronReport) -> str:
    """Return the limits of a report as markdown; empty if there are none."""
    lines = [f"- {markdown_safe(layer)}: {layer_doubts(found.profile)}" for layer, found in report.layers.items()]
    lines = [line for line in lines if not line.endswith(": ")]
    if report.silent:
        stage = "train" if report.stage == "train" else "val"
        lines.append(f"- {markdown_safe(silent_layers_message(report.silent, stage))}")
    training = report.counted["train"].words() if "train" in report.counted and report.stage == "val" else ""
    if training:
        lines.append(f"- Training: {training}")
    if report.caveat:
        lines.append(f"- Turnover: {markdown_safe(report.caveat)}")
    return "\n".join(lines)


def log_silent(journal: Journal, name: str, layers: Sequence[str], stage: Stage, *, is_full: bool = True) -> None:
    """Put up a picture where the rates of layers would be that never fired; one for all unless `is_full`."""
    groups = [[layer] for layer in layers] if is_full else [list(layers)]
    for group in groups if journal.shows_pictures and layers else ():
        layer = group[0]
        words = f"Layer {layer} has no rates: {silent_layers_message(group, stage)}"
        journal.image(tag(name, layer, "rates"), notice_picture(words))


def _moment(report: NeuronReport) -> str:
    return f"after epoch {report.epoch} ({'validation' if report.stage == 'val' else 'training'} data)"


def _rates(layer: str, found: LayerReport, report: NeuronReport) -> Picture:
    profile = found.profile
    several = int(profile.seen.sum()) > 1
    by_class = " for each class (down)" if several else ""
    shared = f"; classes share {_percent(profile.mean_overlap())} of their active neurons" if several else ""
    unseen = f"Never fired, and not shown: {', '.join(report.silent[:3])}." if report.silent else ""
    anew = f"Turnover: {report.caveat}" if report.caveat else ""
    notes = " ".join(f"{report.counted_words()} {layer_doubts(profile)} {unseen} {anew}".split())
    title = (
        f"Layer {layer} {_moment(report)}: how often each neuron (across, by index) is active{by_class}. "
        f"{int(profile.dead.sum())} of {profile.rates.shape[1]} neurons are dead{shared}. {notes}"
    )
    return rates_picture(profile.rates, class_names=report.class_names, title=title.strip())


def _overlaps(layer: str, found: LayerReport, report: NeuronReport) -> Picture | None:
    profile = found.profile
    if int(profile.seen.sum()) < 2:
        return None
    title = (
        f"Layer {layer} {_moment(report)}: overlap of the active sets of every two classes, as percent of the neurons "
        f"that either uses (Jaccard index); {_percent(profile.mean_overlap())} on average. {report.counted_words()}"
    )
    seen = [report.class_names[int(c)] for c in profile.seen.nonzero().flatten().tolist()]
    return overlap_picture(profile.seen_overlap, class_names=seen, title=title.strip())


LAYER_PICTURES: dict[str, Callable[[str, LayerReport, NeuronReport], Picture | None]] = {
    "rates": _rates,
    "overlaps": _overlaps,
}
"""Pictures of a layer by the last part of their tags; None where there is nothing to draw."""


def log_pictures(journal: Journal, name: str, report: NeuronReport, *, is_full: bool = True) -> None:
    """Draw and log the pictures of each layer; unless `is_full`, the rates of the last one."""
    layers = drawn_last(report.layers, report.layers, is_full=is_full)
    for layer in layers if journal.shows_pictures else ():
        for part, draw in LAYER_PICTURES.items() if is_full else [("rates", _rates)]:
            picture = draw(layer, report.layers[layer], report)
            if picture is not None:
                journal.image(tag(name, layer, part), picture)


def _feature(index: int, feeding: FeedingFeatures, report: NeuronReport) -> str:
    name = feature_name(index, feeding.shape, report.feature_names, kernel=feeding.kernel)
    return markdown_safe(name, longest=LONGEST)


def feeding_table(report: NeuronReport, layer: str) -> str:
    """Return the feeding features of a layer's neurons as a table in markdown."""
    found = report.layers[layer]
    feeding = found.feeding
    if feeding is None:
        return ""
    measured = found.effects is not None
    head = [*("class", "neuron", "active for", "fed by"), *(["its class without it"] if measured else [])]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for place, (c, neuron) in enumerate(zip(feeding.classes.tolist(), feeding.neurons.tolist(), strict=True)):
        features = zip(feeding.features[place, :TOLD].tolist(), feeding.values[place, :TOLD].tolist(), strict=True)
        told = ", ".join(
            f"{'+' if value > 0 else '-'}{abs(value):.3g} {_feature(feature, feeding, report)}"
            for feature, value in features
            if value != 0
        )
        rate = f"{float(found.profile.rates[c, neuron]):.0%}".replace("%", " %")
        name = markdown_safe(report.class_names[int(c)], longest=LONGEST)
        without = f" {effect_words(found, int(c), int(neuron)) or 'not measured'} |" if measured else ""
        rows.append(f"| {name} | {neuron} | {rate} of its samples | {told or 'nothing'} |{without}")
    return "\n".join([markdown_safe(_what(feeding, report, layer)), "", *rows])


def _what(feeding: FeedingFeatures, report: NeuronReport, layer: str) -> str:
    n_shown, n_active = len(feeding.classes), int(feeding.n_active.sum())
    if feeding.method == "weights":
        how = "The layer reads the input: metrics are its weights."
    else:
        how = (
            f"Metrics are the neuron's activation shared out over the input features ({feeding.method}), on average "
            "of the class's probe samples."
        )
        if feeding.errors is not None and len(feeding.errors):
            how += f" All features of a neuron together are off by at most {float(feeding.errors.median()):.0%} or so."
    if feeding.maps is not None and len(feeding.shape) == 2 and not feeding.kernel:
        how += " Steps are down, features across."
    chosen = f"that tell most of each class ({n_shown} of {n_active} pairs of class and active neuron)"
    if len(report.class_names) == 1:
        chosen = f"that are most active ({n_shown} of {n_active})"
    return f"Layer {layer} after epoch {report.epoch}: what feeds the neurons {chosen}. {how}"


def log_feeding(
    journal: Journal, name: str, report: NeuronReport, layers: Sequence[str], *, is_full: bool = True
) -> None:
    """Write and draw what feeds the neurons of some layers; unless `is_full`, if it is the last one."""
    known = {layer: found.feeding for layer, found in report.layers.items() if found.feeding is not None}
    fresh = [layer for layer in layers if layer in known]
    for layer in drawn_last(known, fresh, is_full=is_full) if journal.shows_pictures else ():
        feeding = known[layer]
        journal.text(tag(name, layer, "features"), feeding_table(report, layer))
        names, title = report.class_names, _what(feeding, report, layer)
        if feeding.maps is not None:
            picture = fed_images_picture(feeding.classes, feeding.neurons, feeding.maps, class_names=names, title=title)
        else:
            picture = fed_table_picture(
                feeding.classes,
                feeding.neurons,
                feeding.features,
                feeding.values,
                name_of=lambda index, feeding=feeding: feature_name(
                    index, feeding.shape, report.feature_names, kernel=feeding.kernel
                ),
                class_names=names,
                title=title,
            )
        journal.image(tag(name, layer, "features"), picture)


def log_effects(
    journal: Journal, name: str, report: NeuronReport, layers: Sequence[str], *, is_full: bool = True
) -> None:
    """Write the accuracy of each class without single neurons, for some layers; unless `is_full`, if it is the last."""
    known = [layer for layer, found in report.layers.items() if found.effects is not None]
    for layer in drawn_last(known, layers, is_full=is_full) if journal.shows_pictures else ():
        journal.text(tag(name, layer, "ablation"), ablation_table(report, layer))
