"""The activation maps of one probe sample, layer by layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.question import Question, undisturbed
from lightning_explain.capture import Layer, watched
from lightning_explain.log import Journal, tag
from lightning_explain.probe import Probe
from lightning_explain.render.explanation import kind_of
from lightning_explain.render.heatmaps import input_pictures
from lightning_explain.render.neurons import has_maps, maps_picture

MOST_CHANNELS = 16


def activation_maps(
    pl_module: nn.Module, inputs: tuple[Tensor, ...], question: Question, layers: Sequence[Layer]
) -> dict[str, Tensor]:
    """Return the watched layers' outputs for the first probe sample, where they are maps: [channels, height, width].

    Cost: one forward pass of one sample, isolated.
    """
    with undisturbed(pl_module), watched(layers) as recorder, torch.no_grad():
        recorder.start()
        question.scores(pl_module)(*(part[:1].clone() for part in inputs))
        seen = recorder.stop()
    return {key: output[0].float().cpu() for key, output in seen.items() if has_maps(output)}


def log_maps(
    journal: Journal,
    name: str,
    probe: Probe,
    maps: dict[str, Tensor],
    *,
    moment: str,
) -> None:
    """Draw and log the maps of the first probe sample: the strongest channels of each layer."""
    first = probe.parts[0][:1]
    if kind_of(first) != "image":
        return
    picture = input_pictures(first)[0]
    labels = probe.labels
    what = "the first probe sample" if labels is None else f"a probe sample of class {probe.class_name(int(labels[0]))}"
    for layer, activation in maps.items():
        shown = min(MOST_CHANNELS, len(activation))
        title = f"Layer {layer} {moment}: activation maps of {what}; {shown} of {len(activation)} channels, by index."
        journal.image(tag(name, layer, "maps"), maps_picture(picture, activation, title=title, largest=MOST_CHANNELS))
