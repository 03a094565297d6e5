"""The counts of a module's neurons, batch by batch: hooks, labels and both stages together."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import BEGINNING_ANEW, Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.collector import NeuronScores
from lightning_explain.callbacks.neurons.counting.call_following import CallFollowing
from lightning_explain.callbacks.neurons.counting.class_room import MOST_CLASSES
from lightning_explain.callbacks.neurons.counting.labels import LabelEvidence, Labels, without_labels
from lightning_explain.callbacks.neurons.counting.layer_choice import watched_layers
from lightning_explain.callbacks.neurons.counting.layer_counts import CountShapes
from lightning_explain.callbacks.neurons.counting.not_counted import not_finite_message, silent_layers_message
from lightning_explain.callbacks.neurons.counting.padding import counted_samples
from lightning_explain.callbacks.neurons.counting.stage_counts import ATTENTION_EVERY, ActivityRule, StageCounts
from lightning_explain.capture import Layer
from lightning_explain.errors import ConfigurationError
from lightning_explain.neurons import LayerProfile
from lightning_explain.schedule import Stopwatch

Stage = Literal["train", "val"]
STAGES: tuple[Stage, ...] = ("train", "val")

Profiles = dict[str, LayerProfile]
"""By layer."""


class NeuronWatch:
    """Counts the active neurons of each class, in training and in validation.

    Args:
        rule: The thresholds of activity.
        by: Group samples by `"label"` or by `"prediction"`.
        n_classes: Number of classes at first.
        question: Where batches hold the labels and outputs the scores.
        guard: The monitor's error handling.
        stopwatch: Measures the time spent.
        unit_dims: Names or globs of layers -> the dimension that counts their units; None to find all of them.

    Attributes:
        silent: Layers that never fired, by stage, as of the last profiles.
        scores: The class scores that the steps compute.
        batch_labels: Class of each sample of the running batch [batch]; None where there are no classes.
    """

    def __init__(
        self,
        *,
        rule: ActivityRule,
        by: Literal["label", "prediction"],
        n_classes: int,
        question: Question,
        guard: Guard,
        stopwatch: Stopwatch,
        unit_dims: Mapping[str, int] | None = None,
    ) -> None:
        self._rule = rule
        self._by = by
        self._n_classes = n_classes
        self._question = question
        self._guard = guard
        self._stopwatch = stopwatch
        self._following = CallFollowing(question, guard=guard, stopwatch=stopwatch, unit_dims=unit_dims or {})
        # one each: training and validation batches may be of different form
        self._labels: dict[Stage, Labels] = {stage: Labels(question.target, guard, stage) for stage in STAGES}
        self.scores = NeuronScores(question, guard, stopwatch)
        self._counts: dict[Stage, StageCounts] = {}
        self._restored: dict[str, Any] = {}
        self.silent: dict[Stage, tuple[str, ...]] = {}
        self._put_together: set[Stage] = set()
        self.batch_labels: Tensor | None = None
        self._counted: Tensor | None = None

    def attach(
        self,
        pl_module: nn.Module,
        layers: str | Sequence[str] | None,
        device: torch.device,
        *,
        in_half: bool = False,
    ) -> None:
        """Put the hooks on; does nothing when they are on.

        Args:
            pl_module: The module.
            layers: Names or globs; None for the default.
            device: Device of the counts.
            in_half: True if the run computes in 16 bits.

        Raises:
            ConfigurationError: A layer glob matches nothing.
        """
        if self._counts:
            return
        chosen = watched_layers(pl_module, layers, self._guard, in_half=in_half)
        self._following.begin(pl_module, chosen, default=layers is None)
        for labels in self._labels.values():
            labels.forget()
        for stage in STAGES:
            counts = StageCounts(
                chosen,
                rule=self._rule,
                n_classes=self._n_classes,
                guard=self._guard,
                stopwatch=self._stopwatch,
                attention_every=ATTENTION_EVERY if stage == "train" else 1,
            )
            counts.recorder.attach()
            self._counts[stage] = counts
        self.scores.attach(pl_module)
        restored, self._restored = self._restored, {}
        with self._guard.doing("taking up the counts of a checkpoint", consequence=BEGINNING_ANEW):
            self._counts["train"].counts.load_state_dict(restored, device)

    def detach(self) -> None:
        """Take the hooks off; does nothing when they are off."""
        self._following.stop()
        for counts in self._counts.values():
            counts.recorder.detach()
        self.scores.detach()
        self._counts = {}

    def reset(self, stage: Stage) -> None:
        """Set the counts of a stage to zero."""
        self._counts[stage].reset()

    def expect_classes(self, number: int) -> None:
        """Make room for so many classes, where labels are on an accelerator."""
        for counts in self._counts.values():
            counts.expected_classes = max(counts.expected_classes, number)

    def _look_at_labels(self) -> int:
        """Return the number of classes that were met; waits for the device."""
        for counts in self._counts.values():
            counts.look_at_labels()
        return max(counts.counts.n_classes for counts in self._counts.values())

    def begin_batch(self, pl_module: nn.Module, stage: Stage, batch: Any, batch_idx: int, loader: Any) -> None:
        """Listen to the layers.

        Args:
            pl_module: The module.
            stage: The stage of the batch.
            batch: The batch, as the step gets it.
            batch_idx: Its index in this process.
            loader: The loader it came from; None if unknown.
        """
        self.batch_labels = labels = self._labels[stage].of(batch)
        self._counted = None
        if labels is not None:
            self._counted = counted_samples(loader, batch_idx, len(labels), labels.device)
        elif self._by == "label" and self._counts[stage].counts.n_classes > 1:
            self._counts[stage].put_together()  # room for named classes, or a checkpoint's counts
        self._counts[stage].begin(labels, self._counted, count_now=self._by == "label", batch_idx=batch_idx)
        if self._wants_scores(stage):
            self.scores.begin_batch(pl_module, batch, self._look_at_labels if self._labels[stage].classes else None)
        others = [counts for other, counts in self._counts.items() if other != stage]
        self._following.begin_batch(self._counts[stage], others, batch)

    @property
    def validation(self) -> StageCounts | None:
        """The counts of validation; None while the hooks are off."""
        return self._counts.get("val")

    def _wants_scores(self, stage: Stage) -> bool:
        return self._by == "prediction" or (stage == "val" and bool(self._labels[stage].classes))

    def listen(self, *, listening: bool) -> None:
        """Pause while the backward pass runs (activation checkpointing runs layers again), or listen again."""
        self._following.pause(paused=not listening)
        recorder = self._counts["train"].recorder
        if listening:
            recorder.resume()
        else:
            recorder.pause()

    def end_batch(self, stage: Stage, *, redirected: bool = False) -> None:
        """Count the batch.

        Args:
            stage: The stage of the batch.
            redirected: True if the strategy called the step in the place of the module's forward.

        Raises:
            ConfigurationError: Samples are grouped by prediction, but no class scores were seen.
        """
        labels = self.batch_labels
        caught = self.scores.end_batch(labels, redirected=redirected) if self._wants_scores(stage) else {}
        if stage == "val" and labels is not None:
            self.scores.count(caught, labels, self._counted)
        try:
            self._count(stage, caught)
        finally:
            self._following.end_batch(self._counts[stage])

    def _count(self, stage: Stage, caught: dict[str, Tensor]) -> None:
        if self._by == "label":
            self._counts[stage].end()
            return
        predicted = self.scores.predicted(caught)
        if not self._counts[stage].end(predicted, self._counted) or predicted is not None:
            return
        raise ConfigurationError(
            "by='prediction' needs the class scores, but neither the module's forward nor one of its direct "
            "children returned any [batch, classes]. Say where they are with output=, or use by='label'."
        )

    def has_classes(self, stage: Stage) -> bool:
        """Return True if the samples of a stage are counted by class."""
        return self._by == "prediction" or self.has_labels(stage)

    def has_labels(self, stage: Stage) -> bool:
        """Return False if the targets of a stage turned out to hold no labels."""
        return self._labels[stage].classes is not False

    @property
    def compares_stages(self) -> bool:
        """True if both stages are counted by class, or neither is."""
        return self.has_classes("train") == self.has_classes("val")

    def _settle_labels(self, ranks: Ranks) -> None:
        """Merge the counts of classes that turned out to be none; a collective call in a distributed run."""
        self._labels["train"].refuted = self.scores.mixed_labels
        mine: dict[Stage, LabelEvidence] = {stage: labels.evidence() for stage, labels in self._labels.items()}
        n_classes = self._look_at_labels()
        single = self.scores.explained_width == 1 and not self._n_classes
        everywhere = ranks.exchanged((mine, n_classes if single else 0))
        many = max(number for _, number in everywhere)
        why = f"the model has a single output for labels from 0 to {many - 1}, which are no classes then"
        found: dict[Stage, list[LabelEvidence]] = {stage: [each[stage] for each, _ in everywhere] for stage in STAGES}
        none = {
            "train": without_labels(found["train"], found["val"]), "val": without_labels(found["val"], found["train"])
        }  # fmt: skip
        gone: list[Stage] = [stage for stage in STAGES if many > 2 or none[stage]]
        words = " and ".join("training" if stage == "train" else "validation" for stage in gone)
        for stage in gone:
            self._labels[stage].give_up(words, why if many > 2 else "")
            if self._by == "label" and self._counts[stage].counts.n_classes > 1:
                self._counts[stage].put_together()
                self._put_together.add(stage)

    def newly_put_together(self, stage: Stage) -> bool:
        """Return True once after the classes of a stage turned out to be none."""
        is_new = stage in self._put_together
        self._put_together.discard(stage)
        return is_new

    @property
    def counted_training(self) -> bool:
        """True if training batches were counted, so that there are profiles of them."""
        return bool(self._counts) and not self._counts["train"].counts.is_empty

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The watched layers; empty while the hooks are off."""
        return self._counts["val"].recorder.layers if self._counts else ()

    def profiles(self, stage: Stage, trainer: Any) -> Profiles:
        """Profile every layer; a collective call in a distributed run."""
        self._settle_labels(Ranks.of(trainer))
        counts = self._counts[stage]
        # counts must be of the same layers and have one shape on all processes to be added up
        shapes = Ranks.of(trainer).exchanged(counts.counts.shapes())
        layers = {key: n_neurons for each in shapes for key, n_neurons in each.layers.items()}
        agreed = CountShapes(max(each.n_classes for each in shapes), layers)
        self.silent[stage] = tuple(counts.silent_layers())
        if silent := self.silent[stage]:
            self._guard.note(silent_layers_message(silent, stage), about=f"never fired: {stage} {silent}")
        profiles = counts.counts.profiles(
            agreed,
            [layer.name for layer in counts.recorder.layers],
            device=trainer.strategy.root_device,
            min_rate=self._rule.min_rate,
        )
        odd = [layer for layer, profile in profiles.items() if bool(profile.not_finite.any())]
        if odd:
            self._guard.note(not_finite_message(odd, stage), about="not finite")
        return profiles

    def class_metrics(self, trainer: Any) -> dict[str, list[float]]:
        """Return precision, recall and F1 by class of the validation; a collective call in a distributed run."""
        # of labels beyond any number of classes it was said that they are none
        are_classes = bool(self._labels["val"].classes) and self._counts["val"].counts.n_classes < MOST_CLASSES
        return self.scores.metrics(trainer) if any(Ranks.of(trainer).exchanged(are_classes)) else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the running epoch's training counts, or those loaded and not yet in use."""
        if not self._counts:
            return self._restored
        self._look_at_labels()
        return self._counts["train"].counts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep a checkpoint's counts until the hooks are put on."""
        self._restored = state
