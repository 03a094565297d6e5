"""Active-neuron counts of layers by class, gathered in float32 and added up exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_explain.neurons import ActiveNeurons, Activity, LayerProfile
from lightning_explain.neurons.class_counts import ClassCounts, JointCounts, SummedLayer

DRAIN_EVERY = 64
"""Batches gathered in float32 before they are added to the exact counts."""

AT_ONCE = 1 << 14
"""Values of a layer from which on a processor adds them up in the hook, while they are in its cache, uncopied."""

MOST_GROUPS = 32
"""Sets of layers that ran in one batch and are summed side by side; a step may choose its layers at random."""


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


Group = tuple[tuple[str, SummedLayer], ...]
"""The layers that ran in one batch, by key, and what is summed of them."""


class LayerCounts:
    """Counts of every layer's active neurons by class.

    Args:
        n_classes: Number of classes at first; it grows with the labels that are met.

    Attributes:
        n_classes: Number of classes met so far, or as many as have names.
        room: Number of classes that are counted; more than were met where labels cannot be looked at without a wait.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = self.room = max(1, n_classes)
        self._metrics: dict[str, ActiveNeurons] = {}
        self._groups: dict[tuple[torch.device, Group], JointCounts] = {}
        self._batch: dict[torch.device, dict[str, Activity]] = {}
        self._rows: Tensor | None = None
        self._n_batches = 0

    @property
    def is_empty(self) -> bool:
        """True until a batch is counted."""
        return not self._n_batches

    def grow(self, n_classes: int) -> None:
        """Count so many classes."""
        self.n_classes = max(self.n_classes, n_classes)
        self.make_room(self.n_classes)

    def make_room(self, n_classes: int) -> None:
        """Count labels up to this many classes, of which some may never be met."""
        if n_classes > self.room:
            self._drain()
            self._groups, self.room = {}, n_classes

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
        self._groups, self.n_classes, self.room = {}, 1, 1
        with torch.inference_mode(mode=False):
            self._metrics = {key: metric.put_together() for key, metric in self._metrics.items()}

    @staticmethod
    def adds_at_once(outputs: Tensor) -> bool:
        """Return True if a layer's output need not be copied, since it is added up before anything can change it."""
        return outputs.device.type == "cpu" and outputs.numel() >= AT_ONCE

    def add(self, key: str, activity: Activity, rows: Tensor) -> None:
        """Add a call's activity; `rows` holds the class of each sample, the same for all calls of a batch."""
        device = activity.active.device
        if self.adds_at_once(activity.activation):
            self._sums(device, ((key, SummedLayer.of(activity)),)).add([activity], rows.to(device))
            return
        if key in self._batch.get(device, {}):
            self._flush()
        if activity.alive is None:
            # a copy: what follows may change the output in place
            activity = activity._replace(activation=activity.activation.clone())
        self._rows = rows
        self._batch.setdefault(device, {})[key] = activity

    def _sums(self, device: torch.device, group: Group) -> JointCounts:
        found = self._groups.get((device, group))
        if found is None:
            if len(self._groups) >= MOST_GROUPS:
                self._drain_groups()
                self._groups = {}
            found = self._groups[device, group] = JointCounts(self.room, [layer for _, layer in group], device)
        return found

    def _flush(self) -> None:
        """Sum up the layers of the running batch."""
        batch, self._batch, rows = self._batch, {}, self._rows
        for device, layers in batch.items():
            assert rows is not None
            group = tuple((key, SummedLayer.of(activity)) for key, activity in layers.items())
            self._sums(device, group).add(list(layers.values()), rows.to(device))

    def discard_gathered(self, layer: str) -> None:
        """Take back what is gathered of a layer and not yet added to its counts."""
        self._flush()
        self._drain_groups(without=layer)

    def end_batch(self) -> None:
        """Sum up the layers of the batch; add the sums to the exact counts after every 64 batches."""
        self._flush()
        self._n_batches += 1
        if self._n_batches % DRAIN_EVERY == 0:
            self._drain()

    def _drain(self) -> None:
        self._flush()
        self._drain_groups()

    def _drain_groups(self, without: str = "") -> None:
        with torch.inference_mode(mode=False):
            for (_, group), sums in self._groups.items():
                if sums.is_empty:
                    continue
                for (key, layer), counts in zip(group, sums.drain(), strict=True):
                    if not without or layer_of(key) != without:
                        self._add_up(key, layer.n_neurons, counts)

    def _add_up(self, key: str, n_neurons: int, counts: ClassCounts) -> None:
        # counts of another width are those of a checkpoint, or of a layer that was there before
        if key not in self._metrics or self._metrics[key].n_neurons != n_neurons:
            self._metrics[key] = ActiveNeurons(self.room, n_neurons).to(counts.active.device)
        self._metrics[key].grow(self.room)
        self._metrics[key].add(counts)

    def _settle(self) -> None:
        """Leave room for classes that were met alone."""
        self._drain()
        for metric in self._metrics.values():
            metric.narrow(self.n_classes)

    def shapes(self) -> CountShapes:
        """Return the sizes of the counts."""
        self._settle()
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
        self.grow(shapes.n_classes)
        self._settle()
        for key, n_neurons in shapes.layers.items():
            if key not in self._metrics:
                self._metrics[key] = ActiveNeurons(self.n_classes, n_neurons).to(device)
            metric = self._metrics[key]
            metric.grow(self.n_classes)
            if not metric.update_called:  # nothing since a reset
                metric.add(JointCounts(self.n_classes, [SummedLayer(n_neurons, False, False)], device).drain()[0])
        order = {layer: place for place, layer in enumerate(layers)}
        # counts of a layer that is not watched any more come from a checkpoint
        known = [key for key in self._metrics if layer_of(key) in order]
        keys = sorted(known, key=lambda key: (order[layer_of(key)], len(key), key))
        profiles = {key: LayerProfile.of(self._metrics[key].compute(), min_rate) for key in keys}
        # a layer that has fired before, but not in this stage, would look dead
        return {key: profile for key, profile in profiles.items() if bool(profile.seen.any())}

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain tensors, for a run that stops in the middle of an epoch."""
        self._settle()
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
