"""Reports of a neuron monitor: finished counts become profiles, histories and one report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torch.nn.functional import pad

from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting.labels import ALL_SAMPLES
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch, Profiles, Stage
from lightning_explain.callbacks.neurons.exemplars.card_maker import Cards
from lightning_explain.callbacks.neurons.exemplars.monitor_exemplars import MonitorExemplars
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.layer_report import LayerReport
from lightning_explain.callbacks.neurons.results import Counted, NeuronReport
from lightning_explain.exemplars import LayerExemplars
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.feeding import FeedingFeatures
from lightning_explain.log import running_epoch
from lightning_explain.neurons import LayerHistory
from lightning_explain.neurons.profile import rate_gaps


@dataclass
class Fresh:
    """The layers of which feeding features, or the effects of neurons, are new in a report; new exemplars."""

    features: Sequence[str] = ()
    effects: Sequence[str] = ()
    cards: Cards = field(default_factory=Cards)


class ReportBuilder:
    """Builds the reports of one monitor, and keeps the histories of its layers.

    Args:
        watch: Counts the neurons.
        probe: Gives the names of the input features.
        choice: Knows which batches were counted.
        exemplars: The monitor's exemplars.
        class_names: As given by the user; may be empty.

    Attributes:
        profiles: The last finished profile of each stage, by layer.
        class_metrics: Precision, recall and F1 by class, of the last validation.
    """

    def __init__(
        self,
        *,
        watch: NeuronWatch,
        probe: NeuronProbe,
        choice: BatchChoice,
        exemplars: MonitorExemplars,
        class_names: Sequence[str],
    ) -> None:
        self.profiles: dict[Stage, Profiles] = {}
        self.class_metrics: dict[str, list[float]] = {}
        self._watch = watch
        self._probe = probe
        self._choice = choice
        self._exemplars = exemplars
        self._class_names = tuple(class_names)
        self._histories: dict[Stage, dict[str, LayerHistory]] = {}
        self._feeding: dict[str, tuple[FeedingFeatures, int]] = {}
        self._effects: dict[str, tuple[UnitEffects, int]] = {}
        self._caveat = ""

    @property
    def class_names(self) -> list[str]:
        """Names of the classes met so far: as given, or their indices; `all samples` where there is only one."""
        met = [len(profile.rates) for layers in self.profiles.values() for profile in layers.values()]
        n_classes = max([len(self._class_names), *met])
        if max(met, default=n_classes) == 1 and not any(self._watch.has_classes(stage) for stage in self.profiles):
            return [ALL_SAMPLES]
        return [self._class_names[c] if c < len(self._class_names) else str(c) for c in range(n_classes)]

    def start_over(self, caveat: str = "") -> None:
        """Forget all reports.

        Args:
            caveat: A sentence that must be known to read turnover from here on.
        """
        self.profiles, self._histories, self._feeding, self._effects = {}, {}, {}, {}
        self._caveat = caveat

    def state_dict(self) -> dict[str, Any]:
        """Return the histories as plain tensors and dicts."""
        return {
            stage: {layer: history.state_dict() for layer, history in layers.items()}
            for stage, layers in self._histories.items()
        }

    def load_state_dict(self, state: dict[Stage, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._histories = {
            stage: {layer: LayerHistory.from_state_dict(saved) for layer, saved in layers.items()}
            for stage, layers in state.items()
        }
        self._caveat = ""

    def profile_training(self, trainer: pl.Trainer) -> Profiles:
        """Profile the training batches of the epoch so far; a collective call in a distributed run."""
        self.profiles["train"] = self._watch.profiles("train", trainer)
        return self.profiles["train"]

    def add_feeding(self, features: Mapping[str, FeedingFeatures], epoch: int) -> None:
        """Keep feeding features, computed in an epoch, for the reports that follow, by layer."""
        self._feeding |= {layer: (found, epoch) for layer, found in features.items()}

    def add_effects(self, effects: Mapping[str, UnitEffects], epoch: int) -> None:
        """Keep the effects of neurons, measured in an epoch, for the reports that follow, by layer."""
        self._effects |= {layer: (found, epoch) for layer, found in effects.items()}

    def build(self, trainer: pl.Trainer, stage: Stage, *, step: int) -> NeuronReport | None:
        """Profile a finished stage; None if nothing was counted. A collective call in a distributed run."""
        profiles = self._watch.profiles(stage, trainer)
        if not self._watch.has_classes(stage):
            self._probe.without_classes()
        if not profiles:
            return None
        self.profiles[stage] = profiles
        if stage == "val":
            self.class_metrics = self._watch.class_metrics(trainer)
            if trainer.state.fn == "fit" or self._watch.counted_training:
                self.profile_training(trainer)
        epoch, train = running_epoch(trainer), self.comparable_training()
        exemplars = self.exemplars(trainer, epoch) if stage == "val" else self._exemplars.layers
        put_together = self._watch.newly_put_together(stage)
        known, histories = self._histories.get(stage, {}), dict[str, LayerHistory]()
        for layer, profile in profiles.items():
            if layer not in known:
                histories[layer] = LayerHistory.begin(profile, epoch)
            elif put_together:
                histories[layer] = known[layer].put_together(profile, epoch)
            else:
                histories[layer] = known[layer].after(profile, epoch)
        self._histories[stage] = histories
        return NeuronReport(
            step=step,
            epoch=epoch,
            stage=stage,
            class_names=self.class_names,
            feature_names=() if self._probe.probe is None else self._probe.probe.feature_names,
            scores=self.class_metrics,
            counted=self._counted(stage),
            silent=self._watch.silent.get(stage, ()),
            caveat=self._caveat,
            layers={
                layer: LayerReport(
                    profile,
                    histories[layer],
                    rate_gaps(train[layer], profile) if stage == "val" and layer in train else None,
                    *self._feeding.get(layer, (None, -1)),
                    *self._effects.get(layer, (None, -1)),
                    exemplars=exemplars.get(layer),
                )
                for layer, profile in profiles.items()
            },
        )

    def within_epoch(self, trainer: pl.Trainer, *, step: int) -> NeuronReport:
        """Return the exemplars of a validation within an epoch; histories go on at the end of one.

        A collective call in a distributed run.
        """
        profiles, epoch = self._watch.profiles("val", trainer), running_epoch(trainer)
        exemplars = self.exemplars(trainer, epoch)
        return NeuronReport(
            step=step,
            epoch=epoch,
            stage="val",
            class_names=self.class_names,
            layers={
                layer: LayerReport(profile, LayerHistory.begin(profile, epoch), exemplars=exemplars.get(layer))
                for layer, profile in profiles.items()
            },
        )

    def exemplars(self, trainer: pl.Trainer, epoch: int) -> dict[str, LayerExemplars]:
        """Return the exemplars of a validation by layer; a collective call in a distributed run."""
        return self._exemplars.finish(trainer, epoch, has_labels=self._watch.has_labels("val"))

    def comparable_training(self) -> Profiles:
        """Return the profiles of training, unless its samples are counted by class and the validation's are not."""
        return self.profiles.get("train", {}) if self._watch.compares_stages else {}

    def _counted(self, stage: Stage) -> dict[str, Counted]:
        stages: tuple[Stage, ...] = ("train", "val") if stage == "val" else ("train",)
        if stage == "val":
            self._choice.spare(_samples(self.comparable_training()), _samples(self.profiles["val"]))
        found = {each: self._choice.counted(each) for each in stages if each in self.profiles}
        return {each: counted for each, counted in found.items() if counted is not None}


def _samples(profiles: Profiles) -> dict[str, Tensor]:
    """Return the number of samples of each class by layer."""
    n_classes = max((len(profile.n_samples) for profile in profiles.values()), default=0)
    return {key: pad(profile.n_samples, (0, n_classes - len(profile.n_samples))) for key, profile in profiles.items()}
