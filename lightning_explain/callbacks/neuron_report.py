"""What a neuron monitor says of its profiles: figures by tag, pictures, and a record for machines."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lightning_explain.log import Journal, class_parts, tag
from lightning_explain.neurons import LayerProfile, turnover
from lightning_explain.neurons.profile import rate_gap
from lightning_explain.render.neurons import rates_picture

Profiles = dict[str, LayerProfile]


def layer_scalars(name: str, profiles: Profiles, previous: dict[str, Tensor], *prefix: str) -> dict[str, float]:
    """Return every layer's figures by tag, with the turnover of its sets since the previous profile.

    Args:
        name: The monitor's name.
        profiles: By layer.
        previous: Active sets of the previous profile by layer: boolean [classes, neurons].
        *prefix: More tag parts before the layer's name.
    """
    figures: dict[str, float] = {}
    for layer, profile in profiles.items():
        for figure, value in profile.scalars().items():
            figures[tag(name, *prefix, layer, figure)] = value
        if layer in previous and previous[layer].shape[1] == profile.active_sets.shape[1]:
            changed = turnover(previous[layer], profile.active_sets)
            figures[tag(name, *prefix, layer, "turnover")] = float(changed[profile.seen].mean())
    return figures


def gap_scalars(name: str, train: Profiles, validation: Profiles) -> dict[str, float]:
    """Return the mean absolute difference between training and validation rates by layer."""
    return {
        tag(name, layer, "gap"): rate_gap(train[layer], profile)
        for layer, profile in validation.items()
        if layer in train
    }


def class_scalars(name: str, figures: dict[str, list[float]], class_names: Sequence[str]) -> dict[str, float]:
    """Return precision, recall and F1 of each class by tag."""
    parts = class_parts(class_names)
    return {
        tag(name, figure, parts[c]): value
        for figure, values in figures.items()
        for c, value in enumerate(values)
        if c < len(class_names)
    }


def record(
    profiles: Profiles, class_figures: dict[str, list[float]], class_names: Sequence[str], *, stage: str, epoch: int
) -> dict[str, Any]:
    """Return one epoch's profiles as plain lists."""
    return {
        "epoch": epoch,
        "stage": stage,
        "class_names": list(class_names),
        "scores": class_figures,
        "layers": {layer: profile.record(class_names) for layer, profile in profiles.items()},
    }


def log_rates(journal: Journal, name: str, profiles: Profiles, class_names: Sequence[str], *, moment: str) -> None:
    """Draw and log each layer's rates as class x neuron."""
    if not journal.shows_pictures:
        return
    for layer, profile in profiles.items():
        n_dead = int(profile.dead.sum())
        title = (
            f"Layer {layer} {moment}: how often each neuron (across, by index) is active for each class (down). "
            f"{n_dead} of {profile.rates.shape[1]} neurons are dead; classes share "
            f"{_percent(profile.mean_overlap())} of their active neurons."
        )
        journal.image(tag(name, layer, "rates"), rates_picture(profile.rates, class_names=class_names, title=title))


def _percent(share: float) -> str:
    return "an unknown share" if math.isnan(share) else f"{share:.0%}".replace("%", " %")
