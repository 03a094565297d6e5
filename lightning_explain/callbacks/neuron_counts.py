"""Counting active neurons over one stage, training or validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_explain.batches import Selector, class_labels, describe, target_of
from lightning_explain.callbacks.guard import Guard
from lightning_explain.capture import Layer, Recorder
from lightning_explain.errors import ConfigurationError
from lightning_explain.neurons import ActiveNeurons, Activity, LayerProfile, unit_activity
from lightning_explain.neurons.activity import ClassCounts, CountBuffer, class_rows
from lightning_explain.schedule import Stopwatch


@dataclass(frozen=True, kw_only=True)
class ActivityRule:
    """When a neuron counts as active, and when it belongs to a class."""

    threshold: float = 0.0
    min_fraction: float = 0.25
    min_rate: float = 0.5


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

    def of(self, batch: Any) -> Tensor | None:
        """Return the class of each sample [batch]; None where batches hold no classes.

        What the first batch holds decides for the whole run: real values of a small regression batch could look
        like labels by chance.

        Raises:
            ConfigurationError: The first batch held classes, this one holds none.
        """
        if self.classes is False:
            return None
        labels = class_labels(target_of(batch, self._target))
        if self.classes is None:
            self.classes = labels is not None
            if labels is None:
                self._guard.note(
                    f"no class labels were found in a batch of the form {describe(batch)}, so all samples count as one "
                    "class, and figures that compare classes are left out. If there are labels, say where: "
                    "target=1, target='label' or target=lambda batch: ..."
                )
        elif labels is None:
            raise ConfigurationError(
                f"Earlier batches held class labels, but none were found in one of the form {describe(batch)}. Say "
                "where they are, in training and in validation, with target=lambda batch: ..."
            )
        return labels


MOST_CLASSES = 10_000
"""Integer labels beyond this are no classes, unless class_names says so: counts would fill the memory."""

DRAIN_EVERY = 64
"""Batches gathered in float32 before they are added to the exact counts."""


class StageCounts:
    """Active-neuron counts of every watched layer over one stage.

    Where the labels are known before the step, each layer's output is counted in its own hook, while it is in the
    processor's cache; nothing of it is kept.

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
        self.recorder = Recorder(layers, reduce=self._reduce)
        self.metrics: dict[str, ActiveNeurons] = {}
        self._buffers: dict[str, CountBuffer] = {}
        self._rule = rule
        self._n_classes = max(1, n_classes)
        self._names_given = n_classes > 0
        self._guard = guard
        self._stopwatch = stopwatch
        self._rows: Tensor | None = None
        self._counting = False
        self._n_batches = 0
        self._refused: set[str] = set()

    def reset(self) -> None:
        """Forget what was counted."""
        # outside inference mode: counts made inside it could not be changed by training
        with torch.inference_mode(mode=False):
            self._drain()
            for metric in self.metrics.values():
                metric.reset()

    def begin(self, labels: Tensor | None, counted: Tensor | None, *, count_now: bool) -> None:
        """Listen to the layers.

        Args:
            labels: Class of each sample [batch]; None to count all samples as one class.
            counted: Boolean [batch]; False for padding; None where all count.
            count_now: Count in the hooks; otherwise `end` must be given the labels.
        """
        self._counting = count_now
        self._rows = None if labels is None else self._rows_of(labels, counted)
        self.recorder.start()

    def _rows_of(self, labels: Tensor, counted: Tensor | None) -> Tensor:
        if not self._names_given and labels.numel():
            # on a GPU this waits for the device: with class_names given there is no need to look
            highest = int(labels.max())
            if highest >= MOST_CLASSES:
                self._guard.note(
                    f"label {highest} was met. Labels from {MOST_CLASSES:,} on are taken for something else than a "
                    "class and not counted. If they are regression targets, say target=lambda batch: "
                    "batch[1].float(); if there are that many classes, give class_names.",
                    about="labels that are no classes",
                )
            self._n_classes = max(self._n_classes, min(highest + 1, MOST_CLASSES))
        return class_rows(labels, self._n_classes, counted)

    def end(self, labels: Tensor | None = None, counted: Tensor | None = None) -> bool:
        """Count what was not counted in the hooks; say whether any layer fired."""
        seen: dict[str, Activity | None] = self.recorder.stop()
        if not self._counting and labels is not None:
            self._rows = self._rows_of(labels, counted)
        for key, activity in seen.items():
            if activity is not None:
                self._add(key, activity)
        self._rows = None
        self._n_batches += 1
        if self._n_batches % DRAIN_EVERY == 0:
            self._drain()
        return bool(seen)

    def _reduce(self, output: Tensor, layer: Layer, key: str) -> Activity | None:
        """Reduce a layer's output in its hook: count it, or keep its activity for later."""
        with self._stopwatch.spending(), self._guard.doing(f"counting active neurons of {key!r}"):
            activity = unit_activity(
                output,
                unit_dim=layer.unit_dim_of(output),
                threshold=self._rule.threshold,
                min_fraction=self._rule.min_fraction,
            )
            if self._counting:
                self._add(key, activity)
                return None
            # a copy: what follows may change the output in place
            return activity._replace(activation=activity.activation.clone())
        return None

    def _add(self, key: str, activity: Activity) -> None:
        n_samples, n_neurons = activity.active.shape
        rows = self._rows
        if rows is None:
            rows = torch.zeros(n_samples, dtype=torch.long, device=activity.active.device)
        if len(rows) != n_samples:
            self._guard.note(
                f"layer {key!r} gave {n_samples} rows for a batch of {len(rows)} labels (patches, tokens or pairs "
                "folded into the batch?), so it is not counted. Leave it out with layers=, or say with target= where "
                "the labels are.",
                about=f"rows of {key}",
            )
            self._refused.add(key.split("#", maxsplit=1)[0])
            return
        buffer = self._buffers.get(key)
        if buffer is None or buffer.n_classes != self._n_classes:
            self._drain()
            buffer = self._buffers[key] = CountBuffer(self._n_classes, n_neurons, activity.active.device)
        buffer.add(activity, rows.to(activity.active.device))

    def _drain(self) -> None:
        """Add what the buffers gathered to the exact counts."""
        with torch.inference_mode(mode=False):
            for key, buffer in self._buffers.items():
                counts = buffer.drain()
                if key not in self.metrics:
                    self.metrics[key] = ActiveNeurons(self._n_classes, buffer.n_neurons).to(counts.active.device)
                self.metrics[key].grow(self._n_classes)
                self.metrics[key].add(counts)

    @property
    def n_classes(self) -> int:
        """Classes met so far."""
        return self._n_classes

    def profiles(self, n_classes: int) -> dict[str, LayerProfile]:
        """Profile every layer that was counted, in the model's order; a collective call in a distributed run.

        Args:
            n_classes: Classes met by any process.
        """
        self._drain()
        self._n_classes = max(self._n_classes, n_classes)
        for metric in self.metrics.values():
            metric.grow(self._n_classes)
        order = {layer.name: place for place, layer in enumerate(self.recorder.layers)}
        keys = sorted(self.metrics, key=lambda key: (order[key.split("#")[0]], key))
        return {key: LayerProfile.of(self.metrics[key].compute(), self._rule.min_rate) for key in keys}

    def silent_layers(self) -> list[str]:
        """Name the watched layers that never fired."""
        heard = {key.split("#")[0] for key in (*self.metrics, *self._buffers)} | self._refused
        return [layer.name for layer in self.recorder.layers if layer.name not in heard]

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain tensors, for a run that stops in the middle of an epoch."""
        self._drain()
        return {key: dict(metric.state_dict()) for key, metric in self.metrics.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up counts that `state_dict` returned."""
        for key, counts in state.items():
            n_classes, n_neurons = counts["active"].shape
            self._n_classes = max(self._n_classes, n_classes)
            self.metrics[key] = ActiveNeurons(n_classes, n_neurons).to(device)
            self.metrics[key].add(ClassCounts(**counts))
