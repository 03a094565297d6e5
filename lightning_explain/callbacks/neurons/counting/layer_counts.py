"""Active-neuron counts of layers by class, gathered in float32 and added up exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_explain.neurons import ActiveNeurons, Activity, LayerProfile
from lightning_explain.neurons.activity import ClassCounts, CountBuffer

DRAIN_EVERY = 64
"""Batches gathered in float32 before they are added to the exact counts."""


@dataclass(frozen=True)
class CountShapes:
    """The sizes of the counts of one stage.

    Attributes:
        n_classes: Number of classes met so far.
        layers: Number of neurons of each layer that was counted.
    """

    n_classes: int
    layers: dict[str, int]


def layer_of(key: str) -> str:
    """Return the layer of a call: counts have a key for each call, `name`, `name#1`, ..."""
    return key.split("#", maxsplit=1)[0]


class LayerCounts:
    """Counts of every layer's active neurons by class.

    Args:
        n_classes: Number of classes at first; it grows with the labels that are met.

    Attributes:
        n_classes: Number of classes met so far, or as many as have names.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = max(1, n_classes)
        self._metrics: dict[str, ActiveNeurons] = {}
        self._buffers: dict[str, CountBuffer] = {}
        self._n_batches = 0

    @property
    def is_empty(self) -> bool:
        """True until a batch is counted."""
        return not self._n_batches

    def grow(self, n_classes: int) -> None:
        """Make room for so many classes."""
        self.n_classes = max(self.n_classes, n_classes)

    def reset(self) -> None:
        """Set all counts to zero."""
        # outside inference mode: counts made inside it could not be changed by training
        with torch.inference_mode(mode=False):
            self._drain()
            for metric in self._metrics.values():
                metric.reset()

    def put_together(self) -> None:
        """Count all samples as one class from here on, those counted before included."""
        self._drain()
        self._buffers = {}
        self.n_classes = 1
        with torch.inference_mode(mode=False):
            self._metrics = {key: metric.put_together() for key, metric in self._metrics.items()}

    def add(self, key: str, activity: Activity, rows: Tensor) -> None:
        """Add a call's activity; `rows` holds the class of each sample."""
        device, n_neurons = activity.active.device, activity.active.shape[1]
        buffer = self._buffers.get(key)
        if buffer is None or buffer.n_classes != self.n_classes or buffer.n_neurons != n_neurons:
            self._drain()
            buffer = self._buffers[key] = CountBuffer(self.n_classes, n_neurons, device)
        buffer.add(activity, rows.to(device))

    def discard_gathered(self, layer: str) -> None:
        """Take back what is gathered of a layer and not yet added to its counts."""
        for key in [key for key in self._buffers if layer_of(key) == layer]:
            del self._buffers[key]

    def end_batch(self) -> None:
        """Add the gathered counts up after every 64 batches."""
        self._n_batches += 1
        if self._n_batches % DRAIN_EVERY == 0:
            self._drain()

    def _drain(self) -> None:
        with torch.inference_mode(mode=False):
            for key, buffer in self._buffers.items():
                counts = buffer.drain()
                # counts of another width are those of a checkpoint, or of a layer that was there before
                if key not in self._metrics or self._metrics[key].n_neurons != buffer.n_neurons:
                    self._metrics[key] = ActiveNeurons(self.n_classes, buffer.n_neurons).to(counts.active.device)
                self._metrics[key].grow(self.n_classes)
                self._metrics[key].add(counts)

    def shapes(self) -> CountShapes:
        """Return the sizes of the counts."""
        self._drain()
        return CountShapes(self.n_classes, {key: metric.n_neurons for key, metric in self._metrics.items()})

    def counted_layers(self) -> set[str]:
        """Return the names of the layers of which a sample was counted."""
        self._drain()
        return {layer_of(key) for key, metric in self._metrics.items() if bool(metric.samples.any())}

    def profiles(
        self, shapes: CountShapes, layers: Sequence[str], *, device: torch.device, min_rate: float
    ) -> dict[str, LayerProfile]:
        """Profile every layer that fired; a collective call in a distributed run.

        Args:
            shapes: The sizes of the counts over all processes: a layer may have run in some only, or a process had no
                batch.
            layers: Names of the watched layers, in the model's order.
            device: Device of the counts.
            min_rate: Smallest activation rate of a neuron in a class's active set.
        """
        self._drain()
        self.grow(shapes.n_classes)
        for key, n_neurons in shapes.layers.items():
            if key not in self._metrics:
                self._metrics[key] = ActiveNeurons(self.n_classes, n_neurons).to(device)
                self._metrics[key].add(CountBuffer(self.n_classes, n_neurons, device).drain())
            self._metrics[key].grow(self.n_classes)
        order = {layer: place for place, layer in enumerate(layers)}
        # counts of a layer that is not watched any more come from a checkpoint
        known = [key for key in self._metrics if layer_of(key) in order]
        keys = sorted(known, key=lambda key: (order[layer_of(key)], len(key), key))
        profiles = {key: LayerProfile.of(self._metrics[key].compute(), min_rate) for key in keys}
        # a layer that has fired before, but not in this stage, would look dead
        return {key: profile for key, profile in profiles.items() if bool(profile.seen.any())}

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain tensors, for a run that stops in the middle of an epoch."""
        self._drain()
        return {key: dict(metric.state_dict()) for key, metric in self._metrics.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from counts that `state_dict` returned."""
        restored: dict[str, ActiveNeurons] = {}
        for key, counts in state.items():
            n_classes, n_neurons = counts["active"].shape
            restored[key] = ActiveNeurons(n_classes, n_neurons).to(device)
            restored[key].add(ClassCounts(**counts))
        # all or nothing: half of a damaged checkpoint's counts would look like whole ones
        self._metrics |= restored
        self.grow(max([metric.n_classes for metric in restored.values()], default=1))
