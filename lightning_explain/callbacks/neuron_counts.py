"""Counting active neurons over one stage, training or validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_explain.batches import Selector, class_labels, describe, target_of
from lightning_explain.callbacks.guard import Guard
from lightning_explain.capture import Layer, Recorder
from lightning_explain.neurons import ActiveNeurons, Activity, LayerProfile, unit_activity
from lightning_explain.neurons.activity import membership
from lightning_explain.schedule import Stopwatch


@dataclass(frozen=True, kw_only=True)
class ActivityRule:
    """When a neuron counts as active, and when it belongs to a class."""

    threshold: float = 0.0
    min_fraction: float = 0.25
    min_rate: float = 0.5


def _reduced(output: Tensor, layer: Layer, *, rule: ActivityRule, stopwatch: Stopwatch) -> Activity:
    """Reduce a layer's output in its hook."""
    with stopwatch.spending():
        return unit_activity(output, unit_dim=layer.unit_dim, threshold=rule.threshold, min_fraction=rule.min_fraction)


class Labels:
    """Reads class labels off batches; says once where there are none, and then counts all samples as one class.

    Args:
        target: Where a batch holds the target; None to find it.
        guard: For saying so.
    """

    def __init__(self, target: Selector, guard: Guard) -> None:
        self._target = target
        self._guard = guard
        self.classes: bool | None = None
        """Whether batches hold class labels; None before the first batch."""

    def of(self, batch: Any, n_samples: int) -> Tensor | None:
        """Return the class of each sample, all 0 without labels; None if this batch does not fit the layer.

        What the first batch holds decides for the whole run: real values of a small regression batch could look
        like labels by chance.
        """
        target = target_of(batch, self._target)
        labels = class_labels(target) if self.classes is not False else None
        if self.classes is None:
            self.classes = labels is not None
            if labels is None:
                self._guard.note(
                    f"no class labels were found in a batch of the form {describe(batch)}, so all samples count as one "
                    "class, and figures that compare classes are left out. If there are labels, say where: "
                    "target=1, target='label' or target=lambda batch: ..."
                )
        if not self.classes:
            device = target.device if target is not None else torch.device("cpu")
            return torch.zeros(n_samples, dtype=torch.long, device=device)
        return labels if labels is not None and len(labels) == n_samples else None


class StageCounts:
    """Active-neuron counts of every watched layer over one stage.

    Args:
        layers: What is watched.
        rule: When a neuron counts as active.
        n_classes: Room to begin with; grows with the labels that turn up.
        guard: For saying what cannot be counted.
        stopwatch: For the time spent in the hooks.
    """

    def __init__(
        self, layers: Sequence[Layer], *, rule: ActivityRule, n_classes: int, guard: Guard, stopwatch: Stopwatch
    ) -> None:
        self.recorder = Recorder(layers, reduce=partial(_reduced, rule=rule, stopwatch=stopwatch))
        self.metrics: dict[str, ActiveNeurons] = {}
        self._rule = rule
        self._n_classes = max(1, n_classes)
        self._guard = guard

    def reset(self) -> None:
        """Forget what was counted."""
        # outside inference mode: counts made inside it could not be changed by training
        with torch.inference_mode(mode=False):
            for metric in self.metrics.values():
                metric.reset()

    def add(self, seen: dict[str, Activity], labels: Tensor, counted: Tensor | None) -> None:
        """Count what a recorder saw of one batch.

        Args:
            seen: Activity by layer.
            labels: Class of each sample [batch].
            counted: Boolean [batch]; False for padding; None where all count.
        """
        if not seen:
            return
        device = next(iter(seen.values())).active.device
        labels = labels.to(device)
        # one look at the labels a batch; on a GPU this waits for the device, so only while classes may be missing
        highest = int(labels.max()) + 1 if len(labels) else 0
        self._n_classes = max(self._n_classes, highest)
        member = membership(labels, self._n_classes, counted)
        for key, activity in seen.items():
            if len(activity.active) != len(labels):
                self._guard.note(
                    f"layer {key!r} gave {len(activity.active)} rows for a batch of {len(labels)} samples (patches, "
                    "tokens or pairs folded into the batch?), so it is not counted. Leave it out with layers=."
                )
                continue
            self._metric(key, activity).add(activity, member)

    def _metric(self, key: str, activity: Activity) -> ActiveNeurons:
        if key not in self.metrics:
            self.metrics[key] = self._new(activity.active.shape[1], activity.active.device)
        metric = self.metrics[key]
        metric.grow(self._n_classes)
        return metric

    def _new(self, n_neurons: int, device: torch.device) -> ActiveNeurons:
        with torch.inference_mode(mode=False):
            return ActiveNeurons(self._n_classes, n_neurons).to(device)

    @property
    def n_classes(self) -> int:
        """Classes met so far."""
        return self._n_classes

    def profiles(self, n_classes: int) -> dict[str, LayerProfile]:
        """Profile every layer that was counted, in the model's order; a collective call in a distributed run.

        Args:
            n_classes: Classes met by any process.
        """
        self._n_classes = max(self._n_classes, n_classes)
        for metric in self.metrics.values():
            metric.grow(self._n_classes)
        order = {layer.name: place for place, layer in enumerate(self.recorder.layers)}
        keys = sorted(self.metrics, key=lambda key: (order[key.split("#")[0]], key))
        return {key: LayerProfile.of(self.metrics[key].compute(), self._rule.min_rate) for key in keys}

    def silent_layers(self) -> list[str]:
        """Name the watched layers that never fired."""
        heard = {key.split("#")[0] for key in self.metrics}
        return [layer.name for layer in self.recorder.layers if layer.name not in heard]

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain tensors, for a run that stops in the middle of an epoch."""
        return {
            key: {
                "active": metric.active,
                "activation": metric.activation,
                "samples": metric.samples,
                "alive": metric.alive,
            }
            for key, metric in self.metrics.items()
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up counts that `state_dict` returned."""
        for key, counts in state.items():
            n_classes, n_neurons = counts["active"].shape
            self._n_classes = max(self._n_classes, n_classes)
            metric = ActiveNeurons(n_classes, n_neurons).to(device)
            for name, value in counts.items():
                getattr(metric, name).copy_(value)
            self.metrics[key] = metric
