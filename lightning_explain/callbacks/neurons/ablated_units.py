"""Mean ablation of the units that a report lists: which ones, at what cost, and the table of what it does."""

import math
from collections.abc import Iterable, Mapping
from itertools import chain, zip_longest
from types import MappingProxyType

import torch
from torch import Tensor

from lightning_explain.callbacks.neurons.layer_report import LayerReport
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.feeding import choose_neurons
from lightning_explain.neurons import LayerProfile
from lightning_explain.render.words import LONGEST, markdown_safe

SHARE = 0.5
"""By default ablation sends at most this share of the validation's samples forward again,"""

FEWEST = 12
"""or so many times the probe where that is more."""


def listed_units(profile: LayerProfile, most: int, first: Iterable[int] = ()) -> list[int]:
    """Choose the units of a layer that are listed as exclusive or selective, the most telling first.

    First units that are shown by their exemplars, then the most telling one of each class's active set, then exclusive
    units, then the others, each by class selectivity.

    Args:
        profile: Of the layer.
        most: Most units.
        first: Units that are shown; those that no sample makes positive are left out.

    Returns:
        Units without repetition; none where fewer than two classes were seen.
    """
    selectivity = profile.selectivity
    if bool(selectivity.isnan().all()):
        return []
    ranked = selectivity.nan_to_num(-1.0)
    telling = sorted({unit for _, unit in choose_neurons(profile, 1)}, key=lambda unit: -float(ranked[unit]))
    exclusive = profile.exclusive & ~selectivity.isnan()
    order = torch.where(exclusive, ranked + 2, ranked).argsort(descending=True, stable=True).tolist()
    rest = [unit for unit in order[: most + len(telling)] if not math.isnan(float(selectivity[unit]))]
    shown = [unit for unit in first if not math.isnan(float(selectivity[unit]))]
    return list(dict.fromkeys([*shown, *telling, *rest]))[:most]


def room_for_units(n_probe: int, n_samples: int) -> int:
    """Return the number of units of all layers whose ablation the cost allows.

    Args:
        n_probe: Samples of the probe.
        n_samples: Samples that the report counted.

    Example:
        >>> room_for_units(40, 1000), room_for_units(40, 4000)
        (12, 50)
    """
    return max(FEWEST, int(SHARE * n_samples / max(1, n_probe)))


def chosen_units(
    profiles: Mapping[str, LayerProfile],
    most_of_layer: int | None,
    *,
    n_probe: int,
    n_samples: int,
    shown: Mapping[str, Iterable[int]] = MappingProxyType({}),
) -> dict[str, list[int]]:
    """Choose the units whose ablation is measured, layer by layer.

    Args:
        profiles: By layer.
        most_of_layer: Most units of each layer; None for as many as the cost allows, shared evenly by the layers.
        n_probe: Samples of the probe.
        n_samples: Samples that the report counted.
        shown: Units of each layer that are shown by their exemplars.

    Example:
        >>> chosen_units({}, 4, n_probe=40, n_samples=1000)
        {}
    """
    if most_of_layer is not None:
        return {key: listed_units(profile, most_of_layer, shown.get(key, ())) for key, profile in profiles.items()}
    room = room_for_units(n_probe, n_samples)
    listed = {layer: listed_units(profile, room, shown.get(layer, ())) for layer, profile in profiles.items()}
    in_turn = zip_longest(*([(layer, unit) for unit in units] for layer, units in listed.items()))
    found: dict[str, list[int]] = {}
    for layer, unit in [pair for pair in chain.from_iterable(in_turn) if pair is not None][:room]:
        found.setdefault(layer, []).append(unit)
    return found


def change_words(change: float, error: float) -> str:
    """Write a change of accuracy and its standard error in percentage points.

    Example:
        >>> change_words(-0.25, 0.2041), change_words(0.0, 1 / 6)
        ('-25 ± 20 points', '0 ± 17 points')
    """
    return f"{100 * change:+.0f} ± {100 * error:.0f} points".replace("+0 ", "0 ").replace("-0 ", "0 ")


def effect_words(found: LayerReport, c: int, unit: int) -> str:
    """Format the change of a class's accuracy without a unit; empty where it was not measured."""
    effects = found.effects
    if effects is None or c >= len(effects.n_samples) or not int(effects.n_samples[c]):
        return ""
    place = effects.place_of(unit)
    if place is None:
        return ""
    return change_words(float(effects.change[place, c]), float(effects.standard_error[place, c]))


def ablation_table(report: NeuronReport, layer: str) -> str:
    """Return the effects of a layer's units as a table in markdown; empty where none was measured."""
    found = report.layers[layer]
    effects = found.effects
    if effects is None:
        return ""
    columns = ("neuron", "listed as", "its class without it", "the class that loses most", "all classes")
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    rows += [_row(report, found, effects, place, unit) for place, unit in enumerate(effects.units.tolist())]
    head = (
        f"Layer {layer} after epoch {report.epoch}: accuracy without a neuron (its output set to its mean over the "
        f"probe) minus accuracy with it, in percentage points ± standard error (paired, Agresti and Min 2005), over "
        f"{int(effects.n_samples.sum())} probe samples. Selectivity is not importance (Morcos et al. 2018). That no "
        "sample changed is no proof that none would: the error says how much could be hidden."
    )
    return "\n".join([markdown_safe(head), "", *rows])


def _row(report: NeuronReport, found: LayerReport, effects: UnitEffects, place: int, unit: int) -> str:
    own, kind = found.profile.listed_class(unit)
    change = effects.change[place].nan_to_num(math.inf)
    worst = int(change.argmin())
    lost, gained = effects.lost[place].sum(), effects.gained[place].sum()
    total: Tensor = effects.n_samples.sum()
    error = float(effects.overall_error[place])
    cells = [
        str(unit),
        f"{kind} {_name(report, own)}",
        effect_words(found, own, unit) or "not in the probe",
        f"{_name(report, worst)}: {effect_words(found, worst, unit)}",
        change_words(float((gained - lost) / total), error),
    ]
    return f"| {' | '.join(cells)} |"


def _name(report: NeuronReport, c: int) -> str:
    return markdown_safe(report.class_names[c] if c < len(report.class_names) else str(c), longest=LONGEST)
