"""The activation maps of one probe sample, layer by layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.capture import Call, Layer, watched
from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import Journal, tag
from lightning_explain.neurons import LayerProfile
from lightning_explain.neurons.arrangement import units_of
from lightning_explain.probe import Probe
from lightning_explain.render.modalities import form_of
from lightning_explain.render.modalities.image import input_pictures
from lightning_explain.render.units.neurons import has_maps, maps_picture


def _activated(output: Tensor | Call, layer: Layer, key: str) -> Tensor | None:
    """Return a copy of what the layer gives, channels first, after the functional activation that follows it."""
    units = units_of(output, layer, key, n_samples=1) if layer.use(key).counted else None
    return None if units is None else units.values.movedim(units.unit_dim, 1).clone()


def activation_maps(
    pl_module: nn.Module, inputs: tuple[Tensor, ...], question: Question, layers: Sequence[Layer]
) -> dict[str, Tensor]:
    """Return the watched layers' outputs for the first probe sample, where they are maps: [channels, height, width].

    Cost: one forward pass of one sample, isolated.
    """
    # a layer with a view (attention, a recurrent one) gives no maps
    plain = [layer for layer in layers if layer.view is None]
    with undisturbed(pl_module), watched(plain, reduce=_activated) as recorder, torch.no_grad():
        recorder.start()
        question.scores(pl_module)(*(part[:1].clone() for part in inputs))
        seen = recorder.stop()
    return {key: output[0].float().cpu() for key, output in seen.items() if output is not None and has_maps(output)}


def shown_channels(
    wanted: int | Sequence[int], activation: Tensor, profile: LayerProfile | None, label: int | None
) -> list[int]:
    """Choose the channels of a layer that are drawn.

    Args:
        wanted: Those with these indices; or that many, of the largest mean activation for the sample's class (for the
            sample itself where its class is not known).
        activation: Of the sample: [channels, height, width].
        profile: Of the layer, if it was counted.
        label: Class of the sample.

    Raises:
        ConfigurationError: The layer has none of the channels asked for.
    """
    if not isinstance(wanted, int):
        chosen = [channel for channel in wanted if 0 <= channel < len(activation)]
        if not chosen:
            raise ConfigurationError(
                f"maps={list(wanted)} names no channel of a layer that has {len(activation)}; give indices from 0 to "
                f"{len(activation) - 1}, or how many to draw."
            )
        return chosen
    size = activation.flatten(1).mean(1)
    if profile is not None and label is not None and label < len(profile.rates) and bool(profile.seen[label]):
        of_class = profile.activation[label]
        size = of_class if len(of_class) == len(size) else size
    return size.topk(min(wanted, len(size))).indices.sort().values.tolist()


def log_maps(
    journal: Journal,
    name: str,
    probe: Probe,
    maps: Mapping[str, Tensor],
    *,
    wanted: int | Sequence[int],
    profiles: Mapping[str, LayerProfile],
    moment: str,
) -> None:
    """Draw and log the maps of the first probe sample: the chosen channels of each layer."""
    first = probe.parts[0][:1]
    if form_of(probe.display or Display(), first) != "image":
        return
    picture = input_pictures(first, probe.display)[0]
    label = None if probe.labels is None else int(probe.labels[0])
    what = "the first probe sample" if label is None else f"a probe sample of class {probe.class_name(label)}"
    of = (
        "" if not isinstance(wanted, int) else f", the most active for {'the sample' if label is None else 'its class'}"
    )
    for layer, activation in maps.items():
        channels = shown_channels(wanted, activation, profiles.get(layer), label)
        title = (
            f"Layer {layer} {moment}: activation maps of {what}; {len(channels)} of {len(activation)} channels{of}, by "
            "index."
        )
        journal.image(tag(name, layer, "maps"), maps_picture(picture, activation, title=title, channels=channels))
