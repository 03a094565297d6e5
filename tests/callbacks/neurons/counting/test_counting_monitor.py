"""The batch hooks of a counting monitor: what they call of the counts, in which order, and what they leave out."""

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.collector import NeuronScores
from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting.counting_monitor import CountingMonitor
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch, Stage
from lightning_explain.schedule import Stopwatch
from tests.models import quiet_trainer
from tests.training import explanation_warnings

Calls = list[tuple[Any, ...]]


class Scores(NeuronScores):
    def __init__(self, calls: Calls) -> None:
        super().__init__(Question(), Guard("Monitor", "raise"), Stopwatch())
        self.calls = calls

    def begin_validation(self, metrics: Any, pl_module: nn.Module) -> None:
        self.calls.append(("begin validation", dict(metrics)))

    def end_validation(self, metrics: Any, pl_module: nn.Module) -> None:
        self.calls.append(("end validation", dict(metrics)))


class Watch(NeuronWatch):
    """Notes what it is asked for."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.scores, self.error = calls, Scores(calls), None

    def attach(self, pl_module: nn.Module, layers: Any, device: torch.device, *, in_half: bool = False) -> None:
        self.calls.append(("attach", layers, in_half))

    def detach(self) -> None:
        self.calls.append(("detach",))

    def reset(self, stage: Stage) -> None:
        self.calls.append(("reset", stage))

    def begin_batch(self, pl_module: nn.Module, stage: Stage, batch: Any, batch_idx: int, loader: Any) -> None:
        self.calls.append(("begin", stage, batch, batch_idx, loader))

    def listen(self, *, listening: bool) -> None:
        self.calls.append(("listen", listening))

    def end_batch(self, stage: Stage, *, redirected: bool = False) -> None:
        self.calls.append(("end", stage, redirected))
        if self.error is not None:
            raise self.error


class Choice(BatchChoice):
    """Counts batches with an even index."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.is_counting = calls, False

    def begin_run(self) -> None:
        self.calls.append(("begin run",))

    def begin_stage(self, stage: Stage, trainer: Any, *, wholly: bool = False) -> None:
        self.calls.append(("begin stage", stage, wholly))

    def begin_batch(self, stage: Stage, batch_idx: int) -> bool:
        self.is_counting = batch_idx % 2 == 0
        return self.is_counting

    @property
    def counts(self) -> bool:
        return self.is_counting

    def end_batch(self, stage: Stage, trainer: Any) -> None:
        self.is_counting = False

    def end_stage(self, stage: Stage) -> None:
        self.calls.append(("end stage", stage))


class Counting(CountingMonitor):
    def __init__(self, **options: Any) -> None:
        super().__init__(name="neurons", **options)
        self.calls: Calls = []
        self.layers = "net.*"
        self._watch, self._choice = Watch(self.calls), Choice(self.calls)

    @property
    def records(self) -> list[dict[str, Any]]:
        return []

    def _current_state(self) -> dict[str, Any]:
        return {}

    def _start_over(self, caveat: str = "") -> None:
        self.calls.append(("start over",))

    def _resume(self, loaded: dict[str, Any]) -> None:
        self.calls.append(("resume", loaded))


class Module(pl.LightningModule):
    def __init__(self, *, automatic: bool = True) -> None:
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.automatic_optimization = automatic


def ready(**options: Any) -> tuple[Counting, pl.Trainer, Module]:
    module, trainer = Module(automatic=options.pop("automatic", True)), quiet_trainer()
    trainer.strategy.connect(module)
    trainer.strategy._lightning_module = module
    return Counting(**options), trainer, module


def test_a_fit_puts_the_hooks_on_and_takes_them_off() -> None:
    monitor, trainer, module = ready()
    monitor.on_fit_start(trainer, module)
    assert monitor.calls == [("begin run",), ("start over",), ("attach", "net.*", False)]
    monitor.on_fit_end(trainer, module)
    assert monitor.calls[3:] == [("detach",)]
    monitor.calls.clear()
    monitor.load_state_dict({"a": 1})
    monitor.on_fit_start(trainer, module)
    assert ("resume", {"a": 1}) in monitor.calls


@pytest.mark.parametrize("end", ["on_exception", "teardown"])
def test_the_hooks_come_off_however_a_run_ends(end: str) -> None:
    monitor, trainer, module = ready()
    getattr(monitor, end)(trainer, module, KeyboardInterrupt() if end == "on_exception" else "fit")
    assert monitor.calls == [("detach",)]


