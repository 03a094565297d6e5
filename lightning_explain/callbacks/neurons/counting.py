"""Counting active neurons over one stage, training or validation."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.neurons.uncounted import label_words, row_words, unknown_words
from lightning_explain.capture import Call, Layer, Recorder, first_activations
from lightning_explain.neurons import ActiveNeurons, Activity, LayerProfile, unit_activity
from lightning_explain.neurons.activity import ClassCounts, CountBuffer, Scratch, class_rows, head_activity
from lightning_explain.neurons.arrangement import units_of
from lightning_explain.neurons.units import never_negative
from lightning_explain.neurons.views import AttentionHeads, Units
from lightning_explain.schedule import Stopwatch


@dataclass(frozen=True, kw_only=True)
class ActivityRule:
    """When a neuron counts as active, and when it belongs to a class."""

    threshold: float = 0.0
    min_fraction: float = 0.25
    min_rate: float = 0.5


@dataclass(frozen=True)
class CountShapes:
    """How large the counts of one stage are.

    Attributes:
        n_classes: Classes met so far.
        layers: Neurons of each layer that was counted.
    """

    n_classes: int
    layers: dict[str, int]


MOST_CLASSES = 10_000
"""Integer labels beyond this are no classes, unless class_names says so: counts would fill the memory."""

DRAIN_EVERY = 64
"""Batches gathered in float32 before they are added to the exact counts."""

ATTENTION_EVERY = 8
"""In training every n-th batch is counted for the heads of `nn.MultiheadAttention`, which cost a pass of their own."""


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
        attention_every: Count the heads of `nn.MultiheadAttention` in every n-th batch.

    Attributes:
        followed: Whether a step's calls have been followed, so that what is still unknown is to be asked for.
        unknown: Whether a layer gave what nothing is known of.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        rule: ActivityRule,
        n_classes: int,
        guard: Guard,
        stopwatch: Stopwatch,
        attention_every: int = 1,
    ) -> None:
        self.recorder = Recorder(layers, reduce=self._reduce, protected=self._protected)
        self.metrics: dict[str, ActiveNeurons] = {}
        self._buffers: dict[str, CountBuffer] = {}
        self._rule = rule
        self._n_classes = max(1, n_classes)
        self._names_given = n_classes > 0
        self._guard = guard
        self._stopwatch = stopwatch
        self._rows: Tensor | None = None
        self._counting = False
        self._n_batches = self._n_begun = 0
        self._attention_every = attention_every
        self._attending = True
        self._scratch = Scratch()
        self._signed = {layer.name: not never_negative(layer) for layer in layers}
        self._refused: set[str] = set()
        self._n_samples = 0
        self._n_calls: dict[str, int] = {}
        self.followed = False
        self.unknown = False

    def reset(self) -> None:
        """Forget what was counted."""
        # outside inference mode: counts made inside it could not be changed by training
        with torch.inference_mode(mode=False):
            self._drain()
            for metric in self.metrics.values():
                metric.reset()
        self._n_begun = 0

    def watch(self, layers: Sequence[Layer]) -> None:
        """Watch other layers from here on, or the same of which more is known now."""
        self._signed = {layer.name: not never_negative(layer) for layer in layers}
        self.recorder.update(layers)

    @property
    def n_classes(self) -> int:
        """Classes met so far, or as many as have names."""
        return self._n_classes

    def put_together(self) -> None:
        """Count all samples as one class from here on, those counted before included."""
        self._drain()
        self._buffers = {}
        self._n_classes, self._names_given = 1, False
        with torch.inference_mode(mode=False):
            self.metrics = {key: metric.put_together() for key, metric in self.metrics.items()}

    def begin(self, labels: Tensor | None, counted: Tensor | None, *, count_now: bool, batch_idx: int) -> None:
        """Listen to the layers.

        Args:
            labels: Class of each sample [batch]; None to count all samples as one class.
            counted: Boolean [batch]; False for padding; None where all count.
            count_now: Count in the hooks; otherwise `end` must be given the labels.
            batch_idx: Index of the batch in this process.
        """
        self._n_begun += 1
        self._counting = count_now
        self._attending = batch_idx % self._attention_every == 0
        self._rows = None if labels is None else self._rows_of(labels, counted)
        self._n_samples = 0 if labels is None else len(labels)
        self.recorder.start()

    def _rows_of(self, labels: Tensor, counted: Tensor | None) -> Tensor:
        if self._names_given or not labels.numel():
            # no look at the labels: on a GPU it would wait for the device
            return class_rows(labels, self._n_classes, counted)
        low, high = (int(end) for end in torch.aminmax(labels))
        if high >= MOST_CLASSES:
            self._guard.note(label_words(high, MOST_CLASSES), about="labels that are no classes")
        self._n_classes = max(self._n_classes, min(high + 1, MOST_CLASSES))
        # nothing to leave out: labels are rows as they are
        plain = low >= 0 and high < self._n_classes and counted is None
        return labels if plain else class_rows(labels, self._n_classes, counted)

    def end(self, labels: Tensor | None = None, counted: Tensor | None = None) -> bool:
        """Count what was not counted in the hooks; say whether any layer fired."""
        seen: dict[str, Activity | None] = self.recorder.stop()
        self._n_calls = self.recorder.n_calls
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

    def check_calls(self) -> None:
        """Take back what was counted of layers that the step called more or less often than the pass that was followed.

        Calls of a branch that is there in training only would be taken for others; so the next step is followed.
        """
        for layer in self.recorder.layers:
            if layer.host is None and layer.calls and self._n_calls.get(layer.name, 0) != len(layer.calls):
                self.unknown = True
                for key in [key for key in self._buffers if key.split("#")[0] == layer.name]:
                    del self._buffers[key]

    @contextmanager
    def _protected(self) -> Generator[None, None, None]:
        """Let a pass of our own inside a transformer layer fail without harm, and time it."""
        with self._stopwatch.spending(), self._guard.doing("looking into a transformer layer that runs fused"):
            yield

    def _reduce(self, output: Tensor | Call, layer: Layer, key: str) -> Activity | None:
        """Reduce a layer's output in its hook: count it, or keep its activity for later."""
        # by hand, not in contexts: this runs at every layer of every step
        started = time.perf_counter()
        try:
            return self._counted(output, layer, key)
        except Exception as error:  # nothing here may end the run
            if self._guard.on_error == "raise":
                raise
            self._guard.tell(f"counting active neurons of {key!r}", error)
            return None
        finally:
            self._stopwatch.add(time.perf_counter() - started)

    def _counted(self, output: Tensor | Call, layer: Layer, key: str) -> Activity | None:
        if isinstance(layer.view, AttentionHeads) and not self._attending:
            return None
        if not layer.use(key).counted:
            return None
        units = units_of(output, layer, key, n_samples=self._n_samples)
        if units is None:
            self._tell_unknown(output, layer, key)
            return None
        activity = self._activity(units, layer)
        if self._counting:
            self._add(key, activity)
            return None
        # a copy: what follows may change the output in place
        return activity._replace(activation=activity.activation.clone())

    def _activity(self, units: Units, layer: Layer) -> Activity:
        if units.heads:
            return head_activity(units.values, units.valid)
        return unit_activity(
            units.values,
            unit_dim=units.unit_dim,
            threshold=self._rule.threshold,
            min_fraction=self._rule.min_fraction,
            valid=units.valid,
            signed=self._signed[layer.name],
            scratch=self._scratch if self._counting else None,
        )

    def _tell_unknown(self, output: Tensor | Call, layer: Layer, key: str) -> None:
        """Ask where the units are, of an output of which nothing tells it."""
        given = first_activations(output.output if isinstance(output, Call) else output)
        self.unknown = True
        if given is not None and self.followed:
            self._refused.add(layer.name)
            self._guard.note(unknown_words(layer, key, given), about=f"units of {layer.name}")

    def _add(self, key: str, activity: Activity) -> None:
        n_samples, n_neurons = activity.active.shape
        rows = self._rows
        if rows is None:
            rows = torch.zeros(n_samples, dtype=torch.long, device=activity.active.device)
        if len(rows) != n_samples:
            self._guard.note(row_words(key, n_samples, len(rows)), about=f"rows of {key}")
            self._refused.add(key.split("#", maxsplit=1)[0])
            return
        buffer = self._buffers.get(key)
        if buffer is None or buffer.n_classes != self._n_classes or buffer.n_neurons != n_neurons:
            self._drain()
            buffer = self._buffers[key] = CountBuffer(self._n_classes, n_neurons, activity.active.device)
        buffer.add(activity, rows.to(activity.active.device))

    def _drain(self) -> None:
        """Add what the buffers gathered to the exact counts."""
        with torch.inference_mode(mode=False):
            for key, buffer in self._buffers.items():
                counts = buffer.drain()
                # counts of another width are those of a checkpoint, or of a layer that was there before
                if key not in self.metrics or self.metrics[key].n_neurons != buffer.n_neurons:
                    self.metrics[key] = ActiveNeurons(self._n_classes, buffer.n_neurons).to(counts.active.device)
                self.metrics[key].grow(self._n_classes)
                self.metrics[key].add(counts)

    @property
    def counted(self) -> bool:
        """Whether any batch was counted."""
        return bool(self._n_batches)

    def shapes(self) -> CountShapes:
        """Say what was counted."""
        self._drain()
        return CountShapes(self._n_classes, {key: metric.n_neurons for key, metric in self.metrics.items()})

    def profiles(self, shapes: CountShapes, device: torch.device) -> dict[str, LayerProfile]:
        """Profile every layer that fired, in the model's order; a collective call in a distributed run.

        Args:
            shapes: What was counted by any process: a layer may have run in some only, or a process had no batch.
            device: Where counts live.
        """
        self._drain()
        self._n_classes = max(self._n_classes, shapes.n_classes)
        for key, n_neurons in shapes.layers.items():
            if key not in self.metrics:
                self.metrics[key] = ActiveNeurons(self._n_classes, n_neurons).to(device)
                self.metrics[key].add(CountBuffer(self._n_classes, n_neurons, device).drain())
            self.metrics[key].grow(self._n_classes)
        order = {layer.name: place for place, layer in enumerate(self.recorder.layers)}
        # counts of a layer that is not watched any more come from a checkpoint
        known = [key for key in self.metrics if key.split("#")[0] in order]
        keys = sorted(known, key=lambda key: (order[key.split("#")[0]], len(key), key))
        profiles = {key: LayerProfile.of(self.metrics[key].compute(), self._rule.min_rate) for key in keys}
        # a layer that has fired before, but not in this stage, would look dead
        return {key: profile for key, profile in profiles.items() if bool(profile.seen.any())}

    def silent_layers(self) -> list[str]:
        """Name the watched layers that never fired in this stage; none before it has begun."""
        if not self._n_begun:
            return []
        self._drain()
        heard = {key.split("#")[0] for key, metric in self.metrics.items() if bool(metric.samples.any())}
        heard |= self._refused
        return [layer.name for layer in self.recorder.layers if layer.name not in heard]

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain tensors, for a run that stops in the middle of an epoch."""
        self._drain()
        return {key: dict(metric.state_dict()) for key, metric in self.metrics.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up counts that `state_dict` returned."""
        restored: dict[str, ActiveNeurons] = {}
        for key, counts in state.items():
            n_classes, n_neurons = counts["active"].shape
            restored[key] = ActiveNeurons(n_classes, n_neurons).to(device)
            restored[key].add(ClassCounts(**counts))
        # all or nothing: half of a damaged checkpoint's counts would look like whole ones
        self.metrics |= restored
        self._n_classes = max([self._n_classes, *(metric.n_classes for metric in restored.values())])
