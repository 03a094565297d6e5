"""The events of a neuron monitor for the Explain tab: class x neuron rates of every layer, one event per epoch."""

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.callbacks.neurons.counting.watch import Profiles
from lightning_explain.callbacks.neurons.layer_report import LayerReport
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.callbacks.neurons.tab_exemplars import TabUnits
from lightning_explain.feeding import FeedingFeatures
from lightning_explain.log import Journal, tag
from lightning_explain.log.tab_names import LONGEST, names_of
from lightning_explain.neurons import LayerProfile
from lightning_explain.render.text import shortened

MOST_CLASSES = 100
MOST_CELLS = 1 << 14
"""Class x neuron cells of a layer in an event; of a larger layer the neurons that tell classes apart best."""

MOST_LAYERS = 40
UNDEFINED = 255
FULL = 250
"""A byte is `FULL * share`; 255 is kept for NaN."""

MOST_LABELS, MOST_LABELLED = 4, 256
"""Exemplars of a unit whose classes are told, and units of a layer for which they are."""

MOST_FED = 6
"""Features of a class and neuron in an event."""

FED_SIDE, FED_FULL, MOST_FED_MAPS = 14, 127, 120
"""Longer side of the picture of what feeds a neuron, its largest level, and pictures in an event."""

Feeding = Mapping[str, Sequence[Mapping[str, Any]]]
"""By layer, rows with `class` (a name), `neuron`, `feature` (a name) and `value` (signed), strongest first."""


def share_bytes(shares: Tensor) -> str:
    r"""Write shares 0 to 1 as base64 of a byte each.

    Example:
        >>> base64.b64decode(share_bytes(torch.tensor([0.0, 0.5, float("nan")])))
        b'\x00}\xff'
    """
    levels = torch.where(shares.isnan(), float(UNDEFINED), (shares.clamp(0, 1) * FULL).round())
    return base64.b64encode(levels.byte().numpy().tobytes()).decode()


def _shown_neurons(rates: Tensor) -> list[int]:
    """Choose the neurons of a layer: all, or those whose rates differ most between classes."""
    room = MOST_CELLS // max(1, len(rates))
    if rates.shape[1] <= room:
        return list(range(rates.shape[1]))
    spread = rates.nan_to_num().amax(0) - rates.nan_to_num().amin(0)
    return spread.topk(room).indices.sort().values.tolist()


def _members(mask: Tensor, neurons: Sequence[int]) -> list[int]:
    return [neuron for neuron in neurons if bool(mask[neuron])]


def _exemplar_labels(found: LayerReport | None) -> dict[str, Any]:
    """Return the classes of each unit's first exemplars: few bytes for units of which no crops are written."""
    exemplars = None if found is None else found.exemplars
    if exemplars is None or len(exemplars.labels) > MOST_LABELLED or not bool((exemplars.labels >= 0).any()):
        return {}
    return {"exemplar_labels": exemplars.labels[:, :MOST_LABELS].tolist()}


def _effects(found: LayerReport | None, classes: Sequence[int]) -> dict[str, Any]:
    """Return the header's entry on the ablation of a layer's units: counts of probe samples by class, and errors."""
    if found is None or found.effects is None:
        return {}
    effects = found.effects
    known = [c for c in classes if c < len(effects.n_samples)]
    errors = [[round(error, 3) for error in row] for row in effects.standard_error[:, known].tolist()]
    lost, gained = effects.lost[:, known].tolist(), effects.gained[:, known].tolist()
    rows = zip(effects.units.tolist(), lost, gained, errors, strict=True)
    return {
        "effects": {
            "epoch": found.effects_epoch,
            "classes": known,
            "n_samples": effects.n_samples[known].tolist(),
            "n_correct": effects.n_correct[known].tolist(),
            "units": [list(row) for row in rows],
        }
    }


