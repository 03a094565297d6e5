"""Counts that are given instead of counted, for the tests of reports."""

from collections.abc import Mapping
from typing import Any

from lightning_explain.budget import Budget
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch, Profiles, Stage
from lightning_explain.callbacks.neurons.exemplars.monitor_exemplars import MonitorExemplars
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.results import Counted
from lightning_explain.capture import Layer
from lightning_explain.exemplars import Exemplars
from lightning_explain.probe import Probe
from lightning_explain.schedule import Schedule


class GivenCounts(NeuronWatch):
    """Returns the profiles, metrics and notes of each stage that it is given.

    Attributes:
        given: Profiles of each stage.
        by_class: Stages whose samples are counted by class.
        merged: Stages whose classes have just turned out to be none.
        watched: The watched layers.
        metrics: Precision, recall and F1.
    """

    def __init__(self, **given: Profiles) -> None:
        self.given: Mapping[str, Profiles] = given
        self.by_class = {"train", "val"}
        self.merged: set[str] = set()
        self.metrics: dict[str, list[float]] = {}
        self.silent = {}
        self.watched: tuple[Layer, ...] = ()

    def profiles(self, stage: Stage, trainer: Any) -> Profiles:
        del trainer
        return self.given.get(stage, {})

    def has_classes(self, stage: Stage) -> bool:
        return stage in self.by_class

    def has_labels(self, stage: Stage) -> bool:
        return stage in self.by_class

    def newly_put_together(self, stage: Stage) -> bool:
        is_new = stage in self.merged
        self.merged.discard(stage)
        return is_new

    @property
    def counted_training(self) -> bool:
        return "train" in self.given

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.watched

    def class_metrics(self, trainer: Any) -> dict[str, list[float]]:
        del trainer
        return self.metrics


class GivenChoice(BatchChoice):
    """Knows how many batches of each stage were counted."""

    def __init__(self, **counted: Counted) -> None:
        self.of_stage = counted

    def spare(self, train: Any, val: Any) -> None:
        del train, val

    def counted(self, stage: Stage) -> Counted | None:
        return self.of_stage.get(stage)


def guard() -> Guard:
    return Guard("Monitor", "raise")


def schedule() -> MonitorSchedule:
    return MonitorSchedule("neurons", schedule=Schedule(), budget=Budget(), guard=guard())


def neuron_probe(probe: Probe | None = None) -> NeuronProbe:
    question = Question()
    keeper = ProbeKeeper(probe, question=question, guard=guard())
    return NeuronProbe(keeper, question=question, guard=guard(), wanted=False)


def no_exemplars() -> MonitorExemplars:
    question = Question()
    keeper = ProbeKeeper(None, question=question, guard=guard())
    return MonitorExemplars(Exemplars(k=0), keeper=keeper, question=question, guard=guard())
