"""The base class of all monitors: shared options, schedule, probe, error handling, and state in checkpoints."""

import weakref
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import lightning.pytorch as pl

from lightning_explain.budget import Budget
from lightning_explain.callbacks.base.compatibility import UNREADABLE
from lightning_explain.callbacks.base.distributed import SPAWNED, is_spawned
from lightning_explain.callbacks.base.error_handling import (
    BEGINNING_ANEW,
    BY_METHOD,
    NOT_IN_TESTS,
    TAKING_UP,
    Guard,
    OnError,
)
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.callbacks.base.options import check_types, refuse_unknown
from lightning_explain.callbacks.base.weight_changes import WeightChanges
from lightning_explain.display import Display
from lightning_explain.log import Detail, DetailLevel
from lightning_explain.log.console import summary_line, tell, where_to_look
from lightning_explain.probe import Probe
from lightning_explain.schedule import Schedule


class ProbeMonitor(pl.Callback):
    """Base class of the monitors: callbacks that explain a network on a probe batch while it trains.

    Its options are those of every monitor.

    Args:
        name: Prefix of the tags, and key of the state: several monitors can live in one Trainer.
        probe: The samples that are explained; by default drawn from the validation data with a seed of its own: 40
            samples, shared out evenly among up to ten classes; of more classes four of each, up to 64 in all; 64 where
            there are no classes.
        input: Where a batch holds the input: index, key, attribute, a list of them, or a callable. Where the module's
            forward takes keywords only, the keys are the keywords.
        target: Where a batch holds the target. Where a sample has several labels, or one for every pixel, a callable
            that chooses one of each sample.
        output: Where the model's output holds the scores [batch, classes]. Of several tensors the one is taken that
            alone fits the classes and is computed from the others; where nothing distinguishes them, this option is
            required. Or a callable that makes one number of each sample, [batch], e.g. the mean score of a class over a
            segmented image.
        forward_fn: Called as `forward_fn(module, *inputs)` instead of `module(*inputs)`.
        class_names: Names of the classes, if the probe has none.
        feature_names: Names of the features of tabular inputs, if the probe has none.
        display: How samples are shown, if the probe has no display: `Display(mean=..., std=...)` undoes the
            normalisation of images, `Display(tokens=vocabulary, padding=0)` writes words for token ids.
        every_n_epochs: Report at the end of every n-th epoch; None for no reports by epoch.
        every_n_train_steps: Report after every n-th training step; None for no reports by step.
        max_overhead: Largest share of the run's wall time that this monitor may take, e.g. `0.05`; None for no limit.
            Reports that are due are skipped until the next one fits in; changes (drift, turnover) then span the time
            since the last report. The first and the last report are always made. Monitors of one Trainer that have a
            `max_overhead` share it evenly, so that together they stay within it. Under DDP the slowest process decides
            for all.
        min_every: With `max_overhead`: at least one of this many reports that are due is made, whatever it costs.
        detail: `"terse"`: the loggers get what says most, a few metrics and pictures however many layers and classes
            there are, and each metric that another callback or a learning-rate scheduler names; `"full"`: every metric
            and picture. Records, `callback_metrics` and the Explain tab hold everything either way.
        on_error: `"warn"` once and continue when something fails, or `"raise"`.

    Raises:
        ConfigurationError: An option is impossible, or unknown.
    """

    _memory_advice: ClassVar[str] = BY_METHOD

    def __init__(
        self,
        *,
        name: str,
        probe: Probe | None = None,
        input: int | str | Sequence[int | str] | Callable[..., Any] | None = None,  # noqa: A002 - the option's public name
        target: int | str | Callable[..., Any] | None = None,
        output: int | str | Callable[..., Any] | None = None,
        forward_fn: Callable[..., Any] | None = None,
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        display: Display | None = None,
        every_n_epochs: int | None = 1,
        every_n_train_steps: int | None = None,
        max_overhead: float | None = None,
        min_every: int | None = None,
        detail: DetailLevel = "terse",
        on_error: OnError = "warn",
        **unknown: Any,
    ) -> None:
        refuse_unknown(type(self), unknown)
        check_types(ProbeMonitor.__init__, locals())
        super().__init__()
        self.name = name
        self._detail = Detail(detail)
        self._guard = Guard(f"{type(self).__name__}(name={name!r})", on_error, memory=self._memory_advice)
        self.question = Question(input=input, target=target, output=output, forward_fn=forward_fn)
        """The places of input and target in batches, and the call of the module."""
        self._schedule = MonitorSchedule(
            name,
            schedule=Schedule(every_n_epochs=every_n_epochs, every_n_train_steps=every_n_train_steps),
            budget=Budget(max_overhead=max_overhead, min_every=min_every),
            guard=self._guard,
        )
        self._keeper = ProbeKeeper(
            probe,
            question=self.question,
            guard=self._guard,
            class_names=class_names,
            feature_names=feature_names,
            display=display,
        )
        self._class_names = tuple(class_names)
        self._weights = WeightChanges()
        self._loaded: dict[str, Any] | None = None
        self._is_fitting = False
        self._n_earlier = 0
        self._module = _FittedModule()

    @property
    def probe(self) -> Probe | None:
        """The samples that are explained; None until they are drawn from the validation data."""
        return self._keeper.probe

    @property
    def detail(self) -> DetailLevel:
        """Level of detail of what goes to the loggers: `"terse"` or `"full"`."""
        return self._detail.level

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record for each report of this process's run, as in `record.jsonl`, with the logged `scalars`."""
        raise NotImplementedError

    @property
    def units_shown(self) -> Mapping[str, Collection[int]]:
        """Units that the last explanation names, by layer: other monitors show what they respond to."""
        return {}

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """Identifies this monitor's state in a checkpoint."""
        return self._generate_state_key(name=self.name)

    def state_dict(self) -> dict[str, Any]:
        """Return probe, history and time spent as plain tensors, numbers, strings, lists and dicts."""
        return self._current_state() if self._loaded is None else self._loaded

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's state until the next fit begins.

        A search for a learning rate or a batch size inside a fit saves a checkpoint, trains a little without the
        callbacks, and restores that checkpoint. The monitor's state is then already in place; kept for a later fit, it
        would be written into every checkpoint of this one.
        """
        if not self._is_fitting:
            self._loaded = state_dict

    def _current_state(self) -> dict[str, Any]:
        raise NotImplementedError

    def _start_over(self, caveat: str = "") -> None:
        """Forget the history and a drawn probe: another network's explanations are no reference for this one's.

        Args:
            caveat: A sentence that must be known to read what is compared from here on.
        """
        raise NotImplementedError

    def _resume(self, loaded: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, as far as it was written with the same options and probe."""
        raise NotImplementedError

    # -- hooks -------------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Accept a checkpoint's state again, also after an earlier run that was interrupted."""
        del trainer, pl_module, stage
        self._is_fitting = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and resume from a checkpoint; a new module without one starts a new history."""
        self._guard.begin()
        self._weights.begin()
        self._schedule.begin(trainer)
        self._n_earlier = len(self.records)
        is_known = self._module.refers_to(pl_module)
        self._module = _FittedModule(pl_module)
        loaded, self._loaded, self._is_fitting = self._loaded, None, True
        if loaded is not None:
            self._start_over(caveat=UNREADABLE)
            with self._guard.doing(TAKING_UP, consequence=BEGINNING_ANEW):
                self._resume(loaded)
        elif not is_known:
            self._start_over()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the fit: a state loaded from here on is for the next one. The last monitor tells what was done."""
        del pl_module
        self._is_fitting = False
        monitors = [other for other in vars(trainer)["callbacks"] if isinstance(other, ProbeMonitor)]
        if monitors and monitors[-1] is self and trainer.is_global_zero:
            with self._guard.doing("telling what was explained"):
                tell(self._summary(trainer, monitors))
                if is_spawned(trainer):
                    self._guard.note(SPAWNED, about="spawned processes")

    @staticmethod
    def _summary(trainer: Any, monitors: Sequence["ProbeMonitor"]) -> str:
        """Return the line at the end of a fit, of all monitors of a Trainer."""
        watches = [monitor._schedule.stopwatch for monitor in monitors]
        return summary_line(
            {monitor.name: len(monitor.records) - monitor._n_earlier for monitor in monitors},
            n_samples=max(0 if monitor.probe is None else len(monitor.probe) for monitor in monitors),
            seconds=sum(watch.spent for watch in watches),
            share=sum(watch.share() for watch in watches),
            place=where_to_look(trainer),
        )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """End the fit: a state that is loaded from here on is for the next one."""
        del trainer, pl_module, exception
        self._is_fitting = False

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn that tests are not monitored, if nothing else was."""
        del trainer, pl_module
        if not self.records:
            self._guard.note(NOT_IN_TESTS)


class _FittedModule:
    """The module of the last fit, not kept alive by this; a pickled one refers to none."""

    def __init__(self, module: pl.LightningModule | None = None) -> None:
        self._reference = None if module is None else weakref.ref(module)

    def refers_to(self, module: pl.LightningModule) -> bool:
        return self._reference is not None and self._reference() is module

    def __reduce__(self) -> tuple[type["_FittedModule"], tuple[()]]:
        return _FittedModule, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_FittedModule":
        return self


def units_elsewhere(trainer: Any) -> dict[str, list[int]]:
    """Return the units that the monitors of a Trainer name, by layer, those named most often first."""
    named: dict[str, Counter[int]] = {}
    for monitor in trainer.callbacks:
        for layer, units in monitor.units_shown.items() if isinstance(monitor, ProbeMonitor) else ():
            named.setdefault(layer, Counter()).update(units)
    return {layer: [unit for unit, _ in units.most_common()] for layer, units in named.items()}