def fed_maps(feeding: FeedingFeatures | None, class_names: Sequence[str], *, most: int) -> dict[str, Any]:
    """Return the header's entries on the places of the input that feed a layer's neurons, as small pictures.

    Args:
        feeding: What feeds them; None where unknown.
        class_names: Names of the classes.
        most: Pictures at most, the most telling neuron of each class first.
    """
    if feeding is None or len(feeding.shape) < 2:
        return {}
    entries: dict[str, Any] = {"feeding_shape": list(feeding.shape)}
    if feeding.maps is None:
        return entries
    classes: list[int] = feeding.classes.tolist()
    rank = [classes[:place].count(c) for place, c in enumerate(classes)]
    chosen = sorted(range(len(classes)), key=lambda place: (rank[place], place))[:most]
    names = [class_names[c] if c < len(class_names) else str(c) for c in classes]
    height, width = (min(FED_SIDE, side) for side in feeding.maps.shape[1:])
    small = functional.adaptive_avg_pool2d(feeding.maps[chosen].float()[:, None], (height, width))
    small = small[:, 0].flatten(1).nan_to_num()
    scales = small.abs().amax(1)
    levels = (small / torch.where(scales > 0, scales, 1.0)[:, None] * FED_FULL).round().to(torch.int8)
    maps = [
        [
            int(feeding.neurons[place]),
            shortened(names[place], LONGEST),
            base64.b64encode(row.numpy().tobytes()).decode(),
            float(f"{scale:.3g}"),
        ]
        for place, row, scale in zip(chosen, levels, scales.tolist(), strict=True)
    ]
    return {**entries, "fed_size": [height, width], "fed_maps": maps}


def _of_units(
    found: LayerReport | None, classes: Sequence[int], class_names: Sequence[str], most_maps: int
) -> dict[str, Any]:
    """Return the header's entries on single units: accuracy without them, classes of exemplars, what feeds them."""
    fed = fed_maps(found.feeding if found else None, class_names, most=most_maps)
    if found is not None and found.feeding is not None and found.feeding_epoch >= 0:
        fed["feeding_epoch"] = found.feeding_epoch
    return {**_effects(found, classes), **_exemplar_labels(found), **fed}


def _layer(name: str, profile: LayerProfile, classes: Sequence[int], feeding: Feeding) -> dict[str, Any]:
    rates = profile.rates[list(classes)]
    neurons = _shown_neurons(rates)
    exclusive = _members(profile.exclusive, neurons)
    owners = profile.active_sets.float().argmax(0)
    return {
        "name": shortened(name, LONGEST),
        "n_neurons": profile.rates.shape[1],
        "neurons": None if len(neurons) == profile.rates.shape[1] else neurons,
        "rates": share_bytes(rates[:, neurons]),
        "selectivity": share_bytes(profile.selectivity[neurons]),
        "dead": _members(profile.dead, neurons),
        "always_on": _members(profile.always_on, neurons),
        "exclusive": [[neuron, int(owners[neuron])] for neuron in exclusive],
        "n_dead": int(profile.dead.sum()),
        "saturated": profile.saturated,
        "n_not_finite": int(profile.not_finite.sum()),
        "n_always_on": int(profile.always_on.sum()),
        "n_exclusive": int(profile.exclusive.sum()),
        "overlap": profile.mean_overlap(),
        "metrics": {metric: round(value, 4) for metric, value in profile.scalars().items()},
        "min_rate": profile.min_rate,
        "feeding": _fed(feeding.get(name, ()), set(neurons)),
    }


def _fed(rows: Sequence[Mapping[str, Any]], shown: set[int]) -> list[list[Any]]:
    """Group rows by neuron and class: `[neuron, class, [[feature, value], ...]]` each."""
    groups: dict[tuple[int, str], list[list[Any]]] = {}
    for row in rows:
        group = groups.setdefault((int(row["neuron"]), shortened(str(row["class"]), LONGEST)), [])
        if len(group) < MOST_FED:
            group.append([shortened(str(row["feature"]), LONGEST), float(f"{row['value']:.3g}")])
    return [[neuron, name, fed] for (neuron, name), fed in groups.items() if neuron in shown]


