"""The overview of a neuron monitor's report: metrics over all layers, and the few layers that are drawn."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from lightning_explain.callbacks.neurons.counting.watch import Profiles
from lightning_explain.log import class_parts, tag, tag_part

SHARES = frozenset({"dead", "dormant", "always_on", "exclusive"})
"""The metrics of a layer that are shares of its neurons."""

MEANS = frozenset({"selectivity", "overlap", "turnover", "gap", "purity", "stayed", "settled"})
"""The others, which are means over neurons, classes or samples."""

ALL_LAYERS = "all_layers"
TELLING = ("dead", "always_on", "exclusive", "selectivity", "turnover", "gap", "purity")
"""The metrics over all layers that are logged with `detail="terse"`."""


def over_layers(name: str, metrics: Mapping[str, float], profiles: Profiles) -> dict[str, float]:
    """Return metrics over all layers by tag, of those by layer.

    A share is that of the neurons of all layers together; what is no share is the mean over the layers that have it.

    Args:
        name: The monitor's name.
        metrics: By tag, of layers and of anything else; of the training, and of the validation.
        profiles: By layer.
    """
    # a layer may have the name as well
    whole = class_parts([ALL_LAYERS], taken=[tag_part(layer) for layer in profiles])[0]
    found: dict[str, float] = {}
    for prefix in ((), ("train",)):
        for metric in SHARES | MEANS:
            sizes = {tag(name, *prefix, layer, metric): of.rates.shape[1] for layer, of in profiles.items()}
            known = {key: n if metric in SHARES else 1 for key, n in sizes.items() if _is_known(metrics, key)}
            if known:
                mean = sum(metrics[key] * weight for key, weight in known.items()) / sum(known.values())
                found[tag(name, *prefix, whole, metric)] = mean
    return found


def _is_known(metrics: Mapping[str, float], key: str) -> bool:
    return not math.isnan(metrics.get(key, math.nan))


def macro_f1(name: str, scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the mean F1 of the classes that have one, by tag; empty if none has."""
    known = [value for value in scores.get("f1", ()) if not math.isnan(value)]
    return {tag(name, "macro_f1"): sum(known) / len(known)} if known else {}


def telling_tags(name: str, tags: Iterable[str]) -> set[str]:
    """Return those of the tags of metrics that are logged with `detail="terse"`."""
    own = re.escape(tag(name))
    telling = re.compile(rf"{own}/((train/)?{ALL_LAYERS}[\d_]*/({'|'.join(TELLING)})|macro_f1|overhead)")
    return {each for each in tags if telling.fullmatch(each)}


def drawn_last(layers: Iterable[str], fresh: Iterable[str], *, is_full: bool) -> list[str]:
    """Choose the layers whose tables and rates are drawn: all, or the last one, which tells classes apart best.

    Args:
        layers: All layers that have what is drawn, in the order of the network.
        fresh: Those of which it is new.
        is_full: Choose all.

    Example:
        >>> drawn_last(["a", "b", "c"], ["a", "b"], is_full=False), drawn_last(["a", "b"], ["a", "b"], is_full=False)
        ([], ['b'])
    """
    return [layer for layer in fresh if is_full or layer == list(layers)[-1]]


def first_and_last(layers: Sequence[str], *, is_full: bool) -> list[str]:
    """Choose the layers whose exemplars are drawn: all, or the first and the last.

    Example:
        >>> first_and_last(["a", "b", "c"], is_full=False), first_and_last(["a"], is_full=False)
        (['a', 'c'], ['a'])
    """
    return list(layers) if is_full else list(dict.fromkeys([*layers[:1], *layers[-1:]]))
