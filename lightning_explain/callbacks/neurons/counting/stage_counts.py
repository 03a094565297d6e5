"""Counting of active neurons over one stage, training or validation, in the hooks of the watched layers."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.neurons.counting.class_room import LEAST_ROOM, MOST_CLASSES, HighestLabel
from lightning_explain.callbacks.neurons.counting.labels import without_wait
from lightning_explain.callbacks.neurons.counting.layer_counts import LayerCounts, layer_of
from lightning_explain.callbacks.neurons.counting.not_counted import (
    no_room_message,
    reordered_message,
    too_large_label_message,
    unknown_units_message,
    wrong_rows_message,
)
from lightning_explain.callbacks.neurons.exemplars.exemplar_collector import ExemplarCollector
from lightning_explain.capture import Call, Layer, Recorder, first_activations
from lightning_explain.errors import ConfigurationError
from lightning_explain.neurons import Activity, unit_activity
from lightning_explain.neurons.activity import Scratch, head_activity
from lightning_explain.neurons.arrangement import units_of
from lightning_explain.neurons.class_counts import class_rows
from lightning_explain.neurons.units import never_negative
from lightning_explain.neurons.views import AttentionHeads, Units
from lightning_explain.schedule import Stopwatch


@dataclass(frozen=True, kw_only=True)
class ActivityRule:
    """The thresholds above which a neuron counts as active, and as a member of a class's active set.

    Raises:
        ConfigurationError: A share lies outside 0 to 1.
    """

    threshold: float = 0.0
    min_fraction: float = 0.25
    min_rate: float = 0.5

    def __post_init__(self) -> None:
        for name in ("min_fraction", "min_rate"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ConfigurationError(f"{name}={share!r}; expected a share from 0 to 1.")


ATTENTION_EVERY = 8
"""In training every n-th batch is counted for the heads of `nn.MultiheadAttention`, which cost a pass of their own."""


class StageCounts:
    """Active-neuron counts of every watched layer over one stage.

    Where the labels are known before the step, each layer's output is counted in its own hook, while it is in the
    processor's cache; nothing of it is kept.

    Args:
        layers: The watched layers.
        rule: The thresholds of activity.
        n_classes: Number of classes at first; it grows with the labels that are met.
        guard: The monitor's error handling.
        stopwatch: Measures the time spent in the hooks.
        attention_every: Count the heads of `nn.MultiheadAttention` in every n-th batch.

    Attributes:
        counts: The counts.
        is_followed: True once a step's calls have been followed, so that units still unknown are asked for.
        has_unknown: True if a layer's output has units of which nothing is known.
        exemplars: Collects exemplars from what the layers give; None while none are wanted.
        expected_classes: Number of classes that room is made for where labels cannot be looked at.
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
        self.counts = LayerCounts(n_classes)
        self.is_followed = self.has_unknown = False
        self.exemplars: ExemplarCollector | None = None
        self._rule = rule
        self.expected_classes = LEAST_ROOM
        self._highest = HighestLabel()
        self._names_given = n_classes > 0
        self._guard = guard
        self._stopwatch = stopwatch
        self._rows: Tensor | None = None
        self._counting = False
        self._n_begun = 0
        self._attention_every = attention_every
        self._attending = True
        self._scratch = Scratch()
        self._signed = {layer.name: not never_negative(layer) for layer in layers}
        self._refused, self._reordered = set[str](), set[str]()
        self._n_samples = 0
        self._n_calls: dict[str, int] = {}

    def reset(self) -> None:
        """Set all counts to zero."""
        self.counts.reset()
        self._n_begun = 0

    def put_together(self) -> None:
        """Count all samples as one class from here on, those counted before included."""
        self.counts.put_together()
        self._names_given = False

    # -- following the calls of a step -------------------------------------------------------------------------

    def begin_following(self) -> None:
        """Begin to follow a step's calls: units that are unknown then are reported anew."""
        self.has_unknown = False

    def watch(self, layers: Sequence[Layer]) -> None:
        """Watch other layers from here on, or the same of which more is known now."""
        self._signed = {layer.name: not never_negative(layer) for layer in layers}
        self.recorder.update(layers)

    def end_following(self) -> None:
        """Ask from here on for units that are still unknown."""
        self.is_followed = True

    def check_calls(self) -> None:
        """Take back the counts of layers that the step called more or less often than the pass that was followed.

        Calls of a branch that is there in training only would be taken for others; so the next step is followed.
        """
        for layer in self.recorder.layers:
            if layer.host is None and layer.calls and self._n_calls.get(layer.name, 0) != len(layer.calls):
                self.has_unknown = True
                self.counts.discard_gathered(layer.name)

    # -- batches -----------------------------------------------------------------------------------------------

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
            return class_rows(labels, self.counts.room, counted)
        values = without_wait(labels)
        if values is None:
            self.counts.make_room(self.expected_classes)
            self._highest.add(labels)
            return class_rows(labels, self.counts.room, counted)
        low, high = int(values.min()), int(values.max())
        self._met(high)
        # nothing to leave out: labels are rows as they are
        plain = low >= 0 and high < self.counts.room and counted is None
        return labels if plain else class_rows(labels, self.counts.room, counted)

    def _met(self, highest: int) -> None:
        if highest >= MOST_CLASSES:
            self._guard.note(too_large_label_message(highest, MOST_CLASSES), about="labels that are no classes")
        self.counts.grow(min(highest + 1, MOST_CLASSES))

    def look_at_labels(self) -> None:
        """Find out how many classes were met on an accelerator, for which it waits; not for use in a step."""
        highest, room = self._highest.take(), self.counts.room
        if highest is None:
            return
        if room <= highest < MOST_CLASSES:
            self._guard.note(no_room_message(highest, room), about="classes without room")
        self._met(highest)
        self.expected_classes = max(self.expected_classes, 2 * self.counts.n_classes)

    def of_class(self, labels: Tensor | None) -> Tensor | None:
        """Return the samples of the batch that have a class: boolean [batch]; None where all count.

        Args:
            labels: Class of each sample, as `begin` was given them; None for none.
        """
        if labels is None or self._rows is labels:
            return None
        return labels >= 0 if self._rows is None else self._rows < self.counts.room

    def end(self, labels: Tensor | None = None, counted: Tensor | None = None) -> bool:
        """Count the outputs that were not counted in the hooks; return True if any layer fired."""
        seen: dict[str, Activity | None] = self.recorder.stop()
        self._n_calls = self.recorder.n_calls
        if not self._counting and labels is not None:
            self._rows = self._rows_of(labels, counted)
        for key, activity in ((key, each) for key, each in seen.items() if each is not None):
            self._add(key, activity)
        self._rows = None
        self.counts.end_batch()
        if self._reordered:
            self._guard.note(reordered_message(sorted(self._reordered)), about="samples in another order")
        return bool(seen)

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
        if self.exemplars is not None:
            self.exemplars.add(key, units, activity)
        if self._counting:
            self._add(key, activity)
            return None
        # a copy: what follows may change the output in place
        return activity._replace(activation=activity.activation.clone())

    def _activity(self, units: Units, layer: Layer) -> Activity:
        if units.heads:
            return head_activity(units.values, units.valid)
        at_once = self._counting and self.counts.adds_at_once(units.values)
        return unit_activity(
            units.values,
            unit_dim=units.unit_dim,
            threshold=self._rule.threshold,
            min_fraction=self._rule.min_fraction,
            valid=units.valid,
            signed=self._signed[layer.name],
            # memory that the next layer overwrites
            scratch=self._scratch if units.values.ndim > 2 or at_once else None,
            # an accelerator finds largest values and their positions in one go
            peaks=self.exemplars is not None and units.values.device.type == "cpu",
        )

    def _tell_unknown(self, output: Tensor | Call, layer: Layer, key: str) -> None:
        """Ask for the dimension of the units, of an output of which nothing indicates it."""
        given = first_activations(output.output if isinstance(output, Call) else output)
        if layer.use(key).is_reordered:
            self._reordered.add(key)
        else:
            self.has_unknown = True
            if given is None or not self.is_followed:
                return
            self._guard.note(unknown_units_message(layer, key, given), about=f"units of {layer.name}")
        self._refused.add(layer.name)

    def _add(self, key: str, activity: Activity) -> None:
        n_samples = len(activity.active)
        rows = self._rows
        if rows is None:
            rows = torch.zeros(n_samples, dtype=torch.long, device=activity.active.device)
        if len(rows) != n_samples:
            self._guard.note(wrong_rows_message(key, n_samples, len(rows)), about=f"rows of {key}")
            self._refused.add(layer_of(key))
            return
        self.counts.add(key, activity, rows)

    def silent_layers(self) -> list[str]:
        """Return the names of the watched layers that never fired in this stage; none before it has begun."""
        if not self._n_begun:
            return []
        known = self.counts.counted_layers() | self._refused
        return [layer.name for layer in self.recorder.layers if layer.name not in known]