def _labels_in(layers: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the classes of exemplars, which need not be among those shown."""
    units = [unit for layer in layers for unit in layer.get("exemplars", {}).get("units", ())]
    written = {one["label"] for unit in units for one in unit["shown"]}
    told = {label for layer in layers for labels in layer.get("exemplar_labels", ()) for label in labels}
    return {label for label in written | told if label >= 0}


def neuron_tab(
    profiles: Profiles,
    class_metrics: Mapping[str, Sequence[float]],
    class_names: Sequence[str],
    *,
    turnover: Mapping[str, float],
    feeding: Feeding,
    reports: Mapping[str, LayerReport] = MappingProxyType({}),
    more: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Describe profiles: the header of the tab's event.

    Args:
        profiles: By layer.
        class_metrics: Precision, recall and F1 by class.
        class_names: Names of the classes.
        turnover: By layer, where known.
        feeding: Strongest input features of classes' neurons; empty where unknown.
        reports: By layer, what else is known of its units.
        more: Further fields by layer.

    Returns:
        Header; see `docs/tab.md`.
    """
    seen = torch.stack([p.seen[: min(len(x.seen) for x in profiles.values())] for p in profiles.values()]).any(0)
    classes = seen.nonzero().flatten().tolist()[:MOST_CLASSES]
    most_maps = MOST_FED_MAPS // max(1, min(len(profiles), MOST_LAYERS))
    layers = [
        {
            **_layer(name, profile, classes, feeding),
            **_of_units(reports.get(name), classes, class_names, most_maps),
            **more.get(name, {}),
        }
        for name, profile in list(profiles.items())[:MOST_LAYERS]
    ]
    metrics = {
        metric: {str(c): round(float(values[c]), 4) for c in classes if c < len(values)}
        for metric, values in class_metrics.items()
    }
    known = {shortened(name, LONGEST): value for name, value in turnover.items()}
    return {
        "kind": "neurons",
        "classes": classes,
        "n_classes": int(seen.sum()),
        "class_names": names_of(
            [*classes, *_labels_in(layers)], lambda c: class_names[c] if c < len(class_names) else str(c)
        ),
        "n_samples": [int(next(iter(profiles.values())).n_samples[c]) for c in classes],
        "n_layers": len(profiles),
        "layers": [{**layer, "turnover": known.get(layer["name"])} for layer in layers],
        "curve": {
            **metrics,
            "layers": {
                layer["name"]: {
                    **layer["metrics"],
                    "turnover": known.get(layer["name"]),
                }
                for layer in layers
            },
        },
    }


def log_neuron_tab(
    journal: Journal,
    name: str,
    report: NeuronReport,
    scalars: Mapping[str, float],
    *,
    count: int,
    units: TabUnits | None = None,
) -> None:
    """Write an epoch's event for the Explain tab.

    Args:
        journal: The loggers.
        name: The monitor's name.
        report: The report.
        scalars: The logged metrics by tag, which hold the turnover.
        count: Number of epochs logged so far, this one included.
        units: What events say of units beside counts.
    """
    if not journal.shows_tab:
        return
    tags = {layer: tag(name, layer, "turnover") for layer in report.layers}
    more, referred, sprite = (units or TabUnits()).fields(report, step=journal.step)
    header = neuron_tab(
        {layer: found.profile for layer, found in report.layers.items()},
        report.scores,
        report.class_names,
        turnover={layer: scalars[key] for layer, key in tags.items() if key in scalars},
        feeding={
            layer: found.feeding.to_rows(report.class_names, report.feature_names)
            for layer, found in report.layers.items()
            if found.feeding is not None
        },
        reports=report.layers,
        more=more,
    )
    moment = {"name": name, "step": journal.step, "epoch": report.epoch, "stage": report.stage, "count": count}
    silent = [shortened(layer, LONGEST) for layer in report.silent[:MOST_LAYERS]]
    training = report.counted["train"].words() if "train" in report.counted and report.stage == "val" else ""
    moment |= {"never_fired": silent, "caveat": report.caveat, "training": training, **referred}
    journal.tab(name, {**header, **moment}, sprite)