def test_a_training_batch_that_is_chosen_is_counted_with_a_pause_in_its_backward_pass() -> None:
    monitor, trainer, module = ready()
    monitor.on_train_epoch_start(trainer, module)
    for batch_idx in (0, 1):
        monitor.on_train_batch_start(trainer, module, "batch", batch_idx)
        monitor.on_before_backward(trainer, module, torch.zeros(()))
        monitor.on_after_backward(trainer, module)
        monitor.on_train_batch_end(trainer, module, None, "batch", batch_idx)
    assert monitor.calls == [
        ("reset", "train"),
        ("begin stage", "train", False),
        ("begin", "train", "batch", 0, None),
        ("listen", False),
        ("end", "train", trainer.strategy.model is not trainer.lightning_module),
        ("listen", False),  # of the batch that is not counted
    ]


def test_under_manual_optimisation_it_listens_again_after_each_backward_pass() -> None:
    monitor, trainer, module = ready(automatic=False)
    monitor.on_train_batch_start(trainer, module, "batch", 0)
    for _ in range(2):
        monitor.on_before_backward(trainer, module, torch.zeros(()))
        monitor.on_after_backward(trainer, module)
    monitor.on_train_batch_end(trainer, module, None, "batch", 0)
    monitor.on_train_batch_start(trainer, module, "batch", 1)
    monitor.on_after_backward(trainer, module)
    listened = [call for call in monitor.calls if call[0] == "listen"]
    assert listened == [("listen", False), ("listen", True)] * 2  # nothing of the second batch


def test_batches_of_validation_are_counted_with_the_loader_that_they_came_from() -> None:
    monitor, trainer, module = ready()
    loaders = [torch.utils.data.DataLoader([1]), torch.utils.data.DataLoader([2])]
    trainer.fit_loop.epoch_loop.val_loop._combined_loader = pl.utilities.CombinedLoader(loaders, "sequential")
    monitor._begin_validation(trainer, module, wholly=True)
    for dataloader_idx in (0, 1, 2):
        monitor.on_validation_batch_start(trainer, module, "batch", 0, dataloader_idx)
        monitor.on_validation_batch_end(trainer, module, None, "batch", 0, dataloader_idx)
    monitor._end_validation(trainer, module)
    found = [call[4] for call in monitor.calls if call[0] == "begin"]
    assert found[0] is loaders[0] and found[1] is loaders[1] and found[2] is None
    assert monitor.calls[:3] == [("reset", "val"), ("begin validation", {}), ("begin stage", "val", True)]
    assert monitor.calls[-2:] == [("end validation", {}), ("end stage", "val")]
    assert monitor._counted_stage == "val"
    monitor.on_train_epoch_start(trainer, module)
    assert monitor._counted_stage == "train"


def test_the_sanity_check_is_not_counted() -> None:
    monitor, trainer, module = ready()
    trainer.sanity_checking = True
    monitor.on_validation_batch_start(trainer, module, "batch", 0)
    monitor.on_validation_batch_end(trainer, module, None, "batch", 0)
    assert monitor.calls == []


def test_a_batch_that_cannot_be_counted_is_reported_once_and_the_choice_goes_on() -> None:
    monitor, trainer, module = ready()
    monitor._watch.error = RuntimeError("no room")
    with explanation_warnings() as told:
        for batch_idx in (0, 2):
            monitor.on_train_batch_start(trainer, module, "batch", batch_idx)
            monitor.on_train_batch_end(trainer, module, None, "batch", batch_idx)
    assert len(told) == 1 and "counting active neurons (train) failed" in told[0] and "no room" in told[0]
    assert not monitor._choice.counts


@pytest.mark.parametrize("exchanged", [False, True])
def test_weights_that_were_exchanged_after_the_last_epoch_are_told_of(exchanged: bool) -> None:
    monitor, trainer, module = ready()
    monitor.on_fit_start(trainer, module)
    monitor._weights.epoch_ended(module)
    if exchanged:
        with torch.no_grad():
            module.net.weight.mul_(0.5)
    with explanation_warnings() as told:
        monitor.on_fit_end(trainer, module)
    assert ["weights were exchanged after the last epoch" in words for words in told] == [True] * exchanged
